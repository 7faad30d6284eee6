/**
 * The wire contract of the workflows: names, inputs and outputs as JSON. Times are ISO 8601 in
 * UTC, intervals half-open.
 */
import type { Reprocess } from "../engine/calendar/grid.ts";

/** Task queues of a deployment; their base name also begins every workflow id. */
export function queuesOf(base: string) {
  return {
    /** Workflows and offline activities. */
    offline: base,
    /** The online activity, whose workers never load polars. */
    online: `${base}-online`,
  };
}

/** What `OnceflowKind` says of a workflow. */
export type RunKind = "materialize" | "publish" | "schedule" | "backfill" | "training_set" | "pool";

/** Workflow and schedule ids; each names one piece of work, so what is started twice runs once. */
export function idsOf(queue: string) {
  return {
    /** The run of an interval. */
    interval: ({ view, start, end, definition }: MaterializeInput) =>
      `${queue}/materialize/${view}/${start}/${end}/${definition}`,
    /** The schedule of a view. */
    schedule: (view: string) => `${queue}/${view}`,
    /** What a schedule starts; Temporal appends the nominal time. */
    scheduled: (view: string) => `${queue}/scheduled/${view}`,
    publish: ({ view, definition }: PublishInput) => `${queue}/publish/${view}/${definition}`,
    pool: (name: string) => `${queue}/pool/${name}`,
    backfill: ({ view, from, to, reprocess = "missing", definition }: BackfillInput) =>
      `${queue}/backfill/${view}/${from}/${to}/${reprocess}${definition === undefined ? "" : `/${definition}`}`,
  };
}

/** Input of `materialize`. */
export interface MaterializeInput {
  readonly view: string;
  /** First instant of the interval. */
  readonly start: string;
  /** First instant after it; for a full refresh also the event time of its rows. */
  readonly end: string;
  /** The storage fingerprint to fill. */
  readonly fingerprint: string;
  /** Hash of all that the run does; the worker must have been built with it. */
  readonly definition: string;
  /** Computes again what is covered already, under a new generation. Default false. */
  readonly reprocess?: boolean;
  /** How its steps are tried again; absent, for a day. */
  readonly retry?: RunRetry;
  /** Pools that it holds a place of while it works, taken in this order. */
  readonly pools?: readonly PoolRef[];
  /** Names in ONCEFLOW_WEBHOOKS that are called when it failed or was blocked. */
  readonly onFailure?: readonly string[];
  /** When somebody is to be told that it is not published yet. */
  readonly late?: RunLate;
  /** Whether it publishes what it has committed; a backfill does so once, for all. Default true. */
  readonly publishes?: boolean;
}

/** How the steps of a run are tried again. */
export interface RunRetry {
  /** Null for any number within a day. */
  readonly attempts: number | null;
  readonly initialMs: number;
  readonly maxMs: number;
}

/** A pool of places; their count is `slots` on the wire. */
export interface PoolRef {
  readonly name: string;
  readonly slots: number;
}

/** Whom to tell, and when, that a run is late. */
export interface RunLate {
  /** ISO 8601. */
  readonly at: string;
  /** Names in ONCEFLOW_WEBHOOKS. */
  readonly webhooks: readonly string[];
}

/** How the intervals of a view are run, by its schedule. */
export interface RunTerms extends Pick<MaterializeInput, "retry" | "pools" | "onFailure"> {
  /** `materialize`, or a pipeline. */
  readonly workflow: string;
}

/** Input of `pool`, which hands out the places of a pool while anybody wants one. */
export interface PoolInput extends PoolRef {
  /** What an execution hands to the next. */
  readonly carried?: PoolState;
}

/** Who holds places and who waits, first come first served: the answer of the query `state`. */
export interface PoolState {
  readonly slots: number;
  readonly holding: readonly PoolMember[];
  readonly waiting: readonly PoolMember[];
}

/** A run that wants a place. */
export interface PoolMember {
  readonly workflowId: string;
  readonly runId: string;
}

/** Messages of pools: `acquire` (member, slots) and `release` to it, `granted` (name) from it. */
export const poolMessages = {
  acquire: "acquire",
  release: "release",
  granted: "poolGranted",
  state: "state",
} as const;

/** What a webhook is called for. */
export type WebhookEvent = "failed" | "blocked" | "late";

/** What a run of `materialize` did. */
export interface MaterializeResult {
  readonly view: string;
  readonly start: string;
  readonly end: string;
  readonly fingerprint: string;
  /** `covered` where the ledger had the interval already, so nothing was done. */
  readonly outcome: "committed" | "covered";
  readonly generation: number;
  /** Rows of the interval. */
  readonly rows: number;
  /** What was published after it; null where whoever started the run publishes. */
  readonly published: PublishResult | null;
  /** Failed expectations with onFail: "warn". */
  readonly warnings: readonly string[];
}

