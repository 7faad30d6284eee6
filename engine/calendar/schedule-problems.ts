/** What is wrong with the options of a schedule. */
import { messageOf } from "../errors.ts";
import { isTimeZone, parseCron } from "./cron.ts";
import { parseDuration } from "./duration.ts";
import { parseInstant } from "./interval.ts";
import { resolveSchedule, type ScheduleOptions, upstreamsOf } from "./schedule.ts";
import {
  hasFewIntervals,
  isSlot,
  longestGapMs,
  mostIntervals,
  mostLate as lateLimit,
  nextSlotAfter,
} from "./slots.ts";

/** Why options make no schedule, each with its fix; empty where they do. */
export function scheduleProblems(options: ScheduleOptions): string[] {
  const { every, cron, timeZone, offset, jitter, start, allowedLateness = 0 } = options;
  const problems: string[] = [];
  const span = (name: string, text: string | undefined, minMs: number): void => {
    if (text === undefined) return;
    const ms = parseDuration(text);
    if (ms !== undefined && ms > longestGapMs)
      problems.push(
        `${name} is "${text}"; give at most "${longestGapMs / 86_400_000} days", which is nine years.`,
      );
    if (ms === undefined || ms < minMs)
      problems.push(
        `${name} is "${text}"; give a whole number and a unit, such as "90 s", "5 min", "6 hours" or "1 day"${minMs > 0 ? `, at least ${minMs < 60_000 ? "1 s" : "1 min"}` : ""}.`,
      );
  };
  if ((every === undefined) === (cron === undefined))
    problems.push('needs either every or cron: every: "1 day", or cron: "0 2 * * *".');
  span("every", every, 60_000);
  span("offset", offset, 0);
  span("jitter", jitter, 0);
  const parsed = cron === undefined ? undefined : parseCron(cron);
  if (typeof parsed === "string") problems.push(`cron "${cron}" ${parsed}`);
  if (timeZone !== undefined && !isTimeZone(timeZone))
    problems.push(
      `timeZone is "${timeZone}", which is no IANA time zone; give one such as "Europe/Berlin".`,
    );
  if (timeZone !== undefined && every !== undefined)
    problems.push("has a timeZone with every, which is counted in UTC; use cron, or leave it out.");
  if (!Number.isInteger(allowedLateness) || allowedLateness < 0 || allowedLateness > lateLimit)
    problems.push(`allowedLateness is ${allowedLateness}; give a whole number 0-${lateLimit}.`);
  for (const { view, earlier } of upstreamsOf(options))
    if (!Number.isInteger(earlier) || earlier < 0 || earlier > lateLimit)
      problems.push(
        `dependsOn "${view}": earlier is ${earlier}; give a whole number 0-${lateLimit}.`,
      );
  for (const { file, task, every: looks, timeout } of options.waitFor ?? []) {
    const name = file ?? task;
    span(`waitFor "${name}": every`, looks, 1000);
    span(`waitFor "${name}": timeout`, timeout, 1000);
    if (file !== undefined && (file.startsWith("/") || file.split("/").includes("..")))
      problems.push(`waitFor "${file}" leaves the data folder; give a path under it.`);
  }
  const whole = (name: string, value: number | undefined) => {
    if (value !== undefined && (!Number.isInteger(value) || value < 1 || value > 1000))
      problems.push(`${name} is ${value}; give a whole number 1-1000.`);
  };
  const { retry, pool } = options;
  span("retry.initial", retry?.initial, 1000);
  span("retry.max", retry?.max, 1000);
  whole("retry.attempts", retry?.attempts);
  whole("maxActiveRuns", options.maxActiveRuns);
  whole("pool.slots", pool?.slots);
  span("deadline", options.deadline, 1000);
  if (pool !== undefined && !/^[\w.-]{1,60}$/.test(pool.name))
    problems.push(`pool.name is "${pool.name}"; give 1-60 letters, digits, _, - and dots.`);
  if ((options.onLate ?? []).length > 0 && options.deadline === undefined)
    problems.push("has onLate and no deadline; give one.");
  try {
    parseInstant(start);
  } catch (error) {
    problems.push(`start: ${messageOf(error)}`);
  }
  if (problems.length > 0) return problems;

  const schedule = resolveSchedule(options);
  if (!hasFewIntervals(schedule))
    problems.push(
      `start ${start} is more than ${mostIntervals.toLocaleString("en-US")} intervals ago; start later, or make the intervals longer.`,
    );
  const { startMs, jitterMs, offsetMs } = schedule;
  if (schedule.calendar.kind === "every" && jitterMs >= schedule.calendar.everyMs)
    problems.push(`jitter "${jitter}" is not shorter than every "${every}"; shorten it.`);
  // The slot at or before it would be the start of an interval that ends there.
  if (!isSlot(schedule, startMs + offsetMs)) {
    const next = nextSlotAfter(schedule, startMs + offsetMs);
    problems.push(
      next === undefined
        ? `cron "${cron}" never matches a date; correct its day and month.`
        : `start ${start} is no boundary of its intervals; the next one is ${new Date(next - offsetMs).toISOString()}.`,
    );
  }
  return problems;
}
