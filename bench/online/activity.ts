/** The case of `online` through Temporal: a Standalone Activity, against an empty one. */
import type { Client } from "@temporalio/client";
import { connectRuns } from "../../cli/temporal.ts";
import type { Progress } from "../../cli/progress.ts";
import { startTemporal } from "../../dev/temporal.ts";
import { queuesOf } from "../../workflows/contract.ts";
import { startBuilt } from "../built.ts";
import { ownServices } from "../own-store.ts";
import type { Site } from "./site.ts";
import { type BenchOptions, measurePairs } from "../pairs.ts";
import { type Line, lineOf, median } from "../report.ts";

/** What reading and computing may add to an activity that does nothing. */
const addedMs = 3;
const callsEach = 100;

export async function* activityCase(
  site: Site,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const temporal = await startTemporal({ progress, env: ownServices });
  const settings = { ...site.settings, temporalAddress: temporal.address };
  const emptyQueue = `${settings.queue}-empty`;
  const empty = ["bench/limits/empty-activity.js", temporal.address, emptyQueue];
  const workers = await Promise.all([
    startBuilt(site.built, ["worker.js", "--queue", "online"], settings, /worker polls/),
    startBuilt(site.built, empty, settings, /worker polls/),
  ]);
  const runs = await connectRuns(settings);
  try {
    const calls = Math.ceil(callsEach / scale);
    const request = { service: "model_x", entities: [{ id: "11" }] };
    const online = queuesOf(settings.queue).online;
    const measured = await progress.step("through a Standalone Activity", (detail) =>
      measurePairs(pairs, detail, {
        figure: () => medianMs(runs.client, "getOnlineFeatures", online, [request], calls),
        limit: () => medianMs(runs.client, "nothing", emptyQueue, [], calls),
      }),
    );
    yield lineOf(
      {
        bench: "online",
        case: "1 entity, model_x from the store, through a Standalone Activity, p50",
        unit: "ms",
        target: { budget: median(measured.map(({ limit }) => limit)) + addedMs },
        rows: site.entities,
        config: { calls, limit: "an empty Standalone Activity", budget: "the limit and 3 ms" },
      },
      measured,
    );
  } finally {
    await runs.close();
    await Promise.all(workers.map((worker) => worker.stop()));
    await temporal.stop();
  }
}

let ids = 0;

/** Calls an activity, once after the other. */
async function medianMs(
  client: Client,
  name: string,
  taskQueue: string,
  args: readonly unknown[],
  calls: number,
): Promise<number> {
  const times: number[] = [];
  for (let call = 0; call < calls; call++) {
    const startedMs = performance.now();
    await client.activity.execute(name, {
      args,
      taskQueue,
      id: `bench-${ids++}`,
      scheduleToCloseTimeout: "30 seconds",
    });
    times.push(performance.now() - startedMs);
  }
  return median(times);
}