/** Input of `publish`, which makes what is committed of a view what is served. */
export interface PublishInput {
  readonly view: string;
  readonly fingerprint: string;
  readonly definition: string;
  /** Writes every entity anew, not only those that a changed interval holds. Default false. */
  readonly whole?: boolean;
  /** The generation of an earlier publish to go back to; the view is frozen then. */
  readonly backTo?: number;
  /** Keeps what is published as it is, for this reason, until somebody resumes it. */
  readonly freeze?: string;
  /** Ends a freeze. */
  readonly resume?: boolean;
}

/** What a publish did. */
export interface PublishResult {
  readonly view: string;
  /**
   * `published`; `current` where what is committed is published already; `frozen` where a freeze
   * keeps it; `nothing` where nothing may be published.
   */
  readonly outcome: "published" | "current" | "frozen" | "nothing";
  /** What is published now: its generation and its end, ISO 8601; null where nothing is. */
  readonly generation: number | null;
  readonly end: string | null;
  /** Whether no interval is missing before that end. */
  readonly covered: boolean;
  /** Whether every entity was written anew. */
  readonly whole: boolean;
  /** Entities that were written, and entities that have no row any more. */
  readonly written: number;
  readonly withdrawn: number;
  /** Id of the latest aggregate snapshot; null for a view without aggregates. */
  readonly snapshot: string | null;
  readonly frozen: string | null;
  /** The first stretch that is missing before something that is committed. */
  readonly missing: { readonly start: string; readonly end: string } | null;
  /** Whether Redis writes down what it acknowledges; else a crash of it may cost a publish. */
  readonly durable: boolean;
  /** Count of the commits that it has seen. */
  readonly revision: number;
}

/** Input of `scheduled`, which a schedule starts. */
export interface ScheduledInput {
  readonly view: string;
  readonly fingerprint: string;
  readonly definition: string;
  /** Hash of the options that `apply` made the schedule from, which `plan` compares. */
  readonly applied?: string;
}

/** What a firing of a schedule has to run. */
export interface SlotPlan {
  /** Oldest first; empty where nothing is due. */
  readonly runs: readonly PlannedRun[];
  readonly terms: RunTerms;
  /** Why, in words, for the run's page. */
  readonly reason: string;
}

/** An interval that is to be run. */
export interface PlannedRun {
  readonly start: string;
  readonly end: string;
  readonly reprocess: boolean;
  /** Of the newest interval of a schedule alone. */
  readonly late?: RunLate;
}

/** What a firing of a schedule did. */
export interface ScheduledResult {
  readonly view: string;
  readonly runs: readonly MaterializeResult[];
  readonly reason: string;
}

/** Input of `backfill`; from the Temporal UI, `view`, `from` and `to` are enough. */
export interface BackfillInput {
  readonly view: string;
  /** Bounds, ISO 8601: intervals with start ≥ `from` and end ≤ `to`. */
  readonly from: string;
  readonly to: string;
  readonly reprocess?: Reprocess;
  /** Intervals under way at once; 8 by default. */
  readonly maxParallel?: number;
  readonly newestFirst?: boolean;
  /** Intervals that one execution starts before it continues as new; 250 by default. */
  readonly partitionsPerRun?: number;
  /** Absent, those of the worker that plans it. */
  readonly fingerprint?: string;
  readonly definition?: string;
  /** What an execution hands to the next; nobody else sets it. */
  readonly carried?: BackfillState;
}

/** How far a backfill is: the answer of its query `progress`, and what continue-as-new carries. */
export interface BackfillState {
  /** End of what was planned, ISO 8601; null before the first page. */
  readonly cursor: string | null;
  /** Intervals of the range that were due at its start. */
  readonly total: number;
  readonly committed: number;
  /** Found committed by another run in the meantime. */
  readonly covered: number;
  readonly failed: number;
  readonly rows: number;
  /** Intervals under way, as `start/end`. */
  readonly running: readonly string[];
  /** Those of them that someone else has started: a cancellation leaves them alone. */
  readonly others: readonly string[];
  readonly paused: boolean;
  readonly maxParallel: number;
  readonly startedAtMs: number;
  /** The first failures, at most 20. */
  readonly failures: readonly { readonly interval: string; readonly reason: string }[];
}

/** What a backfill did; a failed interval does not fail it. */
export type BackfillResult = Omit<BackfillState, "cursor" | "running" | "others" | "paused"> & {
  readonly view: string;
  /** What was published at its end. */
  readonly published: PublishResult;
};

