/** Half-open ranges of UTC time: what a materialization covers. */
import { OnceflowError } from "../errors.ts";

/** The instants t with startMs ≤ t < endMs, in milliseconds since the epoch, UTC. */
export interface Interval {
  readonly startMs: number;
  readonly endMs: number;
}

const earliestMs = Date.parse("0001-01-01T00:00:00Z");
const latestMs = Date.parse("9999-12-31T23:59:59.999Z");

/**
 * Makes an interval from two times.
 *
 * @throws INTERVAL_INVALID where a time is not ISO 8601 or the start is not before the end
 */
export function interval(start: string, end: string): Interval {
  const startMs = parseInstant(start);
  const endMs = parseInstant(end);
  if (startMs >= endMs)
    throw new OnceflowError(
      "INTERVAL_INVALID",
      `the interval [${start}, ${end}) is empty: its start must be before its end.`,
    );
  return Object.freeze({ startMs, endMs });
}

/**
 * Milliseconds since the epoch of an ISO 8601 time; a date alone means its midnight, and a time
 * without a zone is UTC.
 *
 * @throws INTERVAL_INVALID
 */
export function parseInstant(text: string): number {
  const match =
    /^(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)(Z|[+-]\d\d:\d\d)?)?$/.exec(text);
  const ms =
    match === null ? NaN : Date.parse(`${match[1]}T${match[2] ?? "00:00"}${match[3] ?? "Z"}`);
  if (Number.isNaN(ms) || !isDay(match?.[1] ?? "") || ms < earliestMs || ms > latestMs)
    throw new OnceflowError(
      "INTERVAL_INVALID",
      `"${text}" is no time: write ISO 8601 in UTC, for example 2026-01-31 or 2026-01-31T12:00:00Z.`,
    );
  return ms;
}

/** Date.parse takes 2026-02-30 for March 2nd; a day that changes when it is written was no day. */
function isDay(text: string): boolean {
  return new Date(`${text}T00:00Z`).toISOString().startsWith(text);
}

/** ISO 8601 text of an interval, `start/end`; the one spelling in keys, ids and messages. */
export function formatInterval({ startMs, endMs }: Interval): string {
  return `${new Date(startMs).toISOString()}/${new Date(endMs).toISOString()}`;
}

/** The same time in as few intervals as can be, oldest first. */
export function joinIntervals(intervals: readonly Interval[]): Interval[] {
  const found: { startMs: number; endMs: number }[] = [];
  for (const { startMs, endMs } of [...intervals].sort((a, b) => a.startMs - b.startMs)) {
    const last = found.at(-1);
    if (last !== undefined && startMs <= last.endMs) last.endMs = Math.max(last.endMs, endMs);
    else found.push({ startMs, endMs });
  }
  return found;
}

/** Whether an interval lies whole within another. */
export function contains(wider: Interval, { startMs, endMs }: Interval): boolean {
  return wider.startMs <= startMs && endMs <= wider.endMs;
}

/** Whether two intervals have time in common. */
export function overlaps(one: Interval, { startMs, endMs }: Interval): boolean {
  return startMs < one.endMs && endMs > one.startMs;
}

/** An interval with its ends apart, as `formatInterval` writes them: ISO 8601 in UTC. */
export interface Span {
  readonly start: string;
  readonly end: string;
}

/** The ends of an interval, or of what `formatInterval` wrote of it. */
export function endsOf(interval: Interval | string): Span {
  const text = typeof interval === "string" ? interval : formatInterval(interval);
  const [start = "", end = ""] = text.split("/");
  return { start, end };
}

/**
 * Reads what `formatInterval` writes.
 *
 * @throws INTERVAL_INVALID
 */
export function parseInterval(text: string): Interval {
  const [start = "", end = "", ...rest] = text.split("/");
  if (rest.length > 0)
    throw new OnceflowError("INTERVAL_INVALID", `"${text}" is no interval: write start/end.`);
  return interval(start, end);
}

/** A span for people: `[start, end)`, at midnight without the time. */
export function showSpan({ start, end }: Span): string {
  return `[${showTime(start)}, ${showTime(end)})`;
}

/** ISO 8601 as short as it can be: no milliseconds where they are 0, no time at midnight. */
export function showTime(time: string): string {
  return time.replace(/\.000Z$/, "Z").replace(/T00:00:00Z$/, "");
}
