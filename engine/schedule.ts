/**
 * When a view is materialized: what users declare beside it, and what the catalogue makes of that.
 * A schedule is part of no fingerprint: changing it moves no row.
 */

/** A span of time with its unit, such as "90 s", "5 min", "6 hours" or "1 day". */
export type Duration = string;

/** When a view is materialized; its slots cut time into the intervals of the view. */
export interface ScheduleOptions {
  /** The distance of the slots, counted from 1970-01-01T00:00Z; give this or `cron`. */
  readonly every?: Duration;
  /** Five fields (minute, hour, day of month, month, day of week); give this or `every`. */
  readonly cron?: string;
  /** IANA name of the zone that `cron` is read in; UTC by default. */
  readonly timeZone?: string;
  /**
   * How long after the end of its interval a run starts, as elapsed time; 0 by default. With `every:
   * "1 day", offset: "2 hours"` the day that ended at midnight is run at 02:00 UTC; with `cron` the
   * run starts when it says, and its interval ended this much earlier.
   */
  readonly offset?: Duration;
  /** Spreads the starts of runs over this span, so that views do not all start at once. */
  readonly jitter?: Duration;
  /** Start of the first interval, ISO 8601 in UTC; nothing before it is ever due. */
  readonly start: string;
  /** Whether what is missing since `start` is materialized when the schedule is made; default false. */
  readonly catchup?: boolean;
  /** How many intervals before the newest are materialized again with it, for late rows; 0. */
  readonly allowedLateness?: number;
  /** Whether a failed run pauses the schedule; default false. */
  readonly pauseOnFailure?: boolean;
}

/** A schedule as the catalogue resolves it, with every default in its place. */
export interface Schedule {
  readonly grid:
    | { readonly kind: "every"; readonly everyMs: number }
    | { readonly kind: "cron"; readonly cron: string; readonly timeZone: string };
  readonly offsetMs: number;
  readonly jitterMs: number;
  readonly startMs: number;
  readonly catchup: boolean;
  readonly allowedLateness: number;
  readonly pauseOnFailure: boolean;
}

/** Why options make no schedule, each with its fix; empty where they do. */
export function scheduleProblems(options: ScheduleOptions): string[] {
  throw new Error(`not there yet ${options.start}`);
}

/** Resolves options in which `scheduleProblems` found nothing. */
export function resolveSchedule(options: ScheduleOptions): Schedule {
  throw new Error(`not there yet ${options.start}`);
}
