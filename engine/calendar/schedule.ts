/**
 * When a view is materialized: what users declare beside it, and what the catalogue makes of that.
 * A schedule is part of no fingerprint: changing it moves no row.
 */
import { parseDuration } from "./duration.ts";
import { parseInstant } from "./interval.ts";

/** A span of time with its unit, such as "90 s", "5 min", "6 hours" or "1 day". */
export type Duration = string;

/** What of a feature view says that it is upstream: its name. */
export interface UpstreamView {
  readonly kind: "view";
  readonly name: string;
}

/** Another view whose intervals must be committed before one of this view is run. */
export interface UpstreamOptions {
  readonly view: UpstreamView;
  /** How many of its intervals before those of the same time must be committed too; 0. */
  readonly earlier?: number;
}

/** What a run of an interval waits for: a file, or a task of activities/tasks that says true. */
export type SensorOptions = {
  /** How often it is looked at; "1 min" by default. */
  readonly every?: Duration;
  /** How long a run waits for it before it fails; "24 hours" by default. */
  readonly timeout?: Duration;
} & (
  | {
      /** A path under the data folder; `{date}` stands for each day of the interval, in UTC. */
      readonly file: string;
      readonly task?: undefined;
    }
  | { readonly task: string; readonly file?: undefined }
);

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
  /**
   * How many intervals before the newest are materialized again with it, for late rows; by default
   * those that the source's own `allowedLateness` says, else 0.
   */
  readonly allowedLateness?: number;
  /** Whether a failed run pauses the schedule; default false. */
  readonly pauseOnFailure?: boolean;
  /**
   * Upstream views. A run waits until their intervals that end within its own (or the newest
   * before it) are committed, and is blocked where one of them failed.
   */
  readonly dependsOn?: readonly (UpstreamView | UpstreamOptions)[];
  /** What else a run waits for, all at once, after the upstream views. */
  readonly waitFor?: readonly SensorOptions[];
  /** A workflow of workflows/pipelines that is run for each interval in place of `materialize`. */
  readonly workflow?: string;
  /** How a step that failed for a reason that may pass is tried again; for a day by default. */
  readonly retry?: RetryOptions;
  /** How many intervals of the view are run at once, whoever starts them; any number by default. */
  readonly maxActiveRuns?: number;
  /** Places that views share: at most so many of their intervals are run at once. */
  readonly pool?: PoolOptions;
  /** How long after its slot a run should have committed; after that `onLate` is called. */
  readonly deadline?: Duration;
  /** Names in ONCEFLOW_WEBHOOKS that are called when a run failed or was blocked. */
  readonly onFailure?: readonly string[];
  /** Names in ONCEFLOW_WEBHOOKS that are called when a scheduled run passes its deadline. */
  readonly onLate?: readonly string[];
}

/** How a step of a run is tried again; wrong data never is. */
export interface RetryOptions {
  /** Times that it is done at most; any number within a day by default. */
  readonly attempts?: number;
  /** The wait after the first attempt, which then doubles; "1 s" by default, and the least. */
  readonly initial?: Duration;
  /** The longest wait; "30 s" by default. */
  readonly max?: Duration;
}

/** A pool of places, the same for all views that name it. */
export interface PoolOptions {
  readonly name: string;
  /** How many places it has. */
  readonly slots: number;
}

/** An upstream view, by name. */
export interface Upstream {
  readonly view: string;
  readonly earlier: number;
}

/** What a run waits for. */
export interface Sensor {
  readonly kind: "file" | "task";
  /** Path with `{date}`, or name of the task. */
  readonly name: string;
  readonly everyMs: number;
  readonly timeoutMs: number;
}

/** A schedule as the catalogue resolves it, with every default in its place. */
export interface Schedule {
  /** When it fires. */
  readonly calendar:
    | { readonly kind: "every"; readonly everyMs: number }
    | { readonly kind: "cron"; readonly cron: string; readonly timeZone: string };
  readonly offsetMs: number;
  readonly jitterMs: number;
  readonly startMs: number;
  readonly catchup: boolean;
  /** Null where that of the source says how many. */
  readonly allowedLateness: number | null;
  readonly pauseOnFailure: boolean;
  readonly dependsOn: readonly Upstream[];
  readonly waitFor: readonly Sensor[];
  /** Name of the workflow that runs an interval. */
  readonly workflow: string;
  readonly retry: {
    readonly attempts: number | null;
    readonly initialMs: number;
    readonly maxMs: number;
  } | null;
  /** Pools to hold a place of, in this order: the view's own, then those that it shares. */
  readonly pools: readonly PoolOptions[];
  readonly deadlineMs: number | null;
  readonly onFailure: readonly string[];
  readonly onLate: readonly string[];
}

/**
 * Resolves options in which `scheduleProblems` found nothing wrong.
 *
 * @param hasLateRows - whether the view's source allows for late rows
 */
export function resolveSchedule(
  options: ScheduleOptions,
  view = "",
  hasLateRows = false,
): Schedule {
  const { every = "1 day", cron, timeZone = "UTC", offset = "0 s", jitter = "0 s" } = options;
  const calendar =
    cron === undefined
      ? ({ kind: "every", everyMs: parseDuration(every) ?? 0 } as const)
      : ({ kind: "cron", cron, timeZone } as const);
  return Object.freeze({
    calendar: Object.freeze(calendar),
    offsetMs: parseDuration(offset) ?? 0,
    jitterMs: parseDuration(jitter) ?? 0,
    startMs: parseInstant(options.start),
    catchup: options.catchup ?? false,
    allowedLateness: options.allowedLateness ?? (hasLateRows ? null : 0),
    pauseOnFailure: options.pauseOnFailure ?? false,
    dependsOn: Object.freeze(upstreamsOf(options)),
    waitFor: Object.freeze((options.waitFor ?? []).map(sensorOf)),
    workflow: options.workflow ?? "materialize",
    retry: retryOf(options.retry),
    pools: Object.freeze([
      ...(options.maxActiveRuns === undefined
        ? []
        : [{ name: `view/${view}`, slots: options.maxActiveRuns }]),
      ...(options.pool === undefined ? [] : [{ ...options.pool }]),
    ]),
    deadlineMs: parseDuration(options.deadline ?? "") ?? null,
    onFailure: Object.freeze([...(options.onFailure ?? [])]),
    onLate: Object.freeze([...(options.onLate ?? [])]),
  });
}

function retryOf(retry: RetryOptions | undefined): Schedule["retry"] {
  if (retry === undefined) return null;
  const { attempts = null, initial = "1 s", max = "30 s" } = retry;
  return Object.freeze({
    attempts,
    initialMs: parseDuration(initial) ?? 0,
    maxMs: parseDuration(max) ?? 0,
  });
}

/** The upstream views, as declared. */
export function upstreamsOf({ dependsOn = [] }: ScheduleOptions): Upstream[] {
  return dependsOn.map((each) =>
    "kind" in each
      ? { view: each.name, earlier: 0 }
      : { view: each.view.name, earlier: each.earlier ?? 0 },
  );
}

function sensorOf({ file, task, every = "1 min", timeout = "24 hours" }: SensorOptions): Sensor {
  return Object.freeze({
    kind: file === undefined ? "task" : "file",
    name: file ?? task,
    everyMs: parseDuration(every) ?? 0,
    timeoutMs: parseDuration(timeout) ?? 0,
  });
}
