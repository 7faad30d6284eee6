/** Facts of a view that several commands need. */
import type { View } from "../engine/catalogue.ts";
import { endsOf, parseInterval, type Span } from "../engine/calendar/interval.ts";
import { invocation } from "../engine/invocation.ts";

/** `[start, end)`, at midnight without the time. */
export function showSpan({ start, end }: Span): string {
  return `[${showTime(start)}, ${showTime(end)})`;
}

/** ISO 8601 as short as it can be: no milliseconds where they are 0, no time at midnight. */
export function showTime(time: string): string {
  return time.replace(/\.000Z$/, "Z").replace(/T00:00:00Z$/, "");
}

/** Options of `materialize` that name an interval of a view; its end alone for a full refresh. */
export function spanOptions(view: View, { start, end }: Span): string {
  const first = view.rows.isFullRefresh ? "" : `--start ${showTime(start)} `;
  return `${first}--end ${showTime(end)}`;
}

/** The command that runs what is due of a view with a schedule. */
export function backfillLine(view: string, { start, end }: Span): string {
  return `${invocation} backfill ${view} --from ${showTime(start)} --to ${showTime(end)}`;
}

/** Intervals that lie between others and are covered by none; and where two overlap. */
export function holesOf(covered: readonly string[]): {
  readonly gaps: readonly Span[];
  readonly overlaps: readonly Span[];
} {
  const intervals = covered
    .map(parseInterval)
    .sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
  const gaps: Span[] = [];
  const overlaps: Span[] = [];
  let endMs = intervals[0]?.startMs ?? 0;
  for (const interval of intervals) {
    if (interval.startMs > endMs) gaps.push(endsOf({ startMs: endMs, endMs: interval.startMs }));
    if (interval.startMs < endMs)
      overlaps.push(endsOf({ startMs: interval.startMs, endMs: Math.min(endMs, interval.endMs) }));
    endMs = Math.max(endMs, interval.endMs);
  }
  return { gaps, overlaps };
}
