/**
 * Writes batches of rows: encodes them, keeps the newest per entity, groups them by bucket, and
 * sends one script call per bucket, a bounded number at once.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Int64 } from "../engine/dtypes.ts";
import { OnceflowError } from "../engine/errors.ts";
import type { ByteWriter } from "./bytes.ts";
import { createByteWriter, reserve } from "./bytes.ts";
import type { ColumnData } from "./column-data.ts";
import { hashKey, requireKeySize, writeKeyPart } from "./entity-key.ts";
import type { StoreKeys } from "./keys.ts";
import type { Namespace } from "./namespace.ts";
import { bucketKey, epochBytes, storeLost } from "./namespace.ts";
import type { RedisCommand, RedisConnection } from "./redis.ts";
import type { RowCodec } from "./row-codec.ts";
import type { Mark, Version } from "./version.ts";
import {
  encodeMark,
  encodeVersion,
  requireGeneration,
  requireOrdinal,
  versionBytes,
  wordsOf,
  writeVersion,
} from "./version.ts";

/** Rows to write, by column. */
export interface RowBatch {
  readonly codec: RowCodec;
  /** Rows in the batch. */
  readonly count: number;
  /** Per entity key column, the key of each row. */
  readonly keys: readonly (readonly string[])[];
  /** The codec's columns, in storage order. */
  readonly columns: readonly ColumnData[];
  /** Event time in µs: one for all rows, 32-bit words (low, high) per row, or a function. */
  readonly eventTimesUs: Int64 | Int32Array | ((row: number) => Int64);
  readonly generation: number;
  /** The ordinal of row 0, from which rows count up, or one per row. */
  readonly ordinals: number | Float64Array | ((row: number) => number);
  /** The mark that touched buckets are raised to; none for a stream. */
  readonly mark?: Mark | undefined;
}

/** What became of rows; read = written + superseded. */
export interface WriteCounts {
  readonly read: number;
  /** Rows that are now stored. */
  readonly written: number;
  /** Rows that an equal or newer one in the store, or in the same batch, stands for. */
  readonly superseded: number;
}

/** Rows per script call; Lua passes at most 8000 arguments on. */
const rowsPerCall = 1000;
const bytesPerCall = 512 * 1024;
/** Rows and bytes that are encoded and grouped together. */
const rowsPerSlab = 1 << 20;
const bytesPerSlab = 64 * 1024 * 1024;
/** Rows that are encoded before other work may run. */
const rowsPerTurn = 4096;
const bytesPerPipeline = 128 * 1024;
const callsPerPipeline = 64;
const pipelinesInFlight = 4;
const rowHeaderBytes = 6;

export async function writeRows(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  batch: RowBatch,
): Promise<WriteCounts> {
  const { count, generation, keys: keyColumns } = batch;
  if (keyColumns.length === 0)
    throw new OnceflowError("VALUE_INVALID", "an entity key has no columns.");
  requireGeneration(generation);
  const encodeRow = batch.codec.encoder(batch.columns);
  const putVersion = createVersionWriter(batch);
  const mark = batch.mark ? encodeMark(batch.mark) : "";
  return writeEntries(redis, keys, namespace, mark, count, {
    putKey(row, into) {
      let size = 0;
      for (let i = 0; i < keyColumns.length; i++) {
        const text = keyColumns[i]?.[row];
        if (typeof text !== "string")
          throw new OnceflowError("VALUE_INVALID", `entity key column ${i + 1} has a null.`);
        size += writeKeyPart(into, text, i);
      }
      requireKeySize(size);
    },
    putValue(row, into) {
      putVersion(row, into);
      encodeRow(row, into);
    },
  });
}

export async function writeTombstones(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  entityKeys: readonly Buffer[],
  version: Version,
): Promise<WriteCounts> {
  const value = encodeVersion(version);
  return writeEntries(redis, keys, namespace, "", entityKeys.length, {
    putKey: (row, into) => append(into, entityKeys[row] as Buffer),
    putValue: (_, into) => append(into, value),
  });
}

