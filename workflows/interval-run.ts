/** What every workflow that runs an interval does around its work: words, and how it ended. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  setCurrentDetails,
  workflowInfo,
} from "@temporalio/workflow";
import { lastActivities } from "./activities.ts";
import type { MaterializeInput, RunRef } from "./contract.ts";

/** The run of an interval as its steps share it. */
export interface IntervalRun {
  readonly input: MaterializeInput;
  readonly request: Omit<RunRef, "generation">;
  /** Puts words on the run's page, in Markdown. */
  readonly show: (lines: string) => void;
  /** What the run has begun to write and not committed; a failure takes it away. */
  generation: number | null;
}

/** Does the work, and where it fails records why, in the ledger and on the run's page. */
export async function recorded<T>(
  input: MaterializeInput,
  work: (run: IntervalRun) => Promise<T>,
): Promise<T> {
  const { view, start, end, fingerprint, definition } = input;
  const run: IntervalRun = {
    input,
    request: { view, start, end, fingerprint, definition, runId: workflowInfo().runId },
    show: (lines) => setCurrentDetails(`**${view}** \`[${start}, ${end})\`\n\n${lines}`),
    generation: null,
  };
  try {
    return await work(run);
  } catch (error) {
    const cause = error instanceof ActivityFailure ? (error.cause ?? error) : error;
    const outcome = outcomeOf(error, cause);
    const reason = cause instanceof Error ? cause.message : String(cause);
    run.show(`${outcome.slice(0, 1).toUpperCase()}${outcome.slice(1)}: ${reason}`);
    await CancellationScope.nonCancellable(() =>
      lastActivities.recordFailure(run.request, run.generation, outcome, reason),
    ).catch(() => undefined);
    throw error;
  }
}

function outcomeOf(error: unknown, cause: unknown): "failed" | "cancelled" | "blocked" {
  if (isCancellation(error)) return "cancelled";
  const type = cause instanceof ApplicationFailure ? cause.type : undefined;
  return type === "UPSTREAM_FAILED" || type === "UPSTREAM_MISSING" ? "blocked" : "failed";
}
