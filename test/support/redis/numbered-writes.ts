/** Writes, commits and reads that follow from a number alone, to be done to several stores. */
import assert from "node:assert/strict";
import { formatInterval, interval } from "../../../engine/calendar/interval.ts";
import { columnsOfRows } from "../../../store/rows/column-data.ts";
import { encodeEntityKey } from "../../../store/rows/entity-key.ts";
import { createLedger } from "../../../store/ledger.ts";
import type { Namespace } from "../../../store/namespace.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import { readRunId } from "../../../store/redis/run-id.ts";
import { createRowCodec } from "../../../store/rows/codec.ts";
import type { Mark } from "../../../store/rows/version.ts";
import { readDecoded } from "./read-rows.ts";

/** A view that the writes are of. */
export const stored = {
  view: "users",
  kind: "entities",
  fingerprint: "ab12",
  columns: [
    { name: "text", dtype: "string" },
    { name: "n", dtype: "int64" },
  ],
} as const;
const codec = createRowCodec(stored.columns);
const decode = codec.decoder(["text", "n"]);
/** How many entities there are, named `user-0` and so on. */
export const entities = 4_000;
/** Rows of a batch that is whole. */
export const rowsPerBatch = 300;
/** Names the set of aggregates. */
export const set = "5e";

/** Rows of a batch: entities, versions and values that follow from its number alone. */
export function rowsOf(batch: number, count = rowsPerBatch) {
  return Array.from({ length: count }, (_, i) => {
    const mixed = Math.imul(batch * rowsPerBatch + i + 1, 2_654_435_761) >>> 0;
    return {
      entity: `user-${mixed % entities}`,
      // Few times, so that generations, ordinals and the bytes themselves often decide.
      eventTimeUs: (mixed >>> 8) % 20,
      ordinal: (mixed >>> 16) % 3,
      text: `${batch}.${i}`,
    };
  });
}

/** The publish that a batch is of; its generation counts before the event times of its rows. */
export function markOf(batch: number): Mark {
  return { generation: 1 + (batch % 3), endMs: 0 };
}

/** Writes a batch; several may have rows of the same entity and version. */
export function writeBatch(
  redis: RedisConnection,
  prefix: string,
  namespace: Namespace,
  batch: number,
  count?: number,
) {
  const rows = rowsOf(batch, count);
  return createOnlineStore(redis, { prefix }).writeRows(namespace, {
    codec,
    count: rows.length,
    keys: [rows.map(({ entity }) => entity)],
    columns: columnsOfRows(
      stored.columns,
      rows.map(({ text }, i) => [text, i]),
    ),
    eventTimesUs: (row) => rows[row]?.eventTimeUs ?? 0,
    mark: markOf(batch),
    ordinals: (row) => rows[row]?.ordinal ?? 0,
  });
}

/** A run over the n-th day that commits coverage and a state, and the publish of a snapshot. */
export async function commitDay(redis: RedisConnection, prefix: string, n: number): Promise<void> {
  const ledger = createLedger(redis, { prefix });
  const startMs = Date.UTC(2026, 0, 1 + n);
  const day = interval(
    new Date(startMs).toISOString(),
    new Date(startMs + 86_400_000).toISOString(),
  );
  const run = { ...stored, interval: day, runId: `run ${n}` };
  const generation = await ledger.beginRun(run, 0);
  const { revision } = await ledger.readLedger(stored.view, stored.fingerprint);
  await ledger.commitRun({
    ...run,
    generation,
    expectedRevision: revision,
    coverage: { rows: n },
    states: { aa: `state of ${n}` },
  });
  const mark = {
    generation: await ledger.beginPublish(stored.view, stored.fingerprint, 1),
    endMs: day.endMs,
  };
  await ledger.commitPublish({
    namespace: await createOnlineStore(redis, { prefix }).openNamespace(stored, { buckets: 1 }),
    redisRunId: await readRunId(redis),
    published: { ...mark, whole: { generation: 1, endMs: 0 }, covered: true, frozen: null },
    snapshot: { id: `${n}`, aggregatesFingerprint: set, asOfMs: day.endMs, body: `{"n":${n}}` },
  });
  const { coverage, published } = await ledger.readLedger(stored.view, stored.fingerprint);
  assert.equal(published?.endMs, day.endMs);
  assert.equal(coverage.get(formatInterval(day))?.rows, n);
}

/** Reads 50 entities from one on. */
export async function readEntities(
  redis: RedisConnection,
  prefix: string,
  namespace: Namespace,
  from = 0,
) {
  const keys = Array.from({ length: 50 }, (_, i) =>
    encodeEntityKey([`user-${(from + i) % entities}`]),
  );
  const { rows } = await readDecoded(createOnlineStore(redis, { prefix }), [
    { namespace, keys, decode },
  ]);
  return rows[0] ?? [];
}
