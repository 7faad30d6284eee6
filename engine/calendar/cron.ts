/**
 * Cron expressions by the rules of a Temporal server: an instant matches where its local time in
 * the zone matches every field. A local time that does not exist never matches, and one that
 * exists twice matches twice.
 */

import { otherZones } from "./zones.ts";

/** The values that each field takes, in order. */
export interface Cron {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly daysOfMonth: readonly number[];
  readonly months: readonly number[];
  /** 0 is Sunday. */
  readonly daysOfWeek: readonly number[];
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const fields = [
  { key: "minutes", name: "minute", min: 0, max: 59, names: [] as string[] },
  { key: "hours", name: "hour", min: 0, max: 23, names: [] as string[] },
  { key: "daysOfMonth", name: "day of month", min: 1, max: 31, names: [] as string[] },
  { key: "months", name: "month", min: 1, max: 12, names: months },
  { key: "daysOfWeek", name: "day of week", min: 0, max: 7, names: days },
] as const;

const shorthands: Readonly<Record<string, string>> = {
  "@hourly": "0 * * * *",
  "@daily": "0 0 * * *",
  "@weekly": "0 0 * * 0",
  "@monthly": "0 0 1 * *",
  "@yearly": "0 0 1 1 *",
};

/** Reads five fields or a shorthand such as @daily; a text says what is wrong. */
export function parseCron(text: string): Cron | string {
  const parts = (shorthands[text] ?? text).trim().split(/\s+/);
  if (parts.length !== fields.length)
    return `has ${parts.length} fields; give five: minute, hour, day of month, month, day of week.`;
  const values: Record<string, readonly number[]> = {};
  for (const [i, field] of fields.entries()) {
    const part = parts[i] ?? "";
    const found = valuesOf(part, field);
    if (found === undefined)
      return `has the ${field.name} "${part}"; give *, numbers ${field.min}-${field.max}, ranges such as 1-5, lists such as 1,3, or steps such as */15.`;
    values[field.key] = found;
  }
  if (parts[2] !== "*" && parts[4] !== "*")
    return "restricts both the day of month and the day of week: cron reads that as either, Temporal as both. Restrict one, and leave the other *.";
  return values as unknown as Cron;
}

function valuesOf(text: string, { min, max, names }: (typeof fields)[number]) {
  const numberOf = (word: string): number => {
    const named = names.indexOf(word.toLowerCase());
    if (named >= 0) return named + min;
    return /^\d{1,2}$/.test(word) ? Number(word) : NaN;
  };
  const found = new Set<number>();
  for (const item of text.split(",")) {
    const [range = "", stepText, ...more] = item.split("/");
    const [first = "", last, ...rest] = range.split("-");
    const step = stepText === undefined ? 1 : /^\d{1,2}$/.test(stepText) ? Number(stepText) : NaN;
    const from = range === "*" ? min : numberOf(first);
    const single = stepText === undefined ? from : max;
    const to = range === "*" ? max : last === undefined ? single : numberOf(last);
    const isValid = from >= min && to <= max && from <= to && step > 0;
    if (!isValid || more.length > 0 || rest.length > 0) return undefined;
    // Sunday is 0 and 7.
    for (let value = from; value <= to; value += step) found.add(max === 7 ? value % 7 : value);
  }
  return [...found].sort((a, b) => a - b);
}

const msPerMinute = 60_000;
const msPerDay = 86_400_000;
const formatters = new Map<string, Intl.DateTimeFormat>();

/**
 * Whether the name is one of an IANA time zone as it is written there. Node takes `europe/berlin`,
 * offsets such as `+05:30` and names of its own too, which a Temporal server does not know.
 */
export function isTimeZone(timeZone: string): boolean {
  try {
    const { timeZone: own } = formatterOf(timeZone).resolvedOptions();
    return own === timeZone ? /^[A-Z]/.test(own) : otherZones.has(timeZone);
  } catch {
    return false;
  }
}

/** The instants that match, `fromMs` ≤ t ≤ `toMs`, in order. Cost: O(days and matches). */
export function* cronTimes(cron: Cron, timeZone: string, fromMs: number, toMs: number) {
  // Local days that touch the range; no zone is further than 14 hours from UTC.
  const firstDay = Math.floor(fromMs / msPerDay) - 1;
  const lastDay = Math.floor(toMs / msPerDay) + 1;
  // A zone that goes back over midnight repeats the end of a day after the next has begun.
  let found: number[] = [];
  for (let day = firstDay; day <= lastDay; day++) {
    const ofDay = matchesOn(day * msPerDay, cron, timeZone);
    if (ofDay.length === 0 && found.length === 0) continue;
    found = [...found, ...ofDay].sort((a, b) => a - b);
    const settledMs = day === lastDay ? Infinity : (day + 1) * msPerDay - mostAheadMs;
    for (const ms of found) if (ms < settledMs && ms >= fromMs && ms <= toMs) yield ms;
    found = found.filter((ms) => ms >= settledMs);
  }
}

/** No zone was ever further ahead of UTC: Manila was 15 h 56 min behind, Juneau 15 h 2 min ahead. */
const mostAheadMs = 16 * 3_600_000;

/** The instants whose local time is on a day and matches. */
function matchesOn(dayMs: number, cron: Cron, timeZone: string): number[] {
  const date = new Date(dayMs);
  if (
    !cron.months.includes(date.getUTCMonth() + 1) ||
    !cron.daysOfMonth.includes(date.getUTCDate()) ||
    !cron.daysOfWeek.includes(date.getUTCDay())
  )
    return [];
  const offsets = offsetsAround(timeZone, dayMs);
  const found = new Set<number>();
  for (const hour of cron.hours)
    for (const minute of cron.minutes) {
      const localMs = dayMs + (hour * 60 + minute) * msPerMinute;
      for (const offsetMs of offsets) {
        const ms = localMs - offsetMs;
        if (offsets.length === 1 || offsetAt(timeZone, ms) === offsetMs) found.add(ms);
      }
    }
  return [...found];
}

/** The offsets from UTC that a zone has on a local day. */
function offsetsAround(timeZone: string, localDayMs: number): number[] {
  if (timeZone === "UTC") return [0];
  return [
    ...new Set([
      offsetAt(timeZone, localDayMs - msPerDay),
      offsetAt(timeZone, localDayMs + msPerDay / 2),
      offsetAt(timeZone, localDayMs + 2 * msPerDay),
    ]),
  ];
}

/** Local time less UTC. */
function offsetAt(timeZone: string, ms: number): number {
  const part: Record<string, number> = {};
  for (const { type, value } of formatterOf(timeZone).formatToParts(ms)) part[type] = Number(value);
  const { year = 0, month = 1, day, hour, minute, second } = part;
  // Date.UTC takes the year 50 for 1950.
  const local = new Date(0);
  local.setUTCFullYear(year, month - 1, day);
  const localMs = local.setUTCHours(hour ?? 0, minute ?? 0, second ?? 0);
  return localMs - Math.floor(ms / 1000) * 1000;
}

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const cached = formatters.get(timeZone);
  if (cached !== undefined) return cached;
  const formatter = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  formatters.set(timeZone, formatter);
  return formatter;
}
