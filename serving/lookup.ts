/**
 * The lookup: answers a feature request from the request itself, the stored rows and the aggregate
 * snapshots. HTTP, the online activity and the tests all call this one function.
 *
 * An answer costs one round trip at most, whatever its entities and views; what is current in the
 * store is read in the background. Nothing here loads polars.
 */
import { type Catalogue, viewNamed } from "../engine/catalogue.ts";
import type { OnlineForm } from "../engine/compile/online.ts";
import type { Value } from "../engine/language/dtypes.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import type { Plan } from "../engine/planner.ts";
import { createLedger } from "../store/ledger.ts";
import { createOnlineStore } from "../store/online-store.ts";
import type { RedisConnection } from "../store/redis/connection.ts";
import type { AnswerHead, AnswerTable, ColumnAnswer, FeatureAnswer } from "./answer.ts";
import { type AnswerForm, answerInColumns, answerInRows, answerJson } from "./answer-form.ts";
import { cancelled, type IsUnwanted } from "./cancellation.ts";
import { computeRows } from "./compute.ts";
import type { BindingExplanation, Explanation } from "./explain.ts";
import { explainPlan } from "./explain.ts";
import { createGather } from "./gather.ts";
import { createLastRows } from "./last-rows.ts";
import type { LookupObserver } from "./observer.ts";
import { observeReads } from "./observer.ts";
import { createPlans, type Planned } from "./planned.ts";
import { createPointerCache, lostView, type PointerSet } from "./pointers.ts";
import { createFilling, type ReadyRule } from "./readiness.ts";
import type { ColumnRequest, MaxAge, ParsedRequest } from "./request.ts";
import { atPath, parseRequest, pathTo } from "./request.ts";
import { groupRows } from "./rows.ts";
import type { SnapshotSet } from "./snapshots.ts";
import { createSnapshots } from "./snapshots.ts";

