/** Runs that are under way, as Temporal lists them, beside what the ledger says of them. */
import type { Outcome } from "../engine/calendar/grid.ts";

/** For how long Temporal may list a run as under way after its end. */
const listLagMs = 10_000;

/** A workflow of this deployment. */
export interface RunLine {
  readonly kind: string;
  readonly view: string | null;
  readonly interval: string | null;
  readonly status: string;
  readonly started_at: string;
  readonly seconds: number;
  readonly workflow_id: string;
  readonly run_id: string;
  /** Of the workers that it stays with; null where builds are not told apart. */
  readonly build: string | null;
  /** Why an activity of it is tried again. */
  readonly retrying: string | null;
  /** Of the activity that is silent for longest, ISO 8601; null where none is being done. */
  readonly last_sign_of_life: string | null;
  /** Since when a step waits for a worker, ISO 8601; null where none does. */
  readonly unclaimed_since: string | null;
}

/**
 * Leaves out runs that the ledger says ended a moment ago, which Temporal may still list. What it
 * recorded earlier was not the end: a pipeline goes on with its steps after the commit, and a run
 * that was blocked may have gone on.
 *
 * @param nowMs - when the runs were listed
 */
export function withoutEnded(
  runs: readonly RunLine[],
  ended: readonly Pick<Outcome, "runId" | "finishedAtMs">[],
  nowMs: number,
): RunLine[] {
  const just = ended.filter(({ finishedAtMs }) => nowMs - finishedAtMs <= listLagMs);
  const ids = new Set(just.map(({ runId }) => runId));
  return runs.filter(({ run_id }) => !ids.has(run_id));
}