function append(into: ByteWriter, bytes: Buffer): void {
  reserve(into, bytes.length);
  bytes.copy(into.bytes, into.length);
  into.length += bytes.length;
}

function createVersionWriter({ eventTimesUs, generation, ordinals }: RowBatch) {
  const fixed =
    typeof eventTimesUs === "object" || typeof eventTimesUs === "function"
      ? null
      : wordsOf(eventTimesUs);
  return (row: number, into: ByteWriter): void => {
    const ordinal =
      typeof ordinals === "number"
        ? ordinals + row
        : typeof ordinals === "function"
          ? ordinals(row)
          : (ordinals[row] as number);
    requireOrdinal(ordinal);
    let [low, high] = fixed ?? [0, 0];
    if (typeof eventTimesUs === "function") [low, high] = wordsOf(eventTimesUs(row));
    else if (typeof eventTimesUs === "object") {
      low = eventTimesUs[2 * row] as number;
      high = eventTimesUs[2 * row + 1] as number;
    }
    reserve(into, versionBytes);
    writeVersion(into.bytes, into.length, low, high, generation, ordinal);
    into.length += versionBytes;
  };
}

interface EntryWriter {
  readonly putKey: (row: number, into: ByteWriter) => void;
  readonly putValue: (row: number, into: ByteWriter) => void;
}

async function writeEntries(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  mark: Buffer | "",
  count: number,
  entries: EntryWriter,
): Promise<WriteCounts> {
  let written = 0;
  for (let row = 0; row < count;) {
    const slab = createSlab(Math.min(count - row, rowsPerSlab));
    while (row < count && slab.count < rowsPerSlab && slab.writer.length < bytesPerSlab) {
      addEntry(slab, row, entries);
      if (++row % rowsPerTurn === 0) await nextTurn();
    }
    written += await sendSlab(redis, keys, namespace, mark, slab);
  }
  return { read: count, written, superseded: count - written };
}

/** Encoded entries, none of an entity twice, laid out as the script reads them. */
interface Slab {
  readonly writer: ByteWriter;
  count: number;
  readonly offsets: Float64Array;
  readonly keySizes: Uint16Array;
  readonly valueSizes: Uint32Array;
  readonly hashes: Uint32Array;
  /** Open addressing by hash: entry + 1, or 0. */
  readonly table: Int32Array;
}

function createSlab(capacity: number): Slab {
  return {
    writer: createByteWriter(Math.min(bytesPerSlab, capacity * 96)),
    count: 0,
    offsets: new Float64Array(capacity),
    keySizes: new Uint16Array(capacity),
    valueSizes: new Uint32Array(capacity),
    hashes: new Uint32Array(capacity),
    table: new Int32Array(2 ** Math.ceil(Math.log2(capacity * 2 + 2))),
  };
}

/** Encodes a row into the slab; of two rows of one entity the newer stays. */
function addEntry(slab: Slab, row: number, { putKey, putValue }: EntryWriter): void {
  const { writer, offsets, keySizes, valueSizes, hashes, table } = slab;
  const start = writer.length;
  const keyStart = start + rowHeaderBytes;
  reserve(writer, rowHeaderBytes);
  writer.length = keyStart;
  putKey(row, writer);
  const keySize = writer.length - keyStart;
  const valueStart = writer.length;
  putValue(row, writer);
  const valueSize = writer.length - valueStart;
  const { bytes } = writer;
  bytes.writeUInt16BE(keySize, start);
  bytes.writeUInt32BE(valueSize, start + 2);

  const hash = hashKey(bytes, keyStart, valueStart);
  const mask = table.length - 1;
  let slot = hash & mask;
  for (let held = table[slot] as number; held !== 0; held = table[slot] as number) {
    const entry = held - 1;
    const other = (offsets[entry] as number) + rowHeaderBytes;
    const otherValue = other + (keySizes[entry] as number);
    if (
      hashes[entry] === hash &&
      bytes.compare(bytes, other, otherValue, keyStart, valueStart) === 0
    ) {
      // Versions are ordered as their bytes are, and a full tie is decided by the row's bytes.
      const otherEnd = otherValue + (valueSizes[entry] as number);
      if (bytes.compare(bytes, otherValue, otherEnd, valueStart, writer.length) <= 0)
        writer.length = start;
      else {
        offsets[entry] = start;
        valueSizes[entry] = valueSize;
      }
      return;
    }
    slot = (slot + 1) & mask;
  }
  const entry = slab.count++;
  table[slot] = entry + 1;
  offsets[entry] = start;
  keySizes[entry] = keySize;
  valueSizes[entry] = valueSize;
  hashes[entry] = hash;
}