/** Counts since the lookup was made. */
export interface LookupCounters {
  refreshes: number;
  failedRefreshes: number;
  lastRefreshError: string | null;
  /** When the newest refresh that succeeded ended, in milliseconds since the epoch. */
  refreshedMs: number | null;
  /** Requests that were tried again with new pointers after STORE_LOST or NO_SNAPSHOT. */
  storeRetries: number;
  /** Values that did not satisfy an expectation, by feature. */
  readonly violations: Map<string, number>;
  /** Values whose function threw, by feature. */
  readonly errors: Map<string, number>;
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
   * Answers a request of the form `FeatureRequest` or `ColumnRequest`.
   *
   * @throws REQUEST_INVALID, REQUEST_TOO_LARGE, VALUE_INVALID, UNKNOWN_SERVICE, UNKNOWN_FEATURE,
   *   UNKNOWN_INPUT, MISSING_INPUT, UNKNOWN_VIEW, UNKNOWN_SNAPSHOT, NO_SNAPSHOT,
   *   FINGERPRINT_MISMATCH, VALUE_OUTDATED, STORE_UNAVAILABLE, STORE_LOST
   */
  readonly answer: {
    (request: ColumnRequest): Promise<ColumnAnswer>;
    (request: unknown): Promise<FeatureAnswer>;
  };
  /** The same answer as JSON. Throws likewise, and REQUEST_CANCELLED where it is unwanted. */
  readonly answerJson: (request: unknown, isUnwanted?: IsUnwanted) => Promise<Buffer>;
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
    refreshes: 0,
    failedRefreshes: 0,
    lastRefreshError: null,
    refreshedMs: null,
    storeRetries: 0,
    violations: new Map(),
    errors: new Map(),
  };
  const store = observeReads(createOnlineStore(redis, { prefix }), observe);
  const ledger = createLedger(redis, { prefix });
  const plans = createPlans(catalogue, form);
  const pointers = createPointerCache({ catalogue, redis, ledger, refreshMs, counters });
  const filling = createFilling(redis, { prefix, rule: readyRule });
  const gather = createGather({
    store,
    findSnapshots: createSnapshots(catalogue, ledger),
    pointers,
    lastRows: createLastRows(),
    retried: () => counters.storeRetries++,
  });
  const countIn = (counts: Map<string, number>) => (feature: string) =>
    void counts.set(feature, (counts.get(feature) ?? 0) + 1);
  const [violated, countError] = [countIn(counters.violations), countIn(counters.errors)];
  function failed(feature: string, error: unknown): void {
    countError(feature);
    observe.failed?.({ feature, error });
  }

  async function compute(request: ParsedRequest, isUnwanted?: IsUnwanted): Promise<AnswerTable> {
    const planned = plans(request.asked);
    const { fingerprint } = planned.plan;
    requireSame(request.fingerprint, fingerprint);
    requireViews(catalogue, request.maxAge);
    const groups = groupRows(planned, request);
    const { length: rows } = request.rows;
    const reading = gather({ planned, pins: request.pins, groups });
    const gathered = reading instanceof Promise ? await reading : reading;
    if (isUnwanted?.()) throw cancelled();
    const { names, dtypes } = planned;
    const table: AnswerTable = {
      head: headOf(planned, gathered.snapshots),
      names,
      dtypes,
      entities: new Array<undefined>(rows).fill(undefined),
      values: new Array<Value>(rows * names.length).fill(null),
      statuses: new Uint8Array(rows * names.length),
      eventTimesUs: new Array<null>(rows * names.length).fill(null),
      violations: new Map(),
      errors: new Map(),
      nowMs: clock(),
    };
    for (const group of groups)
      computeRows({ group, gathered, maxAge: request.maxAge, violated, failed }, table);
    observe.answered?.({ planned, table });
    return table;
  }

  async function answered<T>(
    json: unknown,
    finish: (table: AnswerTable, form: AnswerForm) => T,
    isUnwanted?: IsUnwanted,
  ): Promise<T> {
    const request = parseRequest(json);
    return finish(await compute(request, isUnwanted), request.form);
  }

  async function explain(json: unknown): Promise<Explanation> {
    const request = parseRequest(json);
    const planned = plans(request.asked);
    const groups = groupRows(planned, request);
    const { snapshots: used, bytes } = await gather({ planned, pins: request.pins, groups });
    return {
      ...headOf(planned, used),
      rows: request.rows.length,
      bytes,
      bindings: groups.map(({ shape, rows }): BindingExplanation => ({
        rows: rows.length,
        ...explainPlan(planned.plan, shape.bound),
      })),
    };
  }

  async function readNow(): Promise<Readiness> {
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

  let readiness: Promise<Readiness> | undefined;
  /** Anybody may ask, so that many ask at once costs no more than one. */
  function ready(): Promise<Readiness> {
    readiness ??= readNow().finally(() => (readiness = undefined));
    return readiness;
  }

  return {
    answer: ((request: unknown) =>
      answered(request, (table, form) =>
        form === "rows" ? answerInRows(table) : answerInColumns(table),
      )) as Lookup["answer"],
    answerJson: (request, isUnwanted) => answered(request, answerJson, isUnwanted),
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

/** @throws FINGERPRINT_MISMATCH */
function requireSame(wanted: string | undefined, fingerprint: string): void {
  if (wanted === undefined || wanted === fingerprint) return;
  throw new OnceflowError(
    "FINGERPRINT_MISMATCH",
    `the fingerprint is ${fingerprint} in this build, and the request asks for ${wanted}: a definition has changed. Ask a process of the other build, or send the new fingerprint.`,
    { fingerprint, wanted },
  );
}

/** @throws UNKNOWN_VIEW */
function requireViews(catalogue: Catalogue, { byView }: MaxAge): void {
  for (const name of byView.keys())
    try {
      viewNamed(catalogue, name);
    } catch (error) {
      throw atPath(pathTo("max_age", name), error);
    }
}

/** Made once for a plan and a set of snapshots, since both stay the same for many requests. */
const heads = new WeakMap<SnapshotSet, readonly [of: Plan, head: AnswerHead]>();

function headOf({ service, plan }: Planned, used: SnapshotSet): AnswerHead {
  const [of, known] = heads.get(used) ?? [];
  if (of === plan && known !== undefined) return known;
  const head = {
    ...(service === undefined ? {} : { service }),
    fingerprint: plan.fingerprint,
    snapshot: Object.fromEntries([...used].map(([view, { id }]) => [view.name, id])),
  };
  heads.set(used, [plan, head]);
  return head;
}
