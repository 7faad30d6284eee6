/** The form of an answer, the same over HTTP and as a Temporal payload. */
import type { Json } from "../engine/wire.ts";

/**
 * What is known of a value, as Feast names it: `PRESENT`; `NULL_VALUE`, a value that is null;
 * `OUTSIDE_MAX_AGE`, not served since its row is older than the view's TTL; `NOT_FOUND`, no row.
 * In the order from best to worst.
 */
export const statuses = ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"] as const;
export type Status = (typeof statuses)[number];

/** The answer for one row; all records have the features as members, in the order asked. */
export interface FeatureRow {
  /** The key columns that the request gave for the row. */
  readonly entity?: Readonly<Record<string, string>>;
  /** Values by engine/wire.ts; null, or the feature's default, where the status has no value. */
  readonly features: Readonly<Record<string, Json>>;
  readonly statuses: Readonly<Record<string, Status>>;
  /** Event time, ISO 8601, of the stored row that a value rests on; null where it rests on none. */
  readonly event_times: Readonly<Record<string, string | null>>;
  /** Expectations that values do not satisfy; absent where all hold. */
  readonly violations?: Readonly<Record<string, readonly string[]>>;
}

export interface FeatureAnswer {
  readonly service?: string;
  /** Hash of all that the outputs mean; it changes exactly when a definition does. */
  readonly fingerprint: string;
  /** The one snapshot per view that every aggregate of the answer comes from. */
  readonly snapshot: Readonly<Record<string, string>>;
  /** In the order of the request's rows. */
  readonly results: readonly FeatureRow[];
}
