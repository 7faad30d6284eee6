/**
 * The intervals that a schedule cuts time into. A schedule fires at nominal times F, and the
 * interval of a firing is [the F before it − offset, F − offset): intervals tile time, whatever the
 * calendar does.
 */
import { OnceflowError } from "../errors.ts";
import { cronTimes, parseCron } from "./cron.ts";
import type { Interval } from "./interval.ts";
import type { Schedule } from "./schedule.ts";

const msPerDay = 86_400_000;
/** The longest time between two slots: from one February 29 to the next there may be eight years. */
export const longestGapMs = 9 * 366 * msPerDay;

/** Intervals of a range, at most; they are held in memory. */
export const mostIntervals = 5_000_000;

/** Whether the intervals since the start are no more than `mostIntervals`, as far as can be told. */
export function hasFewIntervals({ calendar, startMs }: Schedule, nowMs = Date.now()): boolean {
  if (calendar.kind === "every") return (nowMs - startMs) / calendar.everyMs <= mostIntervals;
  const cron = parseCron(calendar.cron);
  if (typeof cron === "string") return true;
  const { minutes, hours, daysOfMonth, months, daysOfWeek } = cron;
  const ofDay = minutes.length * hours.length;
  const days = (daysOfMonth.length / 31) * (months.length / 12) * (daysOfWeek.length / 7);
  return ((nowMs - startMs) / msPerDay) * ofDay * days <= mostIntervals;
}

/**
 * The intervals with start ≥ `fromMs` and end ≤ `toMs`, none before the schedule's start; oldest
 * first.
 */
export function intervalsBetween(schedule: Schedule, fromMs: number, toMs: number): Interval[] {
  const firstMs = Math.max(fromMs, schedule.startMs);
  const { offsetMs } = schedule;
  const intervals: Interval[] = [];
  let startMs: number | undefined;
  for (const firesMs of firings(schedule, firstMs + offsetMs, toMs + offsetMs)) {
    const endMs = firesMs - offsetMs;
    if (startMs !== undefined) intervals.push(Object.freeze({ startMs, endMs }));
    if (intervals.length > mostIntervals)
      throw new OnceflowError(
        "INTERVAL_INVALID",
        `the range has more than ${mostIntervals.toLocaleString("en-US")} intervals of the schedule; ask for a shorter one.`,
      );
    startMs = endMs;
  }
  return intervals;
}

/** The newest interval whose run is due at an instant; null before the first. */
export function newestInterval(schedule: Schedule, atMs: number): Interval | null {
  const { offsetMs, startMs } = schedule;
  const endFires = lastFiring(schedule, atMs);
  const startFires = endFires === undefined ? undefined : lastFiring(schedule, endFires - 1);
  if (endFires === undefined || startFires === undefined) return null;
  if (startFires - offsetMs < startMs) return null;
  return Object.freeze({ startMs: startFires - offsetMs, endMs: endFires - offsetMs });
}

/** Intervals that are computed again for late rows, at most. */
export const mostLate = 1000;

/**
 * The intervals before one that are computed again with it, since they may have got late rows;
 * oldest first.
 *
 * @param latenessMs - what the source allows, for a schedule that does not say how many
 */
export function lateIntervals(
  schedule: Schedule,
  { startMs }: Pick<Interval, "startMs">,
  latenessMs: number,
): Interval[] {
  const { allowedLateness, offsetMs } = schedule;
  const found: Interval[] = [];
  for (let endMs = startMs; ;) {
    const before = newestInterval(schedule, endMs + offsetMs);
    const isLate =
      before !== null &&
      (allowedLateness === null
        ? found.length < mostLate && before.endMs > startMs - latenessMs
        : found.length < allowedLateness);
    if (!isLate) return found.reverse();
    found.push(before);
    endMs = before.startMs;
  }
}

/**
 * The intervals of a schedule that are upstream of an interval of another: those that end within
 * it, or the newest before it where none does, and `earlier` more before these; oldest first.
 */
export function upstreamIntervals(
  schedule: Schedule,
  { startMs, endMs }: Interval,
  earlier: number,
): Interval[] {
  const found: Interval[] = [];
  let more = earlier;
  for (let at = endMs; ;) {
    const next = newestInterval(schedule, at + schedule.offsetMs);
    if (next === null) break;
    if (next.endMs <= startMs && found.length > 0 && more-- <= 0) break;
    found.push(next);
    at = next.startMs;
  }
  return found.reverse();
}

/**
 * The intervals of a schedule, complete at an instant, that one of an upstream schedule is upstream
 * of; oldest first. It answers `upstreamIntervals` the other way round.
 */
export function dependentIntervals(
  schedule: Schedule,
  upstream: { readonly schedule: Schedule; readonly interval: Interval; readonly earlier: number },
  atMs: number,
): Interval[] {
  const { endMs } = upstream.interval;
  const before = newestInterval(schedule, endMs + schedule.offsetMs);
  const found: Interval[] = [];
  let fires = (before === null ? schedule.startMs : before.startMs) + schedule.offsetMs;
  for (;;) {
    const next = nextSlotAfter(schedule, fires);
    if (next === undefined || next > atMs) return found;
    const startMs = fires - schedule.offsetMs;
    fires = next;
    const own = Object.freeze({ startMs, endMs: next - schedule.offsetMs });
    if (own.endMs < endMs) continue;
    const first = upstreamIntervals(upstream.schedule, own, upstream.earlier);
    if (!first.some((each) => each.endMs === endMs)) return found;
    found.push(own);
  }
}

/** Whether the schedule fires at an instant, so that nobody triggered it by hand. */
export function isSlot(schedule: Schedule, atMs: number): boolean {
  const secondMs = Math.floor(atMs / 1000) * 1000;
  return lastFiring(schedule, secondMs) === secondMs;
}

/** The first nominal time after an instant; undefined where there is none in nine years. */
export function nextSlotAfter(schedule: Schedule, atMs: number): number | undefined {
  for (const ms of firings(schedule, atMs + 1, atMs + longestGapMs)) return ms;
  return undefined;
}

/** Nominal times, `fromMs` ≤ F ≤ `toMs`. */
function* firings(
  { calendar, offsetMs }: Schedule,
  fromMs: number,
  toMs: number,
): Iterable<number> {
  if (calendar.kind === "every") {
    const { everyMs } = calendar;
    const first = Math.ceil((fromMs - offsetMs) / everyMs) * everyMs + offsetMs;
    for (let ms = first; ms <= toMs; ms += everyMs) yield ms;
    return;
  }
  const cron = parseCron(calendar.cron);
  // Checked when the catalogue was built.
  if (typeof cron === "string") return;
  yield* cronTimes(cron, calendar.timeZone, fromMs, toMs);
}

/** The newest nominal time ≤ `atMs`, looked for over ever longer spans. */
function lastFiring(schedule: Schedule, atMs: number): number | undefined {
  if (schedule.calendar.kind === "every") {
    const { everyMs } = schedule.calendar;
    return Math.floor((atMs - schedule.offsetMs) / everyMs) * everyMs + schedule.offsetMs;
  }
  for (let spanMs = 2 * msPerDay; ; spanMs *= 8) {
    const last = [...firings(schedule, atMs - spanMs, atMs)].at(-1);
    if (last !== undefined || spanMs > longestGapMs) return last;
  }
}

/** Whether an interval is exactly one of the schedule's. */
export function isInterval(schedule: Schedule, { startMs, endMs }: Interval): boolean {
  const [own] = intervalsBetween(schedule, startMs, endMs);
  return own?.startMs === startMs && own.endMs === endMs;
}
