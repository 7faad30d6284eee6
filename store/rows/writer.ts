/**
 * Writes rows: encodes them in blocks into a slab, keeps the newest of each entity there, and sends
 * one slab, by shard and bucket, while the next is filled. Script calls of many rows are cheap for
 * Redis and for us, and only a large slab has many rows for each bucket.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Int64 } from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import type { ColumnData, Utf8 } from "./column-data.ts";
import { utf8OfTexts } from "./column-data.ts";
import { requireKeySize } from "./entity-key.ts";
import type { StoreKeys } from "../keys.ts";
import type { Namespace } from "../namespace.ts";
import { bucketKey, epochBytes, storeLost } from "../namespace.ts";
import type { RedisCommand, RedisConnection } from "../redis/types.ts";
import type { RowCodec } from "./codec.ts";
import { type BlockEncoder, utf8PartBytes, writeUtf8Part } from "./encoder.ts";
import { addEntries, clearSlab, createSlab, isFull, type Slab } from "./slab.ts";
import { callsOf, type RowCall } from "./slab-calls.ts";
import type { Mark, Version } from "./version.ts";
import { encodeMark, requireOrdinal, versionBytes, wordsOf, writeRest } from "./version.ts";

/** Rows to write, by column. */
export interface RowBatch {
  readonly codec: RowCodec;
  /** Rows in the batch. */
  readonly count: number;
  /** Per entity key column, the key of each row. */
  readonly keys: readonly (Utf8 | readonly string[])[];
  /** The codec's columns, in storage order. */
  readonly columns: readonly ColumnData[];
  /** Event time in µs: one for all rows, 32-bit words (low, high) per row, or a function. */
  readonly eventTimesUs: Int64 | Int32Array | ((row: number) => Int64);
  /** The publish that writes them. */
  readonly mark: Mark;
  /** The ordinal of row 0, from which rows count up, or one per row. */
  readonly ordinals: number | Float64Array | ((row: number) => number);
}

/** What became of rows; read = written + superseded. */
export interface WriteCounts {
  readonly read: number;
  /** Rows that are now stored. */
  readonly written: number;
  /** Rows that an equal or newer one in the store, or among those written, stands for. */
  readonly superseded: number;
}

/** Rows and bytes that are encoded before other work may run. */
const rowsPerBlock = 4096;
const bytesPerBlock = 4 * 1024 * 1024;
const bytesPerPipeline = 256 * 1024;
const pipelinesInFlight = 16;

export function writeRows(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  batches: RowBatch | AsyncIterable<RowBatch>,
): Promise<WriteCounts> {
  return writeEntries(redis, keys, namespace, entriesOfBatches(batches));
}

export function writeTombstones(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  entityKeys: readonly Buffer[],
  { eventTimeUs, ordinal, ...mark }: Version,
): Promise<WriteCounts> {
  return writeEntries(redis, keys, namespace, [
    {
      count: entityKeys.length,
      key: encodedKeys(entityKeys),
      version: versionEncoder({ eventTimesUs: eventTimeUs, mark, ordinals: () => ordinal }),
      row: noRow,
    },
  ]);
}

/** What becomes entries of a slab: a key, a version and a row each. */
interface Entries {
  readonly count: number;
  readonly key: BlockEncoder;
  readonly version: BlockEncoder["write"];
  readonly row: BlockEncoder;
}

/** A tombstone is a version alone. */
const noRow: BlockEncoder = {
  measure: (from, to, sizes) => void sizes.fill(0, 0, to - from),
  write: () => undefined,
};

async function* entriesOfBatches(
  batches: RowBatch | AsyncIterable<RowBatch>,
): AsyncGenerator<Entries> {
  if (Symbol.asyncIterator in batches) for await (const batch of batches) yield entriesOf(batch);
  else yield entriesOf(batches);
}