interface Call {
  readonly bucket: number;
  readonly rows: Buffer;
}

/** Sends a slab's entries and returns how many were written. */
async function sendSlab(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  mark: Buffer | "",
  slab: Slab,
): Promise<number> {
  const epoch = epochBytes(namespace);
  const inFlight = new Set<Promise<void>>();
  let written = 0;
  let failure: { readonly error: unknown } | undefined;

  const send = async (calls: readonly Call[]): Promise<void> => {
    const replies = await redis.pipeline(
      calls.map(({ bucket, rows }): RedisCommand => [
        "writeRows",
        bucketKey(keys, namespace, bucket),
        epoch,
        mark,
        rows,
      ]),
    );
    replies.forEach((reply, i) => {
      if (typeof reply !== "number" || reply < 0)
        throw storeLost(namespace, (calls[i] as Call).bucket, reply === -1);
      written += reply;
    });
  };

  for (const calls of pipelinesOf(slab, namespace.buckets)) {
    while (inFlight.size >= pipelinesInFlight) await Promise.race(inFlight);
    if (failure) break;
    const sent: Promise<void> = send(calls)
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => inFlight.delete(sent));
    inFlight.add(sent);
  }
  await Promise.all(inFlight);
  if (failure) throw failure.error;
  return written;
}

/** The script calls of a slab, bucket by bucket, grouped into pipelines. */
function* pipelinesOf(slab: Slab, buckets: number): Generator<Call[]> {
  const { order, starts } = sortByBucket(slab, buckets);
  let calls: Call[] = [];
  let bytes = 0;
  for (let bucket = 0; bucket < buckets; bucket++) {
    const end = starts[bucket + 1] as number;
    for (let from = starts[bucket] as number; from < end;) {
      let to = from;
      let size = 0;
      while (to < end && to - from < rowsPerCall && size < bytesPerCall)
        size += sizeOf(slab, order[to++] as number);
      calls.push({ bucket, rows: packRows(slab, order, from, to, size) });
      bytes += size;
      from = to;
      if (bytes >= bytesPerPipeline || calls.length >= callsPerPipeline) {
        yield calls;
        calls = [];
        bytes = 0;
      }
    }
  }
  if (calls.length > 0) yield calls;
}

/** The slab's entries in the order of their buckets, and where each bucket begins. */
function sortByBucket({ count, hashes }: Slab, buckets: number) {
  const starts = new Uint32Array(buckets + 1);
  for (let i = 0; i < count; i++) {
    const next = ((hashes[i] as number) % buckets) + 1;
    starts[next] = (starts[next] as number) + 1;
  }
  for (let i = 1; i <= buckets; i++) starts[i] = (starts[i] as number) + (starts[i - 1] as number);
  const next = starts.slice();
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    const bucket = (hashes[i] as number) % buckets;
    const place = next[bucket] as number;
    order[place] = i;
    next[bucket] = place + 1;
  }
  return { order, starts };
}

function sizeOf({ keySizes, valueSizes }: Slab, entry: number): number {
  return rowHeaderBytes + (keySizes[entry] as number) + (valueSizes[entry] as number);
}

function packRows(slab: Slab, order: Uint32Array, from: number, to: number, size: number): Buffer {
  const rows = Buffer.allocUnsafe(size);
  let at = 0;
  for (let i = from; i < to; i++) {
    const entry = order[i] as number;
    const start = slab.offsets[entry] as number;
    at += slab.writer.bytes.copy(rows, at, start, start + sizeOf(slab, entry));
  }
  return rows;
}
