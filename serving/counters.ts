/** What a lookup counts, for metrics. */
import type { RefreshCounters } from "./pointers.ts";

/** Counts since the lookup was made. */
export interface LookupCounters extends RefreshCounters {
  /** Requests that were tried again with new pointers after STORE_LOST or NO_SNAPSHOT. */
  storeRetries: number;
  /** Values that did not satisfy an expectation, by feature. */
  readonly violations: Map<string, number>;
  /** Values whose function threw, by feature. */
  readonly errors: Map<string, number>;
}

/** Makes counters of nothing yet. */
export function createCounters(): LookupCounters {
  return {
    refreshes: 0,
    failedRefreshes: 0,
    lastRefreshError: null,
    refreshedMs: null,
    storeRetries: 0,
    violations: new Map(),
    errors: new Map(),
  };
}

/** Makes the function that counts one more for a feature. */
export function countIn(counts: Map<string, number>): (feature: string) => void {
  return (feature) => void counts.set(feature, (counts.get(feature) ?? 0) + 1);
}
