/** Holds a run back until what is upstream is committed and what it waits for is there. */
import { ActivityFailure, ApplicationFailure, condition } from "@temporalio/workflow";
import { activities } from "./activities.ts";
import type { Ready, SensorRef, Waiting } from "./contract.ts";
import type { IntervalRun } from "./interval-run.ts";

/** A signal says when to look again; this is for one that was lost. */
const secondLookMs = 10 * 60_000;
const longestWaitMs = 24 * 3_600_000;

/**
 * Asks until the answer is another than "waiting". The runs of upstream views tell when
 * they end, so nothing is polled.
 *
 * @throws UPSTREAM_MISSING after a day; SENSOR_TIMEOUT
 */
export async function whenReady<T extends { readonly due: string }>(
  run: IntervalRun,
  ask: (sensed: boolean) => Promise<T | Waiting>,
): Promise<Exclude<T, Waiting>> {
  const { request, show } = run;
  const untilMs = Date.now() + longestWaitMs;
  for (;;) {
    run.told = false;
    const answer = await ask(run.sensed);
    if (!isWaiting(answer)) return answer as Exclude<T, Waiting>;
    const { upstream, sensors } = answer;
    if (upstream.length === 0) {
      show(["Waiting for:", "", ...sensors.map(({ name }) => `- \`${name}\``)].join("\n"));
      await Promise.all(sensors.map((sensor) => sense(sensor)));
      run.sensed = true;
      continue;
    }
    show(["Waiting for what comes first:", "", ...upstream.map((each) => `- ${each}`)].join("\n"));
    if (Date.now() >= untilMs)
      throw ApplicationFailure.nonRetryable(
        `not committed within a day: ${upstream.join(", ")}. Materialize it; this run then starts by itself.`,
        "UPSTREAM_MISSING",
      );
    await condition(() => run.told, secondLookMs);
  }

  async function sense({ index, name, timeoutMs }: SensorRef): Promise<void> {
    try {
      await activities.sense.executeWithOptions(
        { summary: `wait for ${name}`, scheduleToCloseTimeout: timeoutMs },
        [request, index],
      );
    } catch (error) {
      if (!(error instanceof ActivityFailure) || error.retryState !== "TIMEOUT") throw error;
      throw ApplicationFailure.nonRetryable(
        `${name} was not ready within ${timeoutMs / 1000} s. Bring it about, then run the interval again with --reprocess failed.`,
        "SENSOR_TIMEOUT",
      );
    }
  }
}

/**
 * Holds a run back before its first step; `planRun` asks once more. The answer is "nothing" where
 * the interval is committed by now, so that no step is taken twice.
 */
export async function mayBegin(run: IntervalRun): Promise<Ready> {
  const reprocess = run.input.reprocess ?? false;
  return whenReady<Ready>(run, (sensed) =>
    run.activities.checkReady.executeWithOptions({ summary: "may it begin" }, [
      { ...run.request, reprocess, sensed },
    ]),
  );
}

function isWaiting(answer: { readonly due: string }): answer is Waiting {
  return answer.due === "waiting";
}
