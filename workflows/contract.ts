/**
 * The wire contract of the workflows: names, inputs and outputs as JSON. Times are ISO 8601 in
 * UTC, intervals half-open. Reviewed snapshot: test/workflows/contract.snapshot.json.
 */

/** Task queues of a deployment; their base name also begins every workflow id. */
export function queuesOf(base: string) {
  return {
    /** Workflows and offline activities. */
    offline: base,
    /** The online activity, whose workers never load polars. */
    online: `${base}-online`,
  };
}

/** Search attributes that runs carry, all Keywords. */
export const searchAttributes = {
  view: "OnceflowView",
  interval: "OnceflowInterval",
  kind: "OnceflowKind",
} as const;

/** Input of `materialize`. */
export interface MaterializeInput {
  readonly view: string;
  /** First instant of the interval. */
  readonly start: string;
  /** First instant after it; for a full refresh also the event time of its rows. */
  readonly end: string;
  /** The storage fingerprint to fill. */
  readonly fingerprint: string;
  /** The run fingerprint of the view; the worker must have been built with it. */
  readonly definition: string;
  /** Computes again what is covered already, under a new generation. Default false. */
  readonly reprocess?: boolean;
}

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
  /** Rows now stored online; the others gave way to newer rows of their entities. */
  readonly written: number;
  readonly superseded: number;
  /** Id of the latest aggregate snapshot after the commit; null for a view without aggregates. */
  readonly snapshot: string | null;
  /** Failed expectations with onFail: "warn". */
  readonly warnings: readonly string[];
}

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

/** Whether and what a run has to do, and in how many parts. */
export interface RunPlan {
  /** `rows`: everything; `aggregates`: the rows are covered, a new aggregate is not. */
  readonly due: "rows" | "aggregates" | "nothing";
  readonly generation: number;
  readonly parts: number;
  /** Of the committed interval, where nothing is due. */
  readonly rows: number;
  readonly snapshot: string | null;
}

/** What a run did, for the run log. */
export interface RunCounts {
  readonly rows: number;
  readonly parts: number;
  readonly written: number;
  readonly superseded: number;
  readonly warnings: readonly string[];
}

/** Counts of one part in pass 1. */
export interface PartRead {
  readonly rows: number;
  readonly warnings: readonly string[];
}

/** Counts of one part in pass 2. */
export interface PartWritten {
  readonly read: number;
  readonly written: number;
  readonly superseded: number;
}
