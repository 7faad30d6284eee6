/** The activity of sensors: whether something that a run waits for is there. */
import {
  ApplicationFailure,
  ApplicationFailureCategory,
  CancelledFailure,
} from "@temporalio/common";
import { interval as intervalOf } from "../engine/calendar/interval.ts";
import type { Sensor } from "../engine/calendar/schedule.ts";
import { messageOf } from "../engine/errors.ts";
import { viewOfRun } from "../filling/run-facts.ts";
import { lookForFiles } from "../sources/awaited-files.ts";
import type { RunRef } from "../workflows/contract.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { untilCancelled } from "./run-context.ts";

type SensorDependencies = Pick<OfflineDependencies, "catalogue" | "tasks" | "folders">;

/** Makes it. */
export function createSensors(dependencies: SensorDependencies) {
  const { catalogue, folders } = dependencies;
  return {
    /**
     * Ends once a sensor says ready. Until then it fails and is tried again, so that it holds no
     * place of a worker meanwhile.
     */
    async sense(request: Omit<RunRef, "generation">, index: number): Promise<void> {
      const view = viewOfRun(catalogue, request);
      const sensor = view.schedule?.waitFor[index];
      if (sensor === undefined) return;
      const { start, end } = request;
      const notYet =
        sensor.kind === "file"
          ? await lookForFiles(sensor.name, intervalOf(start, end), folders.dataDir)
          : await askTask(dependencies, sensor, request);
      if (notYet === null) return;
      throw ApplicationFailure.create({
        type: "SENSOR_NOT_READY",
        category: ApplicationFailureCategory.BENIGN,
        message: notYet,
        nextRetryDelay: sensor.everyMs,
      });
    },
  };
}

/** Null where a sensor's task says ready; else why not, in words. */
async function askTask(
  { tasks, folders }: SensorDependencies,
  { name }: Sensor,
  { view, start, end }: Omit<RunRef, "generation">,
): Promise<string | null> {
  // The worker checked the name when it started.
  const task = tasks[name];
  if (task === undefined) return `${name} is not there.`;
  try {
    const answer = await untilCancelled((signal) => task({ view, start, end }, folders, signal));
    return answer === true ? null : `${name} says that it is not ready.`;
  } catch (error) {
    // It is asked again until its time-out, unless it says that this is of no use.
    if (error instanceof CancelledFailure || error instanceof ApplicationFailure) throw error;
    return `${name} failed: ${messageOf(error)}`;
  }
}