function entriesOf(batch: RowBatch): Entries {
  if (batch.keys.length === 0)
    throw new OnceflowError("VALUE_INVALID", "an entity key has no columns.");
  return {
    count: batch.count,
    key: keyEncoder(
      batch.keys.map((column, i) => ("offsets" in column ? column : keysToUtf8(column, i))),
    ),
    version: versionEncoder(batch),
    row: batch.codec.encoder(batch.columns),
  };
}

function keysToUtf8(texts: readonly string[], column: number): Utf8 {
  for (const text of texts)
    if (typeof text !== "string")
      throw new OnceflowError("VALUE_INVALID", `entity key column ${column + 1} has a null.`);
  return utf8OfTexts(texts, `entity key column ${column + 1}`);
}

function keyEncoder(columns: readonly Utf8[]): BlockEncoder {
  return {
    measure(from, to, sizes) {
      sizes.fill(0, 0, to - from);
      for (let row = from; row < to; row++) {
        let size = 0;
        for (const column of columns) {
          size += (column.offsets[row + 1] as number) - (column.offsets[row] as number);
          sizes[row - from] = (sizes[row - from] as number) + utf8PartBytes(column, row);
        }
        requireKeySize(size);
      }
    },
    write(from, to, { bytes, places }) {
      for (const column of columns)
        for (let row = from; row < to; row++)
          places[row - from] = writeUtf8Part(column, row, bytes, places[row - from] as number);
    },
  };
}

function encodedKeys(keys: readonly Buffer[]): BlockEncoder {
  return {
    measure(from, to, sizes) {
      for (let row = from; row < to; row++) sizes[row - from] = (keys[row] as Buffer).length;
    },
    write(from, to, { bytes, places }) {
      for (let row = from; row < to; row++) {
        const key = keys[row] as Buffer;
        bytes.set(key, places[row - from]);
        places[row - from] = (places[row - from] as number) + key.length;
      }
    },
  };
}

/**
 * Whether every row could be stored, without storing one.
 *
 * @throws VALUE_INVALID, ROW_TOO_LARGE
 */
export function assertStorable(batch: RowBatch): void {
  const { count, key, row } = entriesOf(batch);
  for (let from = 0; from < count; from += rowsPerBlock) {
    const to = Math.min(count, from + rowsPerBlock);
    key.measure(from, to, keySizes);
    row.measure(from, to, rowSizes);
  }
}

const eventTimeWords = new Int32Array(2 * rowsPerBlock);
const blockOrdinals = new Float64Array(rowsPerBlock);

/** Gathers what differs by row, and then writes in one loop over numbers. */
function versionEncoder({
  eventTimesUs,
  mark,
  ordinals,
}: Pick<RowBatch, "eventTimesUs" | "mark" | "ordinals">): BlockEncoder["write"] {
  const markOfAll = encodeMark(mark);
  return (from, to, { bytes, view, places }) => {
    if (eventTimesUs instanceof Int32Array)
      eventTimeWords.set(eventTimesUs.subarray(2 * from, 2 * to));
    else
      for (let row = from; row < to; row++)
        eventTimeWords.set(
          wordsOf(typeof eventTimesUs === "function" ? eventTimesUs(row) : eventTimesUs),
          2 * (row - from),
        );
    if (ordinals instanceof Float64Array) blockOrdinals.set(ordinals.subarray(from, to));
    else
      for (let row = from; row < to; row++)
        blockOrdinals[row - from] = typeof ordinals === "function" ? ordinals(row) : ordinals + row;
    for (let i = 0; i < to - from; i++) {
      const ordinal = blockOrdinals[i] as number;
      requireOrdinal(ordinal);
      const low = eventTimeWords[2 * i] as number;
      const high = eventTimeWords[2 * i + 1] as number;
      const place = places[i] as number;
      bytes.set(markOfAll, place);
      writeRest(view, place, low, high, ordinal);
      places[i] = place + versionBytes;
    }
  };
}

