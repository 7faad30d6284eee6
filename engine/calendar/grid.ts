/** The grid of a view: what has become of each interval. */
import { formatInterval, type Interval } from "./interval.ts";

/** How the last run of an interval ended; wall-clock facts for people. */
export interface Outcome {
  readonly outcome: "committed" | "failed" | "cancelled" | "blocked";
  readonly reason: string | null;
  readonly rows: number | null;
  readonly runId: string;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
}

/**
 * `done`: committed, and its last run did not fail. `stale`: the same, but an upstream view
 * has been computed again since. `failed`, `blocked` (by an upstream view): how its last run
 * ended, also where an earlier one had committed. `cancelled`: the same, where none had, since what
 * is committed is as it was. `missing`: none of these.
 */
export type CellState = "done" | "stale" | "missing" | "failed" | "cancelled" | "blocked";

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
 * did not fail; `failed` those and the failed, cancelled and blocked; `stale` those and the stale;
 * `all` every one, computing committed ones again.
 */
export type Reprocess = (typeof reprocessModes)[number];

export const reprocessModes = ["missing", "failed", "stale", "all"] as const;

/** The state of each interval, in the order given. */
export function gridOf(
  intervals: readonly Interval[],
  {
    committedRows,
    outcomes,
    isStale = () => false,
  }: {
    /** Rows of what is committed whole, by `formatInterval`. */
    readonly committedRows: ReadonlyMap<string, number>;
    /** By `formatInterval`. */
    readonly outcomes: ReadonlyMap<string, Outcome>;
    /** Whether a committed interval rests on what has been computed again. */
    readonly isStale?: (interval: Interval) => boolean;
  },
): Cell[] {
  return intervals.map((interval) => {
    const text = formatInterval(interval);
    const outcome = outcomes.get(text) ?? null;
    const rows = committedRows.get(text) ?? null;
    const state: CellState =
      outcome !== null && outcome.outcome !== "committed" && !isAsBefore(outcome, rows)
        ? outcome.outcome
        : rows === null
          ? "missing"
          : isStale(interval)
            ? "stale"
            : "done";
    return { interval, state, outcome, rows };
  });
}

function isAsBefore({ outcome }: Outcome, rows: number | null): boolean {
  return outcome === "cancelled" && rows !== null;
}

/** Whether a backfill in this mode takes the interval. */
export function isDue({ state }: Cell, reprocess: Reprocess): boolean {
  switch (reprocess) {
    case "all":
      return true;
    case "stale":
      return state !== "done";
    case "failed":
      return state !== "done" && state !== "stale";
    case "missing":
      return state === "missing";
  }
}
