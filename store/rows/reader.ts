/** Reads rows of many namespaces in one round trip. */
import { bucketOf } from "./entity-key.ts";
import type { StoreKeys } from "../keys.ts";
import { epochField } from "../keys.ts";
import type { Namespace } from "../namespace.ts";
import { bucketKey, epochBytes, storeLost } from "../namespace.ts";
import type { RedisArgument, RedisConnection, RedisReply } from "../redis/types.ts";
import type { Mark } from "./version.ts";
import { encodeMark, markBytes, versionBytes } from "./version.ts";

/** What to read of one namespace. */
export interface RowRead {
  readonly namespace: Namespace;
  /** Encoded entity keys; one may occur twice. */
  readonly keys: readonly Buffer[];
  /** Entities whose mark is below this one are absent: that of the last whole publish. */
  readonly least?: Mark | null | undefined;
}

export interface ReadResult {
  /** Per read, per key, in order: version and encoded row, or null where there is none. */
  readonly rows: (Buffer | null)[][];
  /** Bytes of the stored rows that Redis sent. */
  readonly bytes: number;
}

/** The keys of one read that share a bucket. */
interface BucketRead {
  readonly read: number;
  readonly bucket: number;
  readonly places: number[];
  readonly fields: RedisArgument[];
}

export async function readRows(
  redis: RedisConnection,
  keys: StoreKeys,
  reads: readonly RowRead[],
): Promise<ReadResult> {
  const buckets = reads.flatMap(groupByBucket);
  const replies = await redis.pipeline(
    buckets.map(({ read, bucket, fields }) => [
      "hmget",
      bucketKey(keys, (reads[read] as RowRead).namespace, bucket),
      ...fields,
    ]),
  );
  const marks = reads.map(({ least }) => (least ? markOf(least) : undefined));
  const epochs = reads.map(({ namespace }) => epochOf(namespace));
  const rows = reads.map(({ keys }) => new Array<Buffer | null>(keys.length).fill(null));
  let bytes = 0;
  for (let i = 0; i < buckets.length; i++) {
    const { read, bucket, places } = buckets[i] as BucketRead;
    const { namespace } = reads[read] as RowRead;
    const reply = replies[i] as RedisReply[];
    const [meta] = reply;
    if (!Buffer.isBuffer(meta)) throw storeLost(namespace, bucket, true);
    if (!meta.equals(epochs[read] as Buffer)) throw storeLost(namespace, bucket, false);
    const mark = marks[read];
    const found = rows[read] as (Buffer | null)[];
    for (let j = 0; j < places.length; j++) {
      const value = reply[j + 1];
      if (!Buffer.isBuffer(value)) continue;
      bytes += value.length;
      // A version alone is a tombstone.
      if (value.length === versionBytes) continue;
      if (mark && value.compare(mark, 0, markBytes, 0, markBytes) < 0) continue;
      found[places[j] as number] = value;
    }
  }
  return { rows, bytes };
}

/** Encoded once: the same pointers serve many requests. */
const knownEpochs = new WeakMap<Namespace, Buffer>();
const knownMarks = new WeakMap<Mark, Buffer>();

function epochOf(namespace: Namespace): Buffer {
  const known = knownEpochs.get(namespace) ?? epochBytes(namespace);
  knownEpochs.set(namespace, known);
  return known;
}

function markOf(mark: Mark): Buffer {
  const known = knownMarks.get(mark) ?? encodeMark(mark);
  knownMarks.set(mark, known);
  return known;
}

function groupByBucket({ namespace, keys }: RowRead, read: number): BucketRead[] {
  const groups = new Map<number, BucketRead>();
  const [only] = keys;
  if (keys.length === 1 && only !== undefined)
    return [
      {
        read,
        bucket: bucketOf(only, namespace.buckets),
        places: [0],
        fields: [epochField, fieldOf(only)],
      },
    ];
  keys.forEach((key, place) => {
    const bucket = bucketOf(key, namespace.buckets);
    let group = groups.get(bucket);
    if (group === undefined) {
      group = { read, bucket, places: [], fields: [epochField] };
      groups.set(bucket, group);
    }
    group.places.push(place);
    group.fields.push(fieldOf(key));
  });
  return [...groups.values()];
}

/** Text where it has the same bytes: the client takes three times as long for a command of bytes. */
function fieldOf(key: Buffer): RedisArgument {
  for (let i = 0; i < key.length; i++) if ((key[i] as number) >= 0x80) return key;
  return key.toString("latin1");
}
