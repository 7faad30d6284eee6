/**
 * The lookup: answers a feature request from the request itself, the stored rows and the aggregate
 * snapshots. HTTP, the online activity and the tests all call this one function.
 *
 * An answer costs one round trip at most, whatever its entities and views; what is current in the
 * store is read in the background. Nothing here loads polars.
 */
import type { Catalogue } from "../engine/catalogue.ts";
import type { OnlineForm } from "../engine/compile/online.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { createLedger } from "../store/ledger.ts";
import { createOnlineStore } from "../store/online-store.ts";
import type { RedisConnection } from "../store/redis.ts";
import type { FeatureAnswer, FeatureRow } from "./answer.ts";
import { statuses } from "./answer.ts";
import { createRowComputer } from "./compute.ts";
import type { BindingExplanation, Explanation } from "./explain.ts";
import { explainPlan } from "./explain.ts";
import type { Gathered, GatherRequest } from "./gather.ts";
import { createGather } from "./gather.ts";
import type { LookupObserver } from "./observer.ts";
import { observeReads } from "./observer.ts";
import { createPlans } from "./planned.ts";
import { createPointerCache, lostView, type PointerSet } from "./pointers.ts";
import { createFilling, type ReadyRule } from "./readiness.ts";
import { parseRequest } from "./request.ts";
import { groupRows } from "./rows.ts";
import type { SnapshotSet } from "./snapshots.ts";
import { createSnapshots } from "./snapshots.ts";

/** Counts since the lookup was made. */
export interface LookupCounters {
  requests: number;
  rows: number;
  /** Requests that ended in an error. */
  failures: number;
  refreshes: number;
  failedRefreshes: number;
  lastRefreshError: string | null;
  /** When the newest refresh that succeeded ended, in milliseconds since the epoch. */
  refreshedMs: number | null;
  /** Requests that were tried again with new pointers after STORE_LOST or NO_SNAPSHOT. */
  storeRetries: number;
  /** Values that did not satisfy an expectation, by feature. */
  readonly violations: Map<string, number>;
}

/** What the store holds of one view for this build. */
export interface ViewReadiness {
  readonly view: string;
  readonly fingerprint: string;
  /** Whether rows were ever written under the fingerprint; if not, every entity is NOT_FOUND. */
  readonly materialized: boolean;
  /** Whether it has what other definitions of the view had committed; see `ReadyRule`. */
  readonly filled: boolean;
  /** Id of the latest snapshot; null where the view's aggregates have no value yet. */
  readonly snapshot: string | null;
}

/** Whether requests can be answered. */
export interface Readiness {
  readonly ready: boolean;
  /** Why not. */
  readonly reason?: string;
  readonly views: readonly ViewReadiness[];
}

export interface LookupOptions {
  readonly catalogue: Catalogue;
  /** A connection of role `serving`. */
  readonly redis: RedisConnection;
  /** Key prefix in Redis. */
  readonly prefix?: string | undefined;
  /** Between two reads of the pointers; 1000 by default. */
  readonly refreshMs?: number;
  /** Milliseconds since the epoch, for TTL; the system's clock by default. */
  readonly clock?: () => number;
  readonly form?: OnlineForm;
  /** When the process is ready; `filled` by default. */
  readonly readyRule?: ReadyRule;
  /** Told of reads and answers; nobody by default. */
  readonly observe?: LookupObserver;
}

export interface Lookup {
  /**
   * Answers a request of the form `FeatureRequest`.
   *
   * @throws REQUEST_INVALID, REQUEST_TOO_LARGE, VALUE_INVALID, UNKNOWN_SERVICE, UNKNOWN_FEATURE,
   *   UNKNOWN_INPUT, MISSING_INPUT, UNKNOWN_VIEW, UNKNOWN_SNAPSHOT, NO_SNAPSHOT,
   *   STORE_UNAVAILABLE, STORE_LOST
   */
  readonly answer: (request: unknown) => Promise<FeatureAnswer>;
  /** Says where each output of a request comes from, and what reading it cost. Throws likewise. */
  readonly explain: (request: unknown) => Promise<Explanation>;
  /** Whether Redis answers now and what is current was read. Never rejects. */
  readonly ready: () => Promise<Readiness>;
  /** Reads what is current in the store now, rather than at the next turn. */
  readonly refresh: () => Promise<void>;
  /** What is current in the store, as it was read last; undefined before. */
  readonly newest: () => PointerSet | undefined;
  readonly counters: LookupCounters;
  /** Stops the background reads; the connection stays open. */
  readonly close: () => void;
}

