/**
 * Namespaces: where the rows of one view and storage fingerprint live.
 *
 * Rows lie in buckets, and buckets in shards, of which each has a hash tag: one script call takes
 * rows of many buckets of a shard, and a shard alone keeps the mark of the publishes. The record of a
 * namespace is a field of the view's pointers: `<buckets> <epoch> <state>`. It is `new` until every
 * shard and bucket bears the epoch, and `ready` from then on; one that bears none afterwards was
 * lost.
 */
import { randomBytes } from "node:crypto";
import { OnceflowError } from "../engine/errors.ts";
import { invocation } from "../engine/invocation.ts";
import type { Column } from "./rows/column-data.ts";
import type { StoreKeys, TableKind } from "./keys.ts";
import { parsePointerField, pointerFields, requireNames } from "./keys.ts";
import type { RedisCommand, RedisConnection, RedisReply } from "./redis/types.ts";
import { textOf } from "./redis/connection.ts";
import { pairsOf } from "./redis/pairs.ts";
import type { Mark } from "./rows/version.ts";
import { encodeMark, markBytes, zeroMark } from "./rows/version.ts";

/** A table of stored rows of a view, under the fingerprint that names its namespace. */
export interface StoredTable {
  /** snake_case. */
  readonly view: string;
  /** Names its keys, and with them the rule by which `sweep` keeps it. */
  readonly kind: Exclude<TableKind, "rows">;
  /** Storage fingerprint, hexadecimal. */
  readonly fingerprint: string;
  /** In storage order. */
  readonly columns: readonly Column[];
}

/** Where rows of one view and storage fingerprint live; plain JSON. */
export interface Namespace {
  readonly view: string;
  readonly fingerprint: string;
  /** Fixed when the namespace is created. */
  readonly buckets: number;
  /** Random id of this incarnation of the namespace, 16 hexadecimal digits. */
  readonly epoch: string;
}

export interface NamespaceReport {
  readonly buckets: number;
  readonly present: number;
  readonly missing: number;
  /** Buckets of another epoch. */
  readonly foreign: number;
  /** Buckets whose shard's mark is below the least given: acknowledged writes were lost. */
  readonly behind: number;
  /** Rows, tombstones among them. */
  readonly rows: number;
  /** Rows of the fullest bucket. */
  readonly largestBucket: number;
  /** Memory of the buckets in bytes, where it was asked for. */
  readonly memoryBytes: number | null;
}

const epochSize = 8;
const epochPattern = /^[0-9a-f]{16}$/;
const leastBuckets = 16;
const mostBuckets = 2 ** 24;
/** Rows that a bucket holds on average at most: a small hash stays a compact listpack. */
const rowsPerBucket = 64;
/** Shards of a namespace of many buckets; a smaller one has a shard for each bucket. */
const mostShards = 1024;
/** Buckets that are cleared in one pipeline: Redis serves others in between. */
const clearedAtOnce = 32;
/** Keys visited in one pipeline. */
const keysPerPipeline = 10_000;

/** A bucket count for an expected count of rows: a power of two from 16 to 2^24. */
export function chooseBuckets(rows: number): number {
  let buckets = leastBuckets;
  while (buckets < mostBuckets && buckets * rowsPerBucket < rows) buckets *= 2;
  return buckets;
}

/** The field of the pointers that holds the record of a table. */
const recordFields = {
  entities: pointerFields.table,
} as const satisfies Readonly<Record<StoredTable["kind"], (fingerprint: string) => string>>;

/** Creates a namespace, or returns the one that exists. @throws CONFIG_INVALID, STORE_UNAVAILABLE */
export async function openNamespace(
  redis: RedisConnection,
  keys: StoreKeys,
  { view, kind, fingerprint }: StoredTable,
  buckets: number,
): Promise<Namespace> {
  requireNames(view, fingerprint);
  requireBuckets(buckets);
  const swap = async (expected: string, wanted: string) => {
    const field = recordFields[kind](fingerprint);
    const held = await redis.send(["swapField", keys.pointers(view), field, expected, wanted]);
    return textOf(held) ?? "";
  };
  let record = await swap("", newRecord(buckets));
  for (;;) {
    const namespace = parseRecord(view, fingerprint, record);
    if (record.endsWith(" ready")) return namespace;
    await stampShards(redis, keys, namespace);
    // Another opener may have finished first, or a reset may have begun a new epoch meanwhile.
    record = await swap(record, record.replace(/ new$/, " ready"));
  }
}

/** What a reset forgets and how it begins again. */
export interface NamespaceReset {
  readonly buckets: number;
  /** Fingerprints of the view's aggregates, whose partial states are dropped. */
  readonly aggregates: readonly string[];
  /** Names the set of these aggregates, whose `latest` is dropped. */
  readonly aggregatesFingerprint: string;
}

