/** Fills a store with rows and snapshots, without polars and Temporal. */
import type { View } from "../../../engine/catalogue.ts";
import type { Int64, Value } from "../../../engine/language/dtypes.ts";
import { interval } from "../../../engine/calendar/interval.ts";
import { encodeSnapshot } from "../../../engine/snapshot.ts";
import { hash } from "../../../engine/fingerprint.ts";
import { columnsOfRows } from "../../../store/rows/column-data.ts";
import { pointerRequest, storedTable } from "../../../filling/view-states.ts";
import { createLedger } from "../../../store/ledger.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
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
}

/**
 * Does what a materialization of one interval and the publish after it do, with values of the test's
 * own; returns the id of the snapshot.
 */
export async function fillView(
  redis: RedisConnection,
  view: View,
  options: FillOptions,
): Promise<string> {
  await commitInterval(redis, view, options);
  return publishInterval(redis, view, options);
}

async function commitInterval(
  redis: RedisConnection,
  view: View,
  { prefix, start, end, rows, hasStates = false }: FillOptions,
): Promise<void> {
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
}

async function publishInterval(
  redis: RedisConnection,
  view: View,
  { prefix, start, end, rows, aggregates }: FillOptions,
): Promise<string> {
  const store = createOnlineStore(redis, { prefix });
  const ledger = createLedger(redis, { prefix });
  const { endMs } = interval(start, end);
  const [before] = await ledger.readPointers([pointerRequest(view)]);
  const last = before?.published ?? null;
  const mark = {
    generation: await ledger.beginPublish(view.name, view.fingerprint, 1),
    endMs: Math.max(endMs, last?.endMs ?? endMs),
  };
  const redisRunId = await readRunId(redis);
  const namespace = await store.openNamespace(storedTable(view), { buckets: 4 });
  await store.writeRows(namespace, {
    codec: createRowCodec(view.stores),
    count: rows.length,
    keys: view.entity.keys.map((_, i) => rows.map(({ key }) => key[i] ?? "")),
    columns: columnsOfRows(
      view.stores,
      rows.map(({ values }) => view.stores.map(({ name }) => values[name] ?? null)),
    ),
    eventTimesUs: (row) => rows[row]?.eventTimeUs ?? endMs * 1000,
    mark,
    ordinals: 0,
  });
  await store.sealNamespace(namespace, mark);
  const snapshot = aggregates && {
    id: hash([start, end, [...aggregates].map(([key, value]) => [key, String(value)])]),
    asOfMs: endMs,
    values: aggregates,
  };
  await ledger.commitPublish({
    namespace,
    redisRunId,
    published: {
      ...mark,
      whole: view.rows.isFullRefresh || last === null ? mark : last.whole,
      covered: true,
      frozen: null,
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