/** One page of what a backfill has to run. */
export interface BackfillPage {
  readonly fingerprint: string;
  readonly definition: string;
  readonly terms: RunTerms;
  readonly runs: readonly PlannedRun[];
  /** Where the next page begins; null after the last. */
  readonly cursor: string | null;
  /** Due in the whole range; counted for the first page only, else 0. */
  readonly total: number;
}

/** Names of the messages that a backfill takes: signals, and the query `progress`. */
export const backfillMessages = {
  pause: "pause",
  resume: "resume",
  /** With the new number. */
  setMaxParallel: "setMaxParallel",
  progress: "progress",
} as const;

/** Input of `trainingSet`. */
export interface TrainingSetInput {
  readonly service: string;
  /** The service fingerprint that the worker must have been built with; absent, any. */
  readonly fingerprint?: string;
  /** Bounds of the rows by event time; both absent for all rows of a full refresh. */
  readonly start?: string;
  readonly end?: string;
  /** The aggregate snapshot to use; the latest by default. */
  readonly snapshot?: string;
}

/** Where a training set is, and what it was made of. */
export interface TrainingSetResult {
  readonly service: string;
  readonly fingerprint: string;
  readonly rows: number;
  readonly snapshot: string | null;
  /** Folder with data.parquet, data.csv and manifest.json. */
  readonly path: string;
  /** Rows that were left out since no interval takes them; absent from older workers. */
  readonly warnings?: readonly string[];
}

/** Names a run of one interval to the activities. */
export interface RunRef {
  readonly view: string;
  readonly start: string;
  readonly end: string;
  readonly fingerprint: string;
  readonly definition: string;
  readonly generation: number;
  readonly runId: string;
}

/** Why a run cannot begin yet: one of the two lists holds something. */
export interface Waiting {
  readonly due: "waiting";
  /** Upstream intervals that are not committed, in words. */
  readonly upstream: readonly string[];
  /** Sensors to wait for, once nothing upstream is missing any more. */
  readonly sensors: readonly SensorRef[];
}

/** Something that a run waits for. */
export interface SensorRef {
  /** Its place in the `waitFor` of the schedule. */
  readonly index: number;
  readonly name: string;
  readonly timeoutMs: number;
}

/** Names an interval of a view to a gate: may its run begin? */
export type ReadyRequest = Omit<RunRef, "generation"> & {
  readonly reprocess: boolean;
  /** Whether the sensors have been waited for. */
  readonly sensed: boolean;
  /** How often the run was planned before, in vain; absent, never. Each plan has a generation. */
  readonly plan?: number;
};

/** The signal to a run that waits: an upstream interval has ended, one way or the other. */
export const upstreamEndedSignal = "upstreamEnded";

/** What a task of activities/tasks is given: the interval that it works for. */
export interface TaskInput {
  readonly view: string;
  /** First instant of the interval, and the first after it. */
  readonly start: string;
  readonly end: string;
}

/** A run may begin, or need not: the interval is committed. */
export type Ready = { readonly due: "ready" } | CoveredRun;

/** Whether and what a run has to do. */
export type RunPlan = DueRun | CoveredRun;

/** A run that has begun. */
export interface DueRun {
  /** `rows`: everything; `aggregates`: the rows are committed, a new aggregate is not. */
  readonly due: "rows" | "aggregates";
  /** Allotted to the run; of `aggregates` that of the committed rows. */
  readonly generation: number;
  /** Source files. */
  readonly files: number;
}

/** What a commit has settled. */
export interface Committed {
  /** Count of the commits of the view, this one among them. */
  readonly revision: number;
}

/** A run that has nothing to do: its interval is committed. */
export interface CoveredRun {
  readonly due: "nothing";
  /** Of the committed interval, as are its rows. */
  readonly generation: number;
  readonly rows: number;
  /** Count of the commits of the view, that of the interval among them. */
  readonly revision: number;
}

/** What a run did, for the run log. */
export interface RunCounts {
  readonly rows: number;
  readonly warnings: readonly string[];
}

/** Consecutive source files of a run, [from, to), that one activity reads. */
export interface Slice {
  readonly from: number;
  readonly to: number;
}

/**
 * Each slice is an activity, so this bounds the history of a run, however many files it has. It is
 * well above what works at once.
 */
const slicesLimit = 32;

/** The slices of a run over so many files: one file each, as long as there are not too many. */
export function slicesOf(files: number): Slice[] {
  const count = Math.min(files, slicesLimit);
  const bound = (i: number) => Math.floor((i * files) / count);
  return Array.from({ length: count }, (_, i) => ({ from: bound(i), to: bound(i + 1) }));
}

/** What pass 1 found in a slice, or in the whole run. */
export interface RowsRead {
  readonly rows: number;
  readonly warnings: readonly string[];
}
