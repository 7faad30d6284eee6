/** The intervals that a schedule cuts time into. */
import type { Interval } from "./interval.ts";
import type { Schedule } from "./schedule.ts";

/** The intervals with start ≥ `fromMs` and end ≤ `toMs`, none before the schedule's start; oldest first. */
export function intervalsBetween(schedule: Schedule, fromMs: number, toMs: number): Interval[] {
  throw new Error(`not there yet ${schedule.startMs} ${fromMs} ${toMs}`);
}

/** The newest interval whose run is due at an instant; null before the first. */
export function newestInterval(schedule: Schedule, atMs: number): Interval | null {
  throw new Error(`not there yet ${schedule.startMs} ${atMs}`);
}

/** Whether the schedule fires at an instant, so that nobody triggered it by hand. */
export function isSlot(schedule: Schedule, atMs: number): boolean {
  throw new Error(`not there yet ${schedule.startMs} ${atMs}`);
}
