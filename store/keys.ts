/**
 * Every Redis key name of onceflow.
 *
 * A key has one hash tag, and the tag is ours alone: user text never reaches a key name. All keys
 * of a view's ledger share the tag `{<view>}`; each shard of rows has a tag of its own, so that a
 * Cluster spreads them, and one script call may write many buckets of a shard.
 */
import { OnceflowError } from "../engine/errors.ts";

const defaultPrefix = "onceflow";

/** The key names under one prefix. */
export interface StoreKeys {
  readonly prefix: string;
  /** Hash: "" → epoch and mark of the shard. */
  readonly shard: (view: string, fingerprint: string, shard: number) => string;
  /** Hash: "" → epoch, entity key → version and row. */
  readonly bucket: (view: string, fingerprint: string, shard: number, bucket: number) => string;
  /** Hash: revision, and per fingerprint the namespace, the head and the whole latest snapshot. */
  readonly pointers: (view: string) => string;
  /** Hash: snapshot id → body. */
  readonly snapshots: (view: string) => string;
  /** Hash: interval → coverage, JSON. */
  readonly coverage: (view: string, fingerprint: string) => string;
  /** Hash: interval → generation of its newest run. */
  readonly generations: (view: string, fingerprint: string) => string;
  /** Hash: interval → recent runs with their generations, JSON. */
  readonly begun: (view: string, fingerprint: string) => string;
  /** Hash: interval → generation and partial state of one aggregate. */
  readonly states: (view: string, aggregateFingerprint: string) => string;
  /** Hash: interval → how its last run ended, JSON with wall-clock facts. */
  readonly outcomes: (view: string, fingerprint: string) => string;
  /** List: the newest runs first, JSON with wall-clock facts. */
  readonly runs: (view: string) => string;
  /** Hash: `applied` → views and services as they were applied last, JSON. */
  readonly registry: string;
  /** Hash: `revision`, and id → record of an API key, JSON. No view has a hyphen in its name. */
  readonly apiKeys: string;
  /** List: changes of API keys, the newest first, JSON. */
  readonly apiKeyChanges: string;
  /** Globs: the pointers of every view, and every key of a view but its rows. */
  readonly everyPointers: string;
  readonly everyKey: (view: string) => string;
  /** Glob: the shards and buckets of a view. */
  readonly everyRowKey: (view: string) => string;
}

/** Names of the fields in the pointers hash. */
export const pointerFields = {
  /** Count of the commits and resets, ".", and a token that is its alone. */
  revision: "revision",
  namespace: (fingerprint: string) => `namespace:${fingerprint}`,
  head: (fingerprint: string) => `head:${fingerprint}`,
  latest: (setFingerprint: string) => `latest:${setFingerprint}`,
} as const;

/** The field of a bucket or shard that holds its epoch; no entity key encodes to nothing. */
export const epochField = "";

/**
 * The key names under a prefix.
 *
 * @throws CONFIG_INVALID where the prefix could hold a hash tag or a glob
 */
export function createKeys(prefix: string = defaultPrefix): StoreKeys {
  if (!/^[a-z0-9_:-]+$/.test(prefix))
    throw new OnceflowError(
      "CONFIG_INVALID",
      `the Redis key prefix "${prefix}" is invalid: use a-z, 0-9, "_", ":" and "-" only.`,
    );
  return {
    prefix,
    shard: (view, fingerprint, shard) => `${prefix}:rows:{${view}/${fingerprint}:${shard}}`,
    bucket: (view, fingerprint, shard, bucket) =>
      `${prefix}:rows:{${view}/${fingerprint}:${shard}}:${bucket}`,
    pointers: (view) => `${prefix}:{${view}}:pointers`,
    snapshots: (view) => `${prefix}:{${view}}:snapshots`,
    coverage: (view, fingerprint) => `${prefix}:{${view}}:coverage:${fingerprint}`,
    generations: (view, fingerprint) => `${prefix}:{${view}}:generations:${fingerprint}`,
    begun: (view, fingerprint) => `${prefix}:{${view}}:begun:${fingerprint}`,
    states: (view, aggregateFingerprint) => `${prefix}:{${view}}:states:${aggregateFingerprint}`,
    outcomes: (view, fingerprint) => `${prefix}:{${view}}:outcomes:${fingerprint}`,
    runs: (view) => `${prefix}:{${view}}:runs`,
    registry: `${prefix}:registry`,
    apiKeys: `${prefix}:{api-keys}:records`,
    apiKeyChanges: `${prefix}:{api-keys}:changes`,
    everyPointers: `${prefix}:{*}:pointers`,
    everyKey: (view) => `${prefix}:{${view}}:*`,
    everyRowKey: (view) => `${prefix}:rows:{${view}/*`,
  };
}

/** Refuses a view name or fingerprint that must not become part of a key. @throws INTERNAL */
export function requireNames(view: string, ...fingerprints: readonly string[]): void {
  if (!/^[a-z][a-z0-9_]{0,127}$/.test(view))
    throw new OnceflowError("INTERNAL", `"${view}" is no snake_case view name.`);
  for (const fingerprint of fingerprints)
    if (!/^[0-9a-f]{1,128}$/.test(fingerprint))
      throw new OnceflowError("INTERNAL", `"${fingerprint}" is no hexadecimal fingerprint.`);
}
