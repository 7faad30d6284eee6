/**
 * When a view is materialized: what users declare beside it, and what the catalogue makes of that.
 * A schedule is part of no fingerprint: changing it moves no row.
 */
import { isTimeZone, parseCron } from "./cron.ts";
import { parseDuration } from "./duration.ts";
import { messageOf } from "../errors.ts";
import { parseInstant } from "./interval.ts";
import { isSlot, nextSlotAfter, type Timing } from "./slots.ts";

/** A span of time with its unit, such as "90 s", "5 min", "6 hours" or "1 day". */
export type Duration = string;

/** What a schedule has to know of another view. */
export interface ViewRef {
  readonly kind: "view";
  readonly name: string;
}

/** Another view whose intervals must be committed before one of this view is run. */
export interface UpstreamOptions {
  readonly view: ViewRef;
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
  /** How many intervals before the newest are materialized again with it, for late rows; 0. */
  readonly allowedLateness?: number;
  /** Whether a failed run pauses the schedule; default false. */
  readonly pauseOnFailure?: boolean;
  /**
   * Views that come first. A run waits until their intervals that end within its own (or the newest
   * before it) are committed, and is blocked where one of them failed.
   */
  readonly dependsOn?: readonly (ViewRef | UpstreamOptions)[];
  /** What else a run waits for, all at once, after the views that come first. */
  readonly waitFor?: readonly SensorOptions[];
  /** A workflow of workflows/pipelines that is run for each interval in place of `materialize`. */
  readonly workflow?: string;
  /** How a step that failed for a reason that may pass is tried again; for a day by default. */
  readonly retry?: RetryOptions;
  /** How many intervals of the view are run at once, whoever starts them; any number by default. */
  readonly maxActiveRuns?: number;
  /** Slots that views share: at most so many of their intervals are run at once. */
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

/** A pool of slots, the same for all views that name it. */
export interface PoolOptions {
  readonly name: string;
  readonly slots: number;
}

/** A view that comes first, by name. */
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
export interface Schedule extends Timing {
  readonly jitterMs: number;
  readonly catchup: boolean;
  readonly allowedLateness: number;
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
  /** Slots to hold, in this order: the view's own, then those that it shares. */
  readonly pools: readonly PoolOptions[];
  readonly deadlineMs: number | null;
  readonly onFailure: readonly string[];
  readonly onLate: readonly string[];
}

const lateLimit = 1000;

/** Why options make no schedule, each with its fix; empty where they do. */
export function scheduleProblems(options: ScheduleOptions): string[] {
  const { every, cron, timeZone, offset, jitter, start, allowedLateness = 0 } = options;
  const problems: string[] = [];
  const span = (name: string, text: string | undefined, minMs: number): void => {
    if (text === undefined) return;
    const ms = parseDuration(text);
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
  const { startMs, jitterMs, offsetMs } = schedule;
  if (schedule.grid.kind === "every" && jitterMs >= schedule.grid.everyMs)
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

/** Resolves options in which `scheduleProblems` found nothing wrong. */
export function resolveSchedule(options: ScheduleOptions, view = ""): Schedule {
  const { every = "1 day", cron, timeZone = "UTC", offset = "0 s", jitter = "0 s" } = options;
  const grid =
    cron === undefined
      ? ({ kind: "every", everyMs: parseDuration(every) ?? 0 } as const)
      : ({ kind: "cron", cron, timeZone } as const);
  return Object.freeze({
    grid: Object.freeze(grid),
    offsetMs: parseDuration(offset) ?? 0,
    jitterMs: parseDuration(jitter) ?? 0,
    startMs: parseInstant(options.start),
    catchup: options.catchup ?? false,
    allowedLateness: options.allowedLateness ?? 0,
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

/** The views that come first, as declared. */
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
