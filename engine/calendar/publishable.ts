/**
 * Up to when a view may be published: what is served of it counts every interval up to that end and
 * none after it.
 */
import type { View } from "../catalogue.ts";
import { type Interval, joinIntervals } from "./interval.ts";
import { nextSlotAfter } from "./slots.ts";

/** What may be published of a view. */
export interface Publishable {
  /** The end that is published; null where nothing may be. */
  readonly endMs: number | null;
  /** The committed intervals that count, oldest first; of a full refresh the newest alone. */
  readonly intervals: readonly Interval[];
  /** Whether none is missing before that end. */
  readonly covered: boolean;
  /** The first stretch that is missing before something committed. */
  readonly gap: Interval | null;
}

/**
 * What may be published of a view: the unbroken run of committed intervals from the start of its
 * schedule, or without one from the first that is committed. Where an interval is missing, `gaps:
 * "hold"` ends before it, and `gaps: "serve"` goes past it. Cost: O(n log n) of the intervals.
 */
export function publishableOf(view: View, committed: Iterable<Interval>): Publishable {
  const intervals = [...committed].sort((a, b) => a.endMs - b.endMs || a.startMs - b.startMs);
  const newest = intervals.at(-1);
  if (newest === undefined) return { endMs: null, intervals, covered: true, gap: null };
  const all = { endMs: newest.endMs, intervals, covered: true, gap: null };
  if (view.rows.isFullRefresh) return { ...all, intervals: [newest] };
  const blocks = joinIntervals(intervals);
  const startMs = firstStart(view) ?? blocks[0]?.startMs ?? newest.startMs;
  const unbroken = blocks.find((each) => each.startMs <= startMs && each.endMs >= startMs);
  const next = blocks.find((each) => each.startMs > (unbroken?.endMs ?? startMs));
  if (next === undefined) return all;
  const gap = { startMs: unbroken?.endMs ?? startMs, endMs: next.startMs };
  if (view.gaps === "serve") return { ...all, covered: false, gap };
  const endMs = unbroken?.endMs ?? null;
  const counted = intervals.filter((each) => endMs !== null && each.endMs <= endMs);
  return { endMs, intervals: counted, covered: true, gap };
}

/** Where the first interval of a schedule begins; undefined without one. */
function firstStart({ schedule }: View): number | undefined {
  if (schedule === undefined) return undefined;
  const { startMs, offsetMs } = schedule;
  const slot = nextSlotAfter(schedule, startMs + offsetMs - 1);
  return slot === undefined ? undefined : slot - offsetMs;
}