/** Makes a lookup, and starts to read what is current in the background. */
export function createLookup({
  catalogue,
  redis,
  prefix,
  refreshMs = 1000,
  clock = Date.now,
  form = "auto",
  readyRule = "filled",
  observe = {},
}: LookupOptions): Lookup {
  const counters: LookupCounters = {
    requests: 0,
    rows: 0,
    failures: 0,
    refreshes: 0,
    failedRefreshes: 0,
    lastRefreshError: null,
    refreshedMs: null,
    storeRetries: 0,
    violations: new Map(),
  };
  const store = observeReads(createOnlineStore(redis, { prefix }), observe);
  const ledger = createLedger(redis, { prefix });
  const plans = createPlans(catalogue, form);
  const gather = createGather(store, createSnapshots(catalogue, ledger));
  const pointers = createPointerCache({ catalogue, redis, ledger, refreshMs, counters });
  const filling = createFilling(redis, { prefix, rule: readyRule });
  const violated = (feature: string) =>
    counters.violations.set(feature, (counters.violations.get(feature) ?? 0) + 1);

  /** Gathers; where rows or a snapshot are not there, once more by what is current now. */
  async function gatherSafely(asked: GatherRequest): Promise<Gathered> {
    try {
      return await gather(asked, await pointers.current());
    } catch (error) {
      const code = error instanceof OnceflowError ? error.code : undefined;
      // Since the pointers were read, the namespace may have begun anew, or the first snapshot
      // have been committed.
      if (code !== "STORE_LOST" && code !== "NO_SNAPSHOT") throw error;
      counters.storeRetries++;
      return gather(asked, await pointers.refresh());
    }
  }

  async function answer(json: unknown): Promise<FeatureAnswer> {
    const request = parseRequest(json);
    const planned = plans(request.asked);
    const groups = groupRows(planned, request);
    counters.rows += request.rows.length;
    const gathered = await gatherSafely({ planned, pins: request.pins, groups });
    const results = new Array<FeatureRow>(request.rows.length);
    const names = planned.plan.outputs.map(({ name }) => name);
    const nowMs = clock();
    const statusCounts = new Array<number>(names.length * statuses.length).fill(0);
    for (const group of groups) {
      const compute = createRowComputer({ group, names, gathered, nowMs, violated, statusCounts });
      group.rows.forEach((row, i) => {
        results[row.place] = compute(row, i);
      });
    }
    observe.answered?.({ planned, rows: results.length, statusCounts });
    return {
      ...(planned.service === undefined ? {} : { service: planned.service }),
      fingerprint: planned.plan.fingerprint,
      snapshot: idsOf(gathered.snapshots),
      results,
    };
  }

  async function explain(json: unknown): Promise<Explanation> {
    const request = parseRequest(json);
    const planned = plans(request.asked);
    const groups = groupRows(planned, request);
    const { snapshots: used, bytes } = await gatherSafely({ planned, pins: request.pins, groups });
    return {
      ...(planned.service === undefined ? {} : { service: planned.service }),
      fingerprint: planned.plan.fingerprint,
      snapshot: idsOf(used),
      rows: request.rows.length,
      bytes,
      bindings: groups.map(({ binding, rows }): BindingExplanation => ({
        rows: rows.length,
        ...explainPlan(planned.plan, binding.bound),
      })),
    };
  }

  async function ready(): Promise<Readiness> {
    const describe = () =>
      [...(pointers.newest()?.views ?? [])].map(([view, { namespace, latest }]) => ({
        view: view.name,
        fingerprint: view.fingerprint,
        materialized: namespace !== null,
        filled: filling.isFilled(view),
        snapshot: latest?.id ?? null,
      }));
    try {
      const set = await pointers.current();
      await Promise.all((await redis.masters()).map(({ send }) => send(["ping"])));
      const lost = [...set.views].flatMap(([view, { lost }]) =>
        lost ? lostView(view).message : [],
      );
      const waits = [...lost, ...(await filling.reasons(set))];
      const reason = counters.lastRefreshError ?? waits.join(" ");
      if (reason !== "") return { ready: false, reason, views: describe() };
      return { ready: true, views: describe() };
    } catch (error) {
      return { ready: false, reason: messageOf(error), views: describe() };
    }
  }

  return {
    async answer(request) {
      counters.requests++;
      try {
        return await answer(request);
      } catch (error) {
        counters.failures++;
        throw error;
      }
    },
    explain,
    ready,
    async refresh() {
      await pointers.refresh();
    },
    newest: pointers.newest,
    counters,
    close: pointers.close,
  };
}

function idsOf(used: SnapshotSet): Readonly<Record<string, string>> {
  return Object.fromEntries([...used].map(([view, { id }]) => [view.name, id]));
}
