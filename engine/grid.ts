/** The grid of a view: what has become of each interval. */
import { formatInterval, type Interval } from "./interval.ts";

/** How the last run of an interval ended; wall-clock facts for people. */
export interface Outcome {
  readonly outcome: "committed" | "failed" | "cancelled";
  readonly reason: string | null;
  readonly rows: number | null;
  readonly runId: string;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
}

/**
 * `done`: committed, and its last run did not fail. `failed`, `cancelled`: how its last run ended,
 * also where an earlier one had committed. `missing`: none of these.
 */
export type CellState = "done" | "missing" | "failed" | "cancelled";

/** One interval of the grid. */
export interface Cell {
  readonly interval: Interval;
  readonly state: CellState;
  readonly outcome: Outcome | null;
  /** Rows committed; null where nothing is. */
  readonly rows: number | null;
}

/**
 * Which intervals a backfill takes: `missing` those that were never committed and whose last run
 * did not fail; `failed` those and the failed and cancelled; `all` every one, computing committed
 * ones again.
 */
export type Reprocess = "missing" | "failed" | "all";

/** The state of each interval, in the order given. */
export function gridOf(
  intervals: readonly Interval[],
  {
    committedRows,
    outcomes,
  }: {
    /** Rows of what is committed whole, by `formatInterval`. */
    readonly committedRows: ReadonlyMap<string, number>;
    /** By `formatInterval`. */
    readonly outcomes: ReadonlyMap<string, Outcome>;
  },
): Cell[] {
  return intervals.map((interval) => {
    const text = formatInterval(interval);
    const outcome = outcomes.get(text) ?? null;
    const rows = committedRows.get(text) ?? null;
    const state: CellState =
      outcome !== null && outcome.outcome !== "committed"
        ? outcome.outcome
        : rows === null
          ? "missing"
          : "done";
    return { interval, state, outcome, rows };
  });
}

/** Whether a backfill in this mode takes the interval. */
export function isDue({ state }: Cell, reprocess: Reprocess): boolean {
  if (reprocess === "all") return true;
  return reprocess === "failed" ? state !== "done" : state === "missing";
}
