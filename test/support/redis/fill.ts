/** Fills a store with rows and snapshots, without polars and Temporal. */
import type { View } from "../../../engine/catalogue.ts";
import type { Int64, Value } from "../../../engine/language/dtypes.ts";
import { type Interval, interval, parseInterval } from "../../../engine/calendar/interval.ts";
import { publishableOf } from "../../../engine/calendar/publishable.ts";
import { encodeSnapshot } from "../../../engine/snapshot.ts";
import { hash } from "../../../engine/fingerprint.ts";
import { columnsOfRows } from "../../../store/rows/column-data.ts";
import { storedTable } from "../../../filling/view-states.ts";
import { createLedger } from "../../../store/ledger.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { Published } from "../../../store/published.ts";
import { readRunId } from "../../../store/redis/run-id.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import { createRowCodec } from "../../../store/rows/codec.ts";

/** A row to store: its entity key, and stored columns by name; absent ones are null. */
export interface FillRow {
  readonly key: readonly string[];
  readonly values: Readonly<Record<string, Value>>;
  /** The interval's end, unless told otherwise. */
  readonly eventTimeUs?: Int64;
}

/** What is committed and published: an interval, its rows and aggregates. */
export interface FillOptions {
  readonly prefix: string;
  readonly start: string;
  readonly end: string;
  readonly rows: readonly FillRow[];
  /** Values by aggregate fingerprint; none publishes no snapshot. */
  readonly aggregates?: ReadonlyMap<string, Value>;
  /** Commits a state of each aggregate too, of no meaning. */
  readonly hasStates?: boolean;
  /**
   * False leaves the publish without its end, as one that is under way; "unbroken" ends it where the
   * product would, before what is missing. Else it ends with the interval.
   */
  readonly publish?: boolean | "unbroken";
  /** Whether an interval is missing before the end, and why the view is frozen, for answers to say. */
  readonly published?: Partial<Pick<Published, "covered" | "frozen">>;
}

/**
 * Commits one interval and publishes it, with values of the test's own; returns the id of the
 * snapshot. A publish of a full refresh is whole.
 */
export async function fillView(
  redis: RedisConnection,
  view: View,
  options: FillOptions,
): Promise<string> {
  const { prefix, start, end, rows, aggregates, publish = true } = options;
  const store = createOnlineStore(redis, { prefix });
  const ledger = createLedger(redis, { prefix });
  const committed = await commitInterval(redis, view, options);
  const endMs = publish === "unbroken" ? await unbrokenEnd(redis, view, prefix) : committed.endMs;
  if (endMs === null) return "";
  const generation = await ledger.beginPublish(view.name, view.fingerprint, 1);
  const mark = { generation, endMs };
  const namespace = await store.openNamespace(storedTable(view), { buckets: 4 });
  const redisRunId = await readRunId(redis);
  await store.writeRows(namespace, {
    codec: createRowCodec(view.stores),
    count: rows.length,
    keys: view.entity.keys.map((_, i) => rows.map(({ key }) => key[i] ?? "")),
    columns: columnsOfRows(
      view.stores,
      rows.map(({ values }) => view.stores.map(({ name }) => values[name] ?? null)),
    ),
    eventTimesUs: (row) => rows[row]?.eventTimeUs ?? committed.endMs * 1000,
    mark,
    ordinals: 0,
  });
  await store.sealNamespace(namespace, mark);
  if (!publish) return "";
  const snapshot = aggregates && {
    id: hash([start, end, [...aggregates].map(([key, value]) => [key, String(value)])]),
    asOfMs: endMs,
    values: aggregates,
  };
  const { published: last } = await ledger.readLedger(view.name, view.fingerprint);
  await ledger.commitPublish({
    namespace,
    redisRunId,
    published: {
      ...mark,
      whole: view.rows.isFullRefresh ? mark : (last?.whole ?? mark),
      covered: true,
      frozen: null,
      ...options.published,
    },
    snapshot: snapshot && {
      id: snapshot.id,
      asOfMs: snapshot.asOfMs,
      aggregatesFingerprint: view.aggregatesFingerprint,
      body: encodeSnapshot(view.aggregates, snapshot),
    },
  });
  return snapshot?.id ?? "";
}

/** Up to when what is committed may be published. */
async function unbrokenEnd(redis: RedisConnection, view: View, prefix: string) {
  const { coverage } = await createLedger(redis, { prefix }).readLedger(
    view.name,
    view.fingerprint,
  );
  return publishableOf(view, [...coverage.keys()].map(parseInterval)).endMs;
}

/** Commits one interval, and publishes nothing. */
export async function commitInterval(
  redis: RedisConnection,
  view: View,
  { prefix, start, end, rows, hasStates = false }: FillOptions,
): Promise<Interval> {
  const ledger = createLedger(redis, { prefix });
  const run = {
    view: view.name,
    fingerprint: view.fingerprint,
    interval: interval(start, end),
    runId: `${start}/${end}/${Math.random()}`,
  };
  const generation = await ledger.beginRun(run, 0);
  const { revision } = await ledger.readLedger(view.name, view.fingerprint);
  await ledger.commitRun({
    ...run,
    generation,
    expectedRevision: revision,
    coverage: { rows: rows.length },
    states: hasStates
      ? Object.fromEntries(view.aggregates.map((aggregate) => [aggregate.fingerprint, "state"]))
      : {},
  });
  return run.interval;
}
