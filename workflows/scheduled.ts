/** `scheduled`: what a schedule starts. It maps its nominal time to intervals, and runs them. */
import {
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from "@temporalio/workflow";
import { activities } from "./activities.ts";
import { attributesOf } from "./search-attributes.ts";
import { runInterval } from "./child.ts";
import type {
  MaterializeResult,
  PublishInput,
  ScheduledInput,
  ScheduledResult,
} from "./contract.ts";
import { causeOf } from "./failure.ts";
import { publishOf, startPublish } from "./publish.ts";

/**
 * Runs what is due at the nominal time of a slot, or at the time of a trigger by hand. Where an
 * interval fails the others are run all the same, and then this fails, with the code of the first.
 */
export async function scheduled(input: ScheduledInput): Promise<ScheduledResult> {
  const { view, fingerprint, definition } = input;
  const at = nominalTime();
  const title = `Schedule of **${view}**, slot \`${at}\``;
  setCurrentDetails(title);
  const { runs, terms, reason } = await activities.planSlot.executeWithOptions(
    { summary: "which intervals are due" },
    [input, at, new Date().toISOString()],
  );
  setCurrentDetails(`${title}\n\n${reason}\n\n${runs.length === 0 ? "Nothing is due." : ""}`);
  const newest = runs.at(-1);
  if (newest !== undefined)
    upsertSearchAttributes(attributesOf("schedule", view, `${newest.start}/${newest.end}`));
  const { workflow, ...how } = terms;
  // The newest publishes as soon as it has committed, and this once for all where others were due.
  const settled = await Promise.allSettled(
    runs.map((run) =>
      runInterval(workflow, {
        ...{ view, fingerprint, definition },
        ...how,
        ...run,
        ...(run === newest ? {} : { publishes: false }),
      }),
    ),
  );
  // Also after a run that was joined, and whose own starter publishes only later.
  const isLeft = settled.some(
    (result) => result.status === "fulfilled" && result.value.published === null,
  );
  if (isLeft) await publishOrStart({ view, fingerprint, definition });
  const lines = settled.map((result, i) => {
    const interval = `\`[${runs[i]?.start}, ${runs[i]?.end})\``;
    return result.status === "fulfilled"
      ? `- ${interval} ${result.value.outcome}, ${result.value.rows} rows`
      : `- ${interval} failed: ${causeOf(result.reason).message}`;
  });
  setCurrentDetails([title, "", reason, "", ...lines].join("\n"));
  const failed = settled.find((result) => result.status === "rejected");
  if (failed !== undefined) {
    if (causeOf(failed.reason).isCancelled) throw failed.reason;
    const { type, message } = causeOf(failed.reason);
    throw ApplicationFailure.nonRetryable(message, type);
  }
  const results = settled.flatMap((result): MaterializeResult[] =>
    result.status === "fulfilled" ? [result.value] : [],
  );
  // Those of many late intervals would not fit into a payload; each run's page has its own.
  const few = results.map((each) => ({ ...each, warnings: each.warnings.slice(0, 1) }));
  return { view, runs: few, reason };
}

/** Publishes; where this is cancelled, what was committed is published all the same. */
async function publishOrStart(input: PublishInput): Promise<void> {
  try {
    await publishOf(input, Infinity);
  } catch (error) {
    if (isCancellation(error)) await CancellationScope.nonCancellable(() => startPublish(input));
    throw error;
  }
}

/** The slot that this was fired for; without a schedule, the start of the workflow. */
function nominalTime(): string {
  const { searchAttributes, startTime } = workflowInfo();
  const [nominal] = searchAttributes["TemporalScheduledStartTime"] ?? [];
  const time = nominal instanceof Date ? nominal : startTime;
  return time.toISOString();
}
