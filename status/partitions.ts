/** What became of each interval of a view's schedule, those whose run is under way among them. */
import { scheduleOf } from "../filling/backfill-range.ts";
import type { Catalogue, View } from "../engine/catalogue.ts";
import type { Cell as LedgerCell, CellState } from "../engine/calendar/grid.ts";
import { endsOf, type Interval, parseInstant, type Span } from "../engine/calendar/interval.ts";
import { intervalsBetween, newestInterval } from "../engine/calendar/slots.ts";
import type { Ledger } from "../store/ledger.ts";
import { readGrid } from "./read-grid.ts";
import { type RunLine, withoutEnded } from "./under-way.ts";

/** What became of an interval, or that its run is under way. */
export type PartitionState = CellState | "running";

/** A cell of the grid, or one whose run is under way, whose last outcome is then left out. */
export type Partition = Omit<LedgerCell, "state"> & { readonly state: PartitionState };

const endedBadly: readonly PartitionState[] = ["failed", "cancelled", "blocked"];

/** The intervals of the view's schedule in a range; to the newest complete one by default. */
export function intervalsWithin(
  view: View,
  { from, to }: { readonly from?: string; readonly to?: string },
  nowMs: number,
): Interval[] {
  const schedule = scheduleOf(view);
  const newestMs = newestInterval(schedule, nowMs)?.endMs ?? schedule.startMs;
  const fromMs = from === undefined ? schedule.startMs : parseInstant(from);
  const toMs = to === undefined ? newestMs : Math.min(parseInstant(to), newestMs);
  return intervalsBetween(schedule, fromMs, toMs);
}

/**
 * Reads what became of some intervals.
 *
 * @param listed - what Temporal runs of the view; null where it does not answer
 * @param nowMs - when that was listed
 */
export async function readPartitions(
  ledger: Ledger,
  catalogue: Catalogue,
  view: View,
  intervals: readonly Interval[],
  listed: readonly RunLine[] | null,
  nowMs: number,
): Promise<Partition[]> {
  const cells = await readGrid(ledger, catalogue, view, intervals);
  const ended = cells.flatMap(({ outcome }) => outcome ?? []);
  const runs = withoutEnded(listed ?? [], ended, nowMs);
  return cells.map((cell) =>
    isRunning(view, cell, runs) ? { ...cell, state: "running", outcome: null } : cell,
  );
}

/** Whether a run of the interval by these definitions is under way. */
function isRunning(view: View, { interval }: LedgerCell, runs: readonly RunLine[]): boolean {
  const { end } = endsOf(interval);
  return runs.some(
    (run) =>
      endsOf(run.interval ?? "").end === end && run.workflow_id.endsWith(`/${view.definition}`),
  );
}

/** Spans of neighbouring intervals that were never committed. */
export function missingSpans(partitions: readonly Partition[]): Span[] {
  const spans: Span[] = [];
  for (const [i, { state, interval }] of partitions.entries()) {
    if (state !== "missing") continue;
    const { start, end } = endsOf(interval);
    const before = partitions[i - 1]?.state === "missing" ? spans.pop() : undefined;
    spans.push({ start: before?.start ?? start, end });
  }
  return spans;
}

/** From the first interval whose last run failed, was cancelled or blocked, to the last such. */
export function failedStretch(partitions: readonly Partition[]): Span | undefined {
  return stretchOf(partitions.filter(({ state }) => endedBadly.includes(state)));
}

/** From the first stale interval to the last. */
export function staleStretch(partitions: readonly Partition[]): Span | undefined {
  return stretchOf(partitions.filter(({ state }) => state === "stale"));
}

function stretchOf(found: readonly Partition[]): Span | undefined {
  const [first, last] = [found[0], found.at(-1)];
  if (first === undefined || last === undefined) return undefined;
  return { start: endsOf(first.interval).start, end: endsOf(last.interval).end };
}

/** How many are in each state. */
export function countStates(
  partitions: readonly Partition[],
): Readonly<Record<PartitionState, number>> {
  const counts = { done: 0, running: 0, stale: 0, missing: 0, failed: 0, cancelled: 0, blocked: 0 };
  for (const { state } of partitions) counts[state]++;
  return counts;
}