/** Begins a new epoch with empty buckets; what was committed is forgotten, runs are fenced. */
export async function resetNamespace(
  redis: RedisConnection,
  keys: StoreKeys,
  table: StoredTable,
  { buckets, aggregates, aggregatesFingerprint }: NamespaceReset,
): Promise<Namespace> {
  const { view, kind, fingerprint } = table;
  requireNames(view, fingerprint, aggregatesFingerprint, ...aggregates);
  requireBuckets(buckets);
  await removeOtherBuckets(redis, keys, table, buckets);
  await redis.send([
    "resetNamespace",
    4 + aggregates.length,
    keys.pointers(view),
    keys.coverage(view, fingerprint),
    keys.generations(view, fingerprint),
    keys.outcomes(view, fingerprint),
    ...aggregates.map((aggregate) => keys.states(view, aggregate)),
    recordFields[kind](fingerprint),
    newRecord(buckets),
    pointerFields.published(fingerprint),
    pointerFields.latest(aggregatesFingerprint),
    randomId(),
  ]);
  return openNamespace(redis, keys, table, buckets);
}

/**
 * Begins a new epoch with empty buckets, for a table that has lost entities; what is published goes
 * with it, and what is committed stays.
 */
export async function renewNamespace(
  redis: RedisConnection,
  keys: StoreKeys,
  table: StoredTable,
  buckets: number,
): Promise<Namespace> {
  const { view, kind, fingerprint } = table;
  requireNames(view, fingerprint);
  requireBuckets(buckets);
  await removeOtherBuckets(redis, keys, table, buckets);
  const pointers = keys.pointers(view);
  // In this order: cut off in between, it must not say of an empty table that it is published.
  await redis.pipeline([
    ["hdel", pointers, pointerFields.published(fingerprint)],
    ["hset", pointers, recordFields[kind](fingerprint), newRecord(buckets)],
  ]);
  return openNamespace(redis, keys, table, buckets);
}

/** Removes the buckets of a table that is to have another count of them, under other names. */
async function removeOtherBuckets(
  redis: RedisConnection,
  keys: StoreKeys,
  { view, fingerprint }: StoredTable,
  buckets: number,
): Promise<void> {
  const [old] = (await listNamespaces(redis, keys, view)).filter(
    (namespace) => namespace.fingerprint === fingerprint,
  );
  if (old === undefined || old.buckets === buckets) return;
  await eachShard(
    redis,
    keys,
    old,
    (names) => ["unlink", ...names],
    () => undefined,
  );
}

/** The ready namespaces of a view, of all its storage fingerprints. */
export async function listNamespaces(
  redis: RedisConnection,
  keys: StoreKeys,
  view: string,
): Promise<Namespace[]> {
  requireNames(view);
  const pointers = keys.pointers(view);
  const reply = await redis.send(["readHashes", 2, pointers, pointers]);
  return pairsOf((reply as RedisReply[])[1]).flatMap(([field, record]) => {
    const named = parsePointerField(field);
    if (named?.kind !== "table") return [];
    return readyNamespace(view, named.fingerprint, record.toString()) ?? [];
  });
}

/**
 * Raises the mark of every shard.
 *
 * @param before - the mark that each must bear; a shard with a lesser one has lost what it had
 * @throws STORE_LOST
 */
export async function sealNamespace(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  mark: Mark,
  before: Mark | null,
): Promise<void> {
  const [epoch, markText] = [epochBytes(namespace), encodeMark(mark)];
  const least = before === null ? zeroMark : encodeMark(before);
  await eachShard(
    redis,
    keys,
    namespace,
    ([shard = ""]) => ["sealShard", shard, epoch, markText, least],
    (reply, { firstBucket }) => {
      if ((reply as number) < 0) throw storeLost(namespace, firstBucket, reply === -1);
    },
  );
}

/** Removes what is of an older publish than a whole one. Cost: O(entities), in small calls. */
export async function clearNamespace(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  { generation }: Mark,
): Promise<number> {
  const epoch = epochBytes(namespace);
  let removed = 0;
  for (let first = 0; first < namespace.buckets; first += clearedAtOnce) {
    const count = Math.min(clearedAtOnce, namespace.buckets - first);
    const replies = await redis.pipeline(
      Array.from({ length: count }, (_, i): RedisCommand => [
        "clearBucket",
        bucketKey(keys, namespace, first + i),
        epoch,
        generation,
      ]),
    );
    for (const reply of replies) removed += reply as number;
  }
  return removed;
}

/** Counts what is there and what is not. */
export async function verifyNamespace(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  { least, memory = false }: { readonly least?: Mark | null; readonly memory?: boolean },
): Promise<NamespaceReport> {
  const epoch = epochBytes(namespace);
  const leastMark = least ? encodeMark(least) : zeroMark;
  const count = { present: 0, missing: 0, foreign: 0, behind: 0, rows: 0, largestBucket: 0 };
  let memoryBytes = 0;
  await eachShard(
    redis,
    keys,
    namespace,
    (names) => ["inspectShard", names.length, ...names, epoch, memory ? "1" : ""],
    (reply, { buckets }) => {
      const [meta, ...counts] = reply as RedisReply[];
      const [missing, foreign, rows, largest, bytes] = counts as [
        number,
        number,
        number,
        number,
        number,
      ];
      count.present += buckets - missing - foreign;
      count.missing += missing;
      count.foreign += foreign;
      count.rows += rows;
      count.largestBucket = Math.max(count.largestBucket, largest);
      memoryBytes += bytes;
      const isSealed =
        Buffer.isBuffer(meta) &&
        epoch.equals(meta.subarray(0, epochSize)) &&
        meta.compare(leastMark, 0, markBytes, epochSize) >= 0;
      if (!isSealed) count.behind += buckets;
    },
  );
  return { buckets: namespace.buckets, ...count, memoryBytes: memory ? memoryBytes : null };
}

