/** What became of the intervals of a view, read from the ledger. */
import type { View } from "../engine/catalogue.ts";
import { isFullRefresh } from "../engine/definitions.ts";
import { type Cell, gridOf } from "../engine/grid.ts";
import { formatInterval, type Interval } from "../engine/interval.ts";
import type { Ledger } from "./ledger.ts";

/**
 * The cells of some intervals, in the order given. An interval counts as committed when its rows
 * and the state of every aggregate are. Cost: O(intervals of the view).
 */
export async function readGrid(
  ledger: Ledger,
  view: View,
  intervals: readonly Interval[],
): Promise<Cell[]> {
  const aggregates = view.aggregates.map(({ fingerprint }) => fingerprint);
  const [{ coverage }, { states }, outcomes] = await Promise.all([
    ledger.readLedger(view.name, view.fingerprint),
    ledger.readStates(view.name, aggregates),
    ledger.readOutcomes(view.name, view.fingerprint),
  ]);
  const committedRows = new Map(
    [...coverage]
      .filter(([interval]) => aggregates.every((each) => states.get(each)?.has(interval)))
      .map(([interval, { rows }]) => [interval, rows]),
  );
  // The ledger knows a full refresh by its end alone.
  const keyOf = (interval: Interval) =>
    isFullRefresh(view.source) ? { ...interval, startMs: 0 } : interval;
  const cells = gridOf(intervals.map(keyOf), { committedRows, outcomes });
  return cells.map((cell, i) => ({ ...cell, interval: intervals[i] ?? cell.interval }));
}

/** The text of an interval, with its ends apart. */
export function endsOf(interval: Interval): { readonly start: string; readonly end: string } {
  const [start = "", end = ""] = formatInterval(interval).split("/");
  return { start, end };
}
