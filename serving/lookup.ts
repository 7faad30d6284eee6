/**
 * The lookup: answers a feature request from the request itself, the stored rows and the aggregate
 * snapshots. HTTP, the online activity and the tests all call this one function.
 *
 * An answer costs one round trip at most, whatever its entities and views; what is current in the
 * store is read in the background. Nothing here loads polars.
 */
import { type Catalogue, type View, viewNamed } from "../engine/catalogue.ts";
import type { OnlineForm } from "../engine/compile/online.ts";
import { OnceflowError } from "../engine/errors.ts";
import type { Plan } from "../engine/planner.ts";
import { createLedger } from "../store/ledger.ts";
import { createOnlineStore } from "../store/online-store.ts";
import {
  type AnswerHead,
  type AnswerTable,
  type ColumnAnswer,
  emptyTable,
  type FeatureAnswer,
} from "./answer.ts";
import { type AnswerForm, answerInColumns, answerInRows, answerJson } from "./answer-form.ts";
import { cancelled, type IsUnwanted } from "./cancellation.ts";
import { computeRows } from "./compute.ts";
import { countIn, createCounters, type LookupCounters } from "./counters.ts";
import type { BindingExplanation, Explanation } from "./explain.ts";
import { explainPlan } from "./explain.ts";
import { createGather, type Gathered } from "./gather.ts";
import { createLastRows } from "./last-rows.ts";
import type { LookupObserver } from "./observer.ts";
import { observeReads } from "./observer.ts";
import { createPlans, type Planned } from "./planned.ts";
import { createPointerCache, type PointerSet } from "./pointers.ts";
import { createReadiness, type Readiness, type ReadyRule } from "./readiness.ts";
import type { ColumnRequest, MaxAge, ParsedRequest } from "./request.ts";
import { atPath, parseRequest, pathTo } from "./request.ts";
import { groupRows } from "./rows.ts";
import type { SnapshotSet } from "./snapshots.ts";
import { createSnapshots } from "./snapshots.ts";
import type { RedisConnection } from "../store/redis/types.ts";

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
  const counters = createCounters();
  const store = observeReads(createOnlineStore(redis, { prefix }), observe);
  const ledger = createLedger(redis, { prefix });
  const plans = createPlans(catalogue, form);
  const pointers = createPointerCache({ catalogue, redis, ledger, refreshMs, counters });
  const gather = createGather({
    store,
    findSnapshots: createSnapshots(catalogue, ledger),
    pointers,
    lastRows: createLastRows(),
    retried: () => counters.storeRetries++,
    failed: (error) => observe.readFailed?.(error),
  });
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
    const reading = gather({ planned, pins: request.pins, groups });
    const gathered = reading instanceof Promise ? await reading : reading;
    if (isUnwanted?.()) throw cancelled();
    const head = headOf(planned, gathered);
    const table = emptyTable(head, planned, request.rows.length, clock());
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
    const gathered = await gather({ planned, pins: request.pins, groups });
    return {
      ...headOf(planned, gathered),
      rows: request.rows.length,
      bytes: gathered.bytes,
      bindings: groups.map(({ shape, rows }): BindingExplanation => ({
        rows: rows.length,
        ...explainPlan(shape.parts),
      })),
    };
  }

  return {
    answer: ((request: unknown) =>
      answered(request, (table, form) =>
        form === "rows" ? answerInRows(table) : answerInColumns(table),
      )) as Lookup["answer"],
    answerJson: (request, isUnwanted) => answered(request, answerJson, isUnwanted),
    explain,
    ready: createReadiness({ redis, prefix, rule: readyRule, pointers, counters }),
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
const heads = new WeakMap<
  SnapshotSet,
  { readonly plan: Plan; readonly current: PointerSet; readonly head: AnswerHead }
>();

function headOf(planned: Planned, { snapshots, current }: Gathered): AnswerHead {
  const { service, plan, views } = planned;
  const known = heads.get(snapshots);
  if (known?.plan === plan && known.current === current) return known.head;
  const publishedOf = (view: View) => current.views.get(view)?.published ?? null;
  const uncovered = views.filter((view) => publishedOf(view)?.covered === false);
  const head = {
    ...(service === undefined ? {} : { service }),
    fingerprint: plan.fingerprint,
    snapshot: Object.fromEntries([...snapshots].map(([view, { id }]) => [view.name, id])),
    as_of: Object.fromEntries(
      views.map((view) => {
        const published = publishedOf(view);
        return [view.name, published && new Date(published.endMs).toISOString()];
      }),
    ),
    ...(uncovered.length === 0 ? {} : { uncovered: uncovered.map(({ name }) => name) }),
  };
  heads.set(snapshots, { plan, current, head });
  return head;
}
