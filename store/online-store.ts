/**
 * The online store: the newest row of each entity, in Redis.
 *
 * Rows of one view and storage fingerprint are a namespace: a fixed number of bucket hashes, in
 * shards with a hash tag each. A bucket carries the namespace's epoch, so a bucket that was lost,
 * or that another store left, is noticed by whoever reads or writes it.
 */
import { createKeys } from "./keys.ts";
import type { Namespace, NamespaceReport, NamespaceReset, StoredTable } from "./namespace.ts";
import {
  clearNamespace,
  listNamespaces,
  openNamespace,
  renewNamespace,
  resetNamespace,
  sealNamespace,
  verifyNamespace,
} from "./namespace.ts";
import type { RedisConnection } from "./redis/types.ts";
import type { ReadResult, RowRead } from "./rows/reader.ts";
import { readRows } from "./rows/reader.ts";
import type { RowBatch, WriteCounts } from "./rows/writer.ts";
import { writeRows, writeTombstones } from "./rows/writer.ts";
import type { Mark, Version } from "./rows/version.ts";

export interface OnlineStore {
  /**
   * Creates the namespace of a view's storage fingerprint, or returns the one that exists; the
   * bucket count is that of its creation, see `chooseBuckets`.
   *
   * Cost: one round trip where it exists, else one small write per bucket.
   */
  readonly openNamespace: (
    table: StoredTable,
    options: { readonly buckets: number },
  ) => Promise<Namespace>;
  /** The namespaces of a view, of every storage fingerprint. One round trip. */
  readonly listNamespaces: (view: string) => Promise<Namespace[]>;
  /**
   * Starts a namespace again, after STORE_LOST or for another grid of intervals: empty buckets
   * under a new epoch, nothing covered, no partial states of the aggregates and no latest snapshot
   * of their set, runs in flight fenced. Generations and the bodies of snapshots stay.
   */
  readonly resetNamespace: (table: StoredTable, options: NamespaceReset) => Promise<Namespace>;
  /** Starts a table again under a new epoch, empty, after a loss; what is committed stays. */
  readonly renewNamespace: (
    table: StoredTable,
    options: { readonly buckets: number },
  ) => Promise<Namespace>;
  /**
   * Replaces each row by a newer one; any order and any repetition end in the same bytes. Batches
   * that come one after the other are better given together: each call then takes more rows, and
   * one batch is sent while the next is made.
   *
   * @throws STORE_LOST, STORE_FULL, STORE_UNAVAILABLE, VALUE_INVALID, ROW_TOO_LARGE
   */
  readonly writeRows: (
    namespace: Namespace,
    batches: RowBatch | AsyncIterable<RowBatch>,
  ) => Promise<WriteCounts>;
  /** Leaves a tombstone per encoded entity key, which older rows lose against. */
  readonly deleteRows: (
    namespace: Namespace,
    keys: readonly Buffer[],
    version: Version,
  ) => Promise<WriteCounts>;
  /**
   * Raises the mark of every shard at the end of a run, so that `verifyNamespace` can tell a
   * shard that lost writes from one that had none. Cost: at most 1024 small writes.
   */
  readonly sealNamespace: (namespace: Namespace, mark: Mark, before?: Mark | null) => Promise<void>;
  /** Removes what the last whole publish did not write, and returns how many entities that was. */
  readonly clearNamespace: (namespace: Namespace, whole: Mark) => Promise<number>;
  /**
   * Reads all entities of all views of a request in one round trip.
   *
   * @throws STORE_LOST where a bucket is missing or of another epoch, STORE_UNAVAILABLE
   */
  readonly readRows: (reads: readonly RowRead[]) => Promise<ReadResult>;
  /** Looks at every bucket. Cost: one round trip per 10 000 buckets. */
  readonly verifyNamespace: (
    namespace: Namespace,
    options?: { readonly least?: Mark | null; readonly memory?: boolean },
  ) => Promise<NamespaceReport>;
}

/** Makes the online store under a key prefix of a Redis, `onceflow` unless told otherwise. */
export function createOnlineStore(
  redis: RedisConnection,
  { prefix }: { readonly prefix?: string | undefined } = {},
): OnlineStore {
  const keys = createKeys(prefix);
  return {
    openNamespace: (table, { buckets }) => openNamespace(redis, keys, table, buckets),
    listNamespaces: (view) => listNamespaces(redis, keys, view),
    resetNamespace: (table, options) => resetNamespace(redis, keys, table, options),
    renewNamespace: (table, { buckets }) => renewNamespace(redis, keys, table, buckets),
    writeRows: (namespace, batches) => writeRows(redis, keys, namespace, batches),
    deleteRows: (namespace, entityKeys, version) =>
      writeTombstones(redis, keys, namespace, entityKeys, version),
    sealNamespace: (namespace, mark, before = null) =>
      sealNamespace(redis, keys, namespace, mark, before),
    clearNamespace: (namespace, whole) => clearNamespace(redis, keys, namespace, whole),
    readRows: (reads) => readRows(redis, keys, reads),
    verifyNamespace: (namespace, options = {}) => verifyNamespace(redis, keys, namespace, options),
  };
}
