/**
 * What definitions that nobody uses any more have left in Redis: rows, ledger entries and partial
 * states. Snapshots of a view that is still there stay, since a request may pin one.
 */
import type { Registry } from "../engine/registry.ts";
import { createKeys, pointerFields, type StoreKeys } from "./keys.ts";
import { listNamespaces } from "./namespace.ts";
import { pairsOf, type RedisConnection, type RedisReply, textOf } from "./redis.ts";

/** What a view has left of one storage fingerprint. */
export interface Leftover {
  readonly view: string;
  readonly fingerprint: string;
  readonly buckets: number;
  readonly rows: number;
  /** End of the newest interval committed under it, ISO 8601; null where there is none. */
  readonly newestEnd: string | null;
}

/** Keys and fields to remove; rows of one storage fingerprint are `leftovers`. */
export interface SweepPlan {
  readonly leftovers: readonly Leftover[];
  /** Ledger keys of these and of aggregates that nobody uses. */
  readonly keys: readonly string[];
  /** Fields of the pointers hash, by its key. */
  readonly fields: Readonly<Record<string, readonly string[]>>;
}

type Prefixed = { readonly prefix?: string | undefined };

const scanCount = 1000;
const keysPerCommand = 500;

/** Finds what none of the registries names. Cost: a scan of all keys. */
export async function planSweep(
  redis: RedisConnection,
  kept: readonly Registry[],
  { prefix }: Prefixed = {},
): Promise<SweepPlan> {
  const names = createKeys(prefix);
  const leftovers: Leftover[] = [];
  const keys: string[] = [];
  const fields: Record<string, string[]> = {};
  for (const pointers of (await scan(redis, names.everyPointers)).sort()) {
    const view = /\{(.*)\}/.exec(pointers)?.[1] ?? "";
    const builds = kept.flatMap(({ views }) => views[view] ?? []);
    const fingerprints = new Set(builds.map((build) => build.fingerprint));
    const aggregates = new Set(builds.flatMap((build) => build.aggregates));
    const sets = new Set(builds.map((build) => build.aggregatesFingerprint));
    const isKept = {
      coverage: fingerprints,
      generations: fingerprints,
      begun: fingerprints,
      outcomes: fingerprints,
      states: aggregates,
      namespace: fingerprints,
      head: fingerprints,
      latest: sets,
    } as const;
    /** Whether the last part of a name is a fingerprint that nobody uses. */
    const isLeft = (name: string) => {
      const [kind = "", fingerprint = ""] = name.split(":");
      return Object.hasOwn(isKept, kind) && !isKept[kind as keyof typeof isKept].has(fingerprint);
    };
    const start = names.everyKey(view).slice(0, -1);
    const found = (await scan(redis, names.everyKey(view))).sort();
    keys.push(
      ...found.filter(
        (key) => key !== pointers && (builds.length === 0 || isLeft(key.slice(start.length))),
      ),
    );
    const reply = (await redis.send(["readHashes", 2, pointers, pointers])) as RedisReply[];
    const left = pairsOf(reply[1])
      .map(([field]) => field)
      .filter(isLeft);
    if (left.length > 0) fields[pointers] = left;
    for (const namespace of await listNamespaces(redis, names, view))
      if (!fingerprints.has(namespace.fingerprint))
        leftovers.push(await describe(redis, names, view, namespace));
  }
  return { leftovers, keys, fields };
}

/**
 * Removes it: the rows first, so that what is cut off in between is found and finished by the next
 * sweep. A run that still writes there fails with STORE_LOST.
 */
export async function sweep(
  redis: RedisConnection,
  { leftovers, keys, fields }: SweepPlan,
  { prefix }: Prefixed = {},
): Promise<void> {
  const names = createKeys(prefix);
  for (const { view, fingerprint, buckets } of leftovers)
    await unlink(
      redis,
      Array.from({ length: buckets }, (_, bucket) => names.bucket(view, fingerprint, bucket)),
    );
  await unlink(redis, keys);
  for (const [pointers, left] of Object.entries(fields)) {
    await redis.send(["hdel", pointers, ...left]);
    const [field] = pairsOf(
      ((await redis.send(["readHashes", 2, pointers, pointers])) as RedisReply[])[1],
    ).filter(([name]) => name !== pointerFields.revision);
    // Of a view that is gone nothing is left but its revision.
    if (field === undefined) await redis.send(["unlink", pointers]);
  }
}

async function describe(
  redis: RedisConnection,
  keys: StoreKeys,
  view: string,
  { fingerprint, buckets }: { readonly fingerprint: string; readonly buckets: number },
): Promise<Leftover> {
  const sizes = await redis.pipeline(
    Array.from({ length: buckets }, (_, i) => ["hlen", keys.bucket(view, fingerprint, i)] as const),
  );
  // One field of each bucket is its epoch.
  const rows = sizes.reduce<number>((sum, size) => sum + Math.max((size as number) - 1, 0), 0);
  const intervals = (await redis.send(["hkeys", keys.coverage(view, fingerprint)])) as RedisReply[];
  const ends = intervals.map((interval) => textOf(interval)?.split("/")[1] ?? "").sort();
  return { view, fingerprint, buckets, rows, newestEnd: ends.at(-1) ?? null };
}

async function scan(redis: RedisConnection, glob: string): Promise<string[]> {
  const found = new Set<string>();
  let cursor = "0";
  do {
    const [next, keys] = (await redis.send([
      "scan",
      cursor,
      "MATCH",
      glob,
      "COUNT",
      scanCount,
    ])) as [RedisReply, RedisReply[]];
    for (const key of keys) found.add(textOf(key) ?? "");
    cursor = textOf(next) ?? "0";
  } while (cursor !== "0");
  return [...found];
}

/** One command for each key, since buckets of a Cluster lie in different slots. */
async function unlink(redis: RedisConnection, keys: readonly string[]): Promise<void> {
  for (let from = 0; from < keys.length; from += keysPerCommand)
    await redis.pipeline(keys.slice(from, from + keysPerCommand).map((key) => ["unlink", key]));
}