async function writeEntries(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  given: Iterable<Entries> | AsyncIterable<Entries>,
): Promise<WriteCounts> {
  const send = createSender(redis, keys, namespace);
  let read = 0;
  // One is filled while the other is sent.
  let slab = createSlab(namespace);
  let spare = createSlab(namespace);
  let sending = Promise.resolve();
  const flush = async (): Promise<void> => {
    await sending;
    send.assertSent();
    sending = send.slab(slab);
    [slab, spare] = [spare, slab];
    clearSlab(slab);
  };
  try {
    for await (const entries of given) {
      let most = rowsPerBlock;
      for (let row = 0; row < entries.count;) {
        if (isFull(slab)) await flush();
        const added = addBlock(slab, entries, row, Math.min(most, entries.count - row));
        row += added;
        // What was measured in vain is not measured so again.
        most = Math.min(rowsPerBlock, added * 2);
        await nextTurn();
      }
      read += entries.count;
    }
    await flush();
  } finally {
    await sending;
  }
  send.assertSent();
  const written = send.written();
  return { read, written, superseded: read - written };
}

const keySizes = new Uint32Array(rowsPerBlock);
const rowSizes = new Uint32Array(rowsPerBlock);
const places = new Uint32Array(rowsPerBlock);

/** Encodes at most so many rows from `from` on into the slab, and returns how many. */
function addBlock(slab: Slab, { key, version, row }: Entries, from: number, most: number): number {
  key.measure(from, from + most, keySizes);
  row.measure(from, from + most, rowSizes);
  let rows = 0;
  for (let bytes = 0; rows < most && bytes < bytesPerBlock; rows++) {
    rowSizes[rows] = (rowSizes[rows] as number) + versionBytes;
    bytes += (keySizes[rows] as number) + (rowSizes[rows] as number);
  }
  addEntries(slab, rows, keySizes, rowSizes, places, (block) => {
    key.write(from, from + rows, block);
    version(from, from + rows, block);
    row.write(from, from + rows, block);
  });
  return rows;
}

/** Sends slabs; a failure is kept until it is asked for, since nobody waits for a slab at once. */
function createSender(redis: RedisConnection, keys: StoreKeys, namespace: Namespace) {
  const epoch = epochBytes(namespace);
  let written = 0;
  let failure: { readonly error: unknown } | undefined;

  const sendCalls = async (calls: readonly RowCall[]): Promise<void> => {
    const replies = await redis.pipeline(
      calls.map(({ buckets, rows }): RedisCommand => [
        "writeRows",
        buckets.length,
        ...buckets.map((bucket) => bucketKey(keys, namespace, bucket)),
        epoch,
        rows,
      ]),
    );
    replies.forEach((reply, i) => {
      const count = reply as number;
      if (count < 0) {
        const bucket = (calls[i] as RowCall).buckets[(-count >> 1) - 1] as number;
        throw storeLost(namespace, bucket, count % 2 === 0);
      }
      written += count;
    });
  };

  return {
    written: () => written,
    assertSent(): void {
      if (failure) throw failure.error;
    },
    async slab(slab: Slab): Promise<void> {
      const inFlight = new Set<Promise<void>>();
      const begin = (calls: readonly RowCall[]): void => {
        const sent: Promise<void> = sendCalls(calls)
          .catch((error: unknown) => {
            failure ??= { error };
          })
          .finally(() => inFlight.delete(sent));
        inFlight.add(sent);
      };
      try {
        let calls: RowCall[] = [];
        let bytes = 0;
        for (const call of callsOf(slab, namespace)) {
          calls.push(call);
          bytes += call.rows.length;
          if (bytes < bytesPerPipeline) continue;
          while (inFlight.size >= pipelinesInFlight) await Promise.race(inFlight);
          if (failure) break;
          begin(calls);
          [calls, bytes] = [[], 0];
        }
        if (calls.length > 0 && !failure) begin(calls);
      } catch (error) {
        failure ??= { error };
      }
      await Promise.all(inFlight);
    },
  };
}
