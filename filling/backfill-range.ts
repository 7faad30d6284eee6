/** The intervals that a backfill may take; for its activity and for the dry run of the CLI. */
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { type Interval, parseInstant } from "../engine/calendar/interval.ts";
import type { Schedule } from "../engine/calendar/schedule.ts";
import { intervalsBetween, newestInterval } from "../engine/calendar/slots.ts";
import type { BackfillInput } from "../workflows/contract.ts";

/** The schedule of a view. @throws INTERVAL_INVALID where it has none */
export function scheduleOf({ name, schedule }: View): Schedule {
  if (schedule !== undefined) return schedule;
  throw new OnceflowError(
    "INTERVAL_INVALID",
    `view "${name}" has no schedule, so nothing says what its intervals are. Declare one beside the view, for example schedule: { every: "1 day", start: "2026-01-01" }.`,
    { view: name },
  );
}

/**
 * The intervals of a backfill's range that are complete; of a full refresh the newest alone, since
 * each replaces the ones before.
 */
export function backfillIntervals(
  view: View,
  { from, to }: Pick<BackfillInput, "from" | "to">,
  nowMs: number,
): Interval[] {
  const schedule = scheduleOf(view);
  const newestMs = newestInterval(schedule, nowMs)?.endMs ?? schedule.startMs;
  const endMs = Math.min(parseInstant(to), newestMs);
  const intervals = intervalsBetween(schedule, parseInstant(from), endMs);
  return view.rows.isFullRefresh ? intervals.slice(-1) : intervals;
}
