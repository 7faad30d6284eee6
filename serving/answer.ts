/** The form of an answer, the same over HTTP and as a Temporal payload. */
import type { Dtype, Int64, Value } from "../engine/language/dtypes.ts";
import type { Json } from "../engine/wire.ts";

/**
 * What is known of a value, in the order from best to worst: `PRESENT`; `NULL_VALUE`, a value that
 * is null; `STALE`, the last value, older than it may be or from before the store went down;
 * `OUTSIDE_MAX_AGE`, not served since its row is too old; `NOT_FOUND`, no row; `UNAVAILABLE`, the
 * store did not say; `ERROR`, a function of the user's threw. Feast's names, where it has one.
 */
export const statuses = [
  "PRESENT",
  "NULL_VALUE",
  "STALE",
  "OUTSIDE_MAX_AGE",
  "NOT_FOUND",
  "UNAVAILABLE",
  "ERROR",
] as const;
export type Status = (typeof statuses)[number];

/** The place of a status in `statuses`. */
export const statusCode = Object.freeze(
  Object.fromEntries(statuses.map((status, code) => [status, code])),
) as Readonly<Record<Status, number>>;

/** The answer for one row; all records have the features as members, in the order asked. */
export interface FeatureRow {
  /** The key columns that the request gave for the row. */
  readonly entity?: Readonly<Record<string, string>>;
  /** Values by engine/wire.ts; null, or the feature's default, where the status has no value. */
  readonly features: Readonly<Record<string, Json>>;
  readonly statuses: Readonly<Record<string, Status>>;
  /** Event time, ISO 8601, of the stored row that a value rests on; null where it rests on none. */
  readonly event_times: Readonly<Record<string, string | null>>;
  /** Seconds between that time and the answer, with milliseconds; null likewise, never negative. */
  readonly ages: Readonly<Record<string, number | null>>;
  /** Expectations that values do not satisfy; absent where all hold. */
  readonly violations?: Readonly<Record<string, readonly string[]>>;
  /** Why values have the status ERROR; absent where none has. */
  readonly errors?: Readonly<Record<string, string>>;
}

/** What both forms of an answer say of the whole. */
export interface AnswerHead {
  readonly service?: string;
  /** Hash of all that the outputs mean; it changes exactly when a definition does. */
  readonly fingerprint: string;
  /** The one snapshot per view that every aggregate of the answer comes from. */
  readonly snapshot: Readonly<Record<string, string>>;
  /**
   * For each view that is asked for, the end up to which it is published, ISO 8601: all that its
   * files say of the time before is counted. Null where nothing is published.
   */
  readonly as_of: Readonly<Record<string, string | null>>;
  /** Views of which an interval before that end is missing; absent where none is. */
  readonly uncovered?: readonly string[];
}

/** An answer in rows. */
export interface FeatureAnswer extends AnswerHead {
  /** In the order of the request's rows. */
  readonly results: readonly FeatureRow[];
}

/** An answer in columns: smaller, and ready for a data frame. */
export interface ColumnAnswer extends AnswerHead {
  /** Per row of the request, its key columns, or null where it named no entity. */
  readonly entities: readonly (Readonly<Record<string, string>> | null)[];
  /** The features, in the order asked; the lists below have one list for each. */
  readonly features: readonly string[];
  readonly values: readonly (readonly Json[])[];
  readonly statuses: readonly (readonly Status[])[];
  readonly event_times: readonly (readonly (string | null)[])[];
  readonly ages: readonly (readonly (number | null)[])[];
  /** Expectations that values do not satisfy; absent where all hold. */
  readonly violations?: readonly (CellOf & { readonly expectations: readonly string[] })[];
  /** Why values have the status ERROR; absent where none has. */
  readonly errors?: readonly (CellOf & { readonly message: string })[];
}

/** Which value of a column answer something is said of. */
interface CellOf {
  /** The place of the row. */
  readonly row: number;
  readonly feature: string;
}

/** What was computed, before it takes one of the forms. */
export interface AnswerTable {
  readonly head: AnswerHead;
  readonly names: readonly string[];
  readonly dtypes: readonly Dtype[];
  /** Per row. */
  readonly entities: (Readonly<Record<string, string>> | undefined)[];
  /** Row by row, in each the features in order, as are the next two. */
  readonly values: Value[];
  /** Places in `statuses`. */
  readonly statuses: Uint8Array;
  readonly eventTimesUs: (Int64 | null)[];
  /** By row and feature. */
  readonly violations: Map<number, Record<string, string[]>>;
  readonly errors: Map<number, Record<string, string>>;
  /** When it was computed, to which ages are relative. */
  readonly nowMs: number;
}

/** A table of rows without values, to be filled. */
export function emptyTable(
  head: AnswerHead,
  { names, dtypes }: Pick<AnswerTable, "names" | "dtypes">,
  rows: number,
  nowMs: number,
): AnswerTable {
  const cells = rows * names.length;
  return {
    head,
    names,
    dtypes,
    entities: new Array<undefined>(rows).fill(undefined),
    values: new Array<Value>(cells).fill(null),
    statuses: new Uint8Array(cells),
    eventTimesUs: new Array<null>(cells).fill(null),
    violations: new Map(),
    errors: new Map(),
    nowMs,
  };
}