export function epochBytes({ epoch }: Namespace): Buffer {
  return Buffer.from(epoch, "hex");
}

/** The buckets of each shard are neighbours. */
export function bucketsPerShard({ buckets }: Pick<Namespace, "buckets">): number {
  return Math.ceil(buckets / mostShards);
}

export function bucketKey(keys: StoreKeys, namespace: Namespace, bucket: number): string {
  const { view, fingerprint } = namespace;
  return keys.bucket(view, fingerprint, Math.floor(bucket / bucketsPerShard(namespace)), bucket);
}

/** The error for a bucket that is missing or of another epoch. */
export function storeLost(namespace: Namespace, bucket: number, missing: boolean): OnceflowError {
  const { view, fingerprint } = namespace;
  return new OnceflowError(
    "STORE_LOST",
    `view "${view}": bucket ${bucket} of ${namespace.buckets} under fingerprint ${fingerprint} ` +
      `${missing ? "is missing from" : "belongs to another epoch in"} Redis, so its rows are lost. ` +
      `A worker puts them back by itself; at once: ${invocation} publish ${view} --whole`,
    { view, fingerprint, bucket },
  );
}

/** The namespace of a record that is ready, or null. */
export function readyNamespace(
  view: string,
  fingerprint: string,
  record: string | null,
): Namespace | null {
  return record?.endsWith(" ready") ? parseRecord(view, fingerprint, record) : null;
}

function parseRecord(view: string, fingerprint: string, record: string): Namespace {
  const [buckets = "", epoch = "", state = ""] = record.split(" ");
  if (!/^[0-9]+$/.test(buckets) || !epochPattern.test(epoch) || !/^(new|ready)$/.test(state))
    throw new OnceflowError(
      "STORE_LOST",
      `view "${view}": the table record of fingerprint ${fingerprint} is malformed. ` +
        `Publish it whole: ${invocation} publish ${view} --whole`,
    );
  return { view, fingerprint, buckets: Number(buckets), epoch };
}

/** The record of a table that is ready. */
export function recordOf({ buckets, epoch }: Namespace): string {
  return `${buckets} ${epoch} ready`;
}

function newRecord(buckets: number): string {
  return `${buckets} ${randomId()} new`;
}

/**
 * 16 random hexadecimal digits: an epoch, or what tells a revision from another of the same count
 * in a Redis that was restored and went on.
 */
export function randomId(): string {
  return randomBytes(epochSize).toString("hex");
}

function requireBuckets(buckets: number): void {
  if (!Number.isInteger(buckets) || buckets < 1 || buckets > mostBuckets)
    throw new OnceflowError(
      "CONFIG_INVALID",
      `a namespace of ${buckets} buckets is impossible: choose 1 to ${mostBuckets}.`,
    );
}

async function stampShards(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
): Promise<void> {
  const epoch = epochBytes(namespace);
  await eachShard(
    redis,
    keys,
    namespace,
    (names) => ["stampShard", names.length, ...names, epoch, zeroMark],
    () => undefined,
  );
}

/** Buckets of a shard: so many from the first on. */
interface Shard {
  readonly firstBucket: number;
  readonly buckets: number;
}

/** Sends a command for every shard, by the names of its own key and of its buckets'. */
async function eachShard(
  redis: RedisConnection,
  keys: StoreKeys,
  namespace: Namespace,
  commandOf: (names: readonly string[]) => RedisCommand,
  visit: (reply: RedisReply, shard: Shard) => void,
): Promise<void> {
  const perShard = bucketsPerShard(namespace);
  const shards = Math.ceil(namespace.buckets / perShard);
  const perPipeline = Math.max(1, Math.floor(keysPerPipeline / perShard));
  for (let first = 0; first < shards; first += perPipeline) {
    const commands: RedisCommand[] = [];
    const visited: Shard[] = [];
    for (let shard = first; shard < Math.min(shards, first + perPipeline); shard++) {
      const firstBucket = shard * perShard;
      const buckets = Math.min(perShard, namespace.buckets - firstBucket);
      const names = Array.from({ length: buckets }, (_, i) =>
        keys.bucket(namespace.view, namespace.fingerprint, shard, firstBucket + i),
      );
      commands.push(
        commandOf([keys.shard(namespace.view, namespace.fingerprint, shard), ...names]),
      );
      visited.push({ firstBucket, buckets });
    }
    const replies = await redis.pipeline(commands);
    visited.forEach((shard, i) => visit(replies[i] as RedisReply, shard));
  }
}
