/** Fills a store with rows and snapshots, without polars and Temporal. */
import type { View } from "../../../engine/catalogue.ts";
import type { Int64, Value } from "../../../engine/language/dtypes.ts";
import { interval } from "../../../engine/calendar/interval.ts";
import { encodeSnapshot } from "../../../engine/snapshot.ts";
import { hash } from "../../../engine/fingerprint.ts";
import { columnsOfRows } from "../../../store/rows/column-data.ts";
import { storedTable } from "../../../filling/view-states.ts";
import { createLedger } from "../../../store/ledger.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import { createRowCodec } from "../../../store/rows/codec.ts";

/** A row to store: its entity key, and stored columns by name; absent ones are null. */
export interface FillRow {
  readonly key: readonly string[];
  readonly values: Readonly<Record<string, Value>>;
  /** The interval's end, unless told otherwise. */
  readonly eventTimeUs?: Int64;
}

/** What one run writes: its interval, rows and aggregates. */
export interface FillOptions {
  readonly prefix: string;
  readonly start: string;
  readonly end: string;
  readonly rows: readonly FillRow[];
  /** Values by aggregate fingerprint; none commits no snapshot. */
  readonly aggregates?: ReadonlyMap<string, Value>;
  /** Commits a state of each aggregate too, of no meaning. */
  readonly hasStates?: boolean;
  /** Leaves the run uncommitted, as a run that is under way. */
  readonly commit?: boolean;
}

/**
 * Does what a materialization of one interval does, with values of the test's own; returns the id
 * of the snapshot.
 */
export async function fillView(
  redis: RedisConnection,
  view: View,
  { prefix, start, end, rows, aggregates, hasStates = false, commit = true }: FillOptions,
): Promise<string> {
  const store = createOnlineStore(redis, { prefix });
  const ledger = createLedger(redis, { prefix });
  const run = {
    view: view.name,
    fingerprint: view.fingerprint,
    interval: interval(start, end),
    runId: `${start}/${end}/${Math.random()}`,
  };
  const { endMs } = run.interval;
  const namespace = await store.openNamespace(storedTable(view), { buckets: 4 });
  const generation = await ledger.beginRun(run);
  const mark = { endMs, generation };
  await store.writeRows(namespace, {
    codec: createRowCodec(view.stores),
    count: rows.length,
    keys: view.entity.keys.map((_, i) => rows.map(({ key }) => key[i] ?? "")),
    columns: columnsOfRows(
      view.stores,
      rows.map(({ values }) => view.stores.map(({ name }) => values[name] ?? null)),
    ),
    eventTimesUs: (row) => rows[row]?.eventTimeUs ?? endMs * 1000,
    generation,
    ordinals: 0,
  });
  await store.sealNamespace(namespace, mark);
  const snapshot = aggregates && {
    id: hash([start, end, [...aggregates].map(([key, value]) => [key, String(value)])]),
    asOfMs: endMs,
    values: aggregates,
  };
  if (!commit) return "";
  const { revision } = await ledger.readLedger(view.name, view.fingerprint);
  await ledger.commitRun({
    ...run,
    generation,
    expectedRevision: revision,
    coverage: { rows: rows.length },
    states: hasStates
      ? Object.fromEntries(view.aggregates.map((aggregate) => [aggregate.fingerprint, "state"]))
      : {},
    snapshot: snapshot && {
      id: snapshot.id,
      asOfMs: snapshot.asOfMs,
      aggregatesFingerprint: view.aggregatesFingerprint,
      body: encodeSnapshot(view.aggregates, snapshot),
    },
  });
  return snapshot?.id ?? "";
}
