/**
 * What definitions that nobody uses any more have left in Redis: rows, ledger entries and partial
 * states. Generations stay, and so do the snapshots of a view that is still there, since a request
 * may pin one.
 */
import { endsOf } from "../engine/calendar/interval.ts";
import type { Registry } from "../engine/registry.ts";
import { createKeys, pointerFields } from "./keys.ts";
import { createLedger } from "./ledger.ts";
import { randomId } from "./namespace.ts";
import { type RedisConnection, type RedisReply, textOf } from "./redis/connection.ts";
import { pairsOf } from "./redis/pairs.ts";

/** What a view has left of one storage fingerprint. */
export interface Leftover {
  readonly view: string;
  readonly fingerprint: string;
  /** Rows and tombstones. */
  readonly rows: number;
  /** End of the newest interval committed under it, ISO 8601; null where there is none. */
  readonly newestEnd: string | null;
  /** When the last run under it ended, ISO 8601; null where none is known. */
  readonly lastRun: string | null;
}

/** What to remove of a view. */
interface ViewSweep {
  readonly view: string;
  /** Of the rows, wherever their buckets are. */
  readonly buckets: readonly string[];
  /** Of the ledger. */
  readonly keys: readonly string[];
  /** Generations of what is removed; they are moved on. */
  readonly generations: readonly string[];
  /** Of the pointers hash. */
  readonly fields: readonly string[];
}

/** What a sweep finds. */
export interface SweepPlan {
  readonly leftovers: readonly Leftover[];
  /** Left alone, since a run ended under them not long ago. */
  readonly recent: readonly Leftover[];
  readonly views: readonly ViewSweep[];
}

/** What is kept, whatever its age, and how old the last run of all else must be. */
export interface SweepRule {
  readonly kept: readonly Registry[];
  readonly olderThanMs: number;
  readonly nowMs: number;
}

type Prefixed = { readonly prefix?: string | undefined };

const scanCount = 1000;
const commandsPerPipeline = 1000;

/**
 * Finds what a rule removes. A key that moves within a Cluster meanwhile may be missed; the next
 * sweep finds it. Cost: some scans of all keys.
 */
export async function planSweep(
  redis: RedisConnection,
  { kept, olderThanMs, nowMs }: SweepRule,
  { prefix }: Prefixed = {},
): Promise<SweepPlan> {
  const names = createKeys(prefix);
  const leftovers: Leftover[] = [];
  const recent: Leftover[] = [];
  const views: ViewSweep[] = [];
  for (const pointers of (await scan(redis, names.everyPointers)).sort()) {
    const view = /\{(.*)\}/.exec(pointers)?.[1] ?? "";
    const builds = kept.flatMap((registry) => registry.views[view] ?? []);
    const fingerprints = new Set(builds.map((build) => build.fingerprint));
    const buckets = await bucketsOf(redis, names.everyRowKey(view));
    const hash = (await redis.send(["readHashes", 2, pointers, pointers])) as RedisReply[];
    const all = pairsOf(hash[1]).map(([field]) => field);
    const found = (await scan(redis, names.everyKey(view))).sort();
    const start = names.everyKey(view).slice(0, -1);
    const parts = found.map((key) => [key, ...key.slice(start.length).split(":")] as const);

    const unused = new Set(
      [...buckets.keys(), ...all.map((field) => field.split(":")[1] ?? "")].filter(
        (each) => each !== "" && !fingerprints.has(each),
      ),
    );
    for (const [, kind, fingerprint = ""] of parts)
      if (kind === "coverage" && !fingerprints.has(fingerprint)) unused.add(fingerprint);
    let isRecent = false;
    for (const fingerprint of unused) {
      const leftover = await describe(redis, prefix, view, fingerprint, buckets.get(fingerprint));
      if (leftover === null) continue;
      const age = leftover.lastRun === null ? Infinity : nowMs - Date.parse(leftover.lastRun);
      if (age >= olderThanMs) leftovers.push(leftover);
      else {
        isRecent = true;
        recent.push(leftover);
        fingerprints.add(fingerprint);
      }
    }
    // Which aggregates a build has that is no longer known cannot be told: while one is kept for
    // its age, so are all.
    const aggregates = new Set(builds.flatMap((build) => build.aggregates));
    const sets = new Set(builds.map((build) => build.aggregatesFingerprint));
    const isLeft = (kind = "", fingerprint = ""): boolean => {
      switch (kind) {
        case "coverage":
        case "begun":
        case "outcomes":
        case "namespace":
        case "head":
          return !fingerprints.has(fingerprint);
        case "states":
          return !isRecent && !aggregates.has(fingerprint);
        case "latest":
          return !isRecent && !sets.has(fingerprint);
        case "runs":
        case "snapshots":
          return builds.length === 0 && !isRecent;
        default:
          return false;
      }
    };
    const keys = parts.filter(([, ...name]) => isLeft(...name)).map(([key]) => key);
    const sweep: ViewSweep = {
      view,
      buckets: [...buckets].flatMap(([each, of]) => (fingerprints.has(each) ? [] : of)),
      keys,
      generations: parts
        .filter(
          ([, kind, fingerprint = ""]) =>
            kind === "generations" && keys.includes(names.coverage(view, fingerprint)),
        )
        .map(([key]) => key),
      fields: all.filter(
        (field) => field !== pointerFields.revision && isLeft(...field.split(":")),
      ),
    };
    if (sweep.buckets.length + sweep.keys.length + sweep.fields.length > 0) views.push(sweep);
  }
  return { leftovers, recent, views };
}

/**
 * Removes it: the rows first, so that what is cut off in between is found and finished by the next
 * sweep. A run that still writes there fails.
 */
export async function sweep(
  redis: RedisConnection,
  { views }: SweepPlan,
  { prefix }: Prefixed = {},
): Promise<void> {
  const names = createKeys(prefix);
  for (const { view, buckets, keys, generations, fields } of views) {
    await inPipelines(
      redis,
      buckets.map((key) => ["unlink", key] as const),
    );
    await redis.send([
      "sweepView",
      1 + keys.length + generations.length,
      names.pointers(view),
      ...keys,
      ...generations,
      keys.length,
      randomId(),
      ...fields,
    ]);
  }
}

/** Null where nothing but generations is left of it. */
async function describe(
  redis: RedisConnection,
  prefix: string | undefined,
  view: string,
  fingerprint: string,
  buckets: readonly string[] | undefined,
): Promise<Leftover | null> {
  if (!/^[0-9a-f]+$/.test(fingerprint)) return null;
  const ledger = createLedger(redis, { prefix });
  const [{ coverage }, outcomes] = [
    await ledger.readLedger(view, fingerprint),
    await ledger.readOutcomes(view, fingerprint),
  ];
  if (buckets === undefined && coverage.size === 0) return null;
  const sizes = await inPipelines(redis, buckets?.map((key) => ["hlen", key] as const) ?? []);
  // One field of each bucket and shard is its epoch.
  const rows = sizes.reduce<number>((sum, size) => sum + Math.max((size as number) - 1, 0), 0);
  const ends = [...coverage.keys()].map((interval) => endsOf(interval).end).sort();
  const lastMs = Math.max(...[...outcomes.values()].map(({ finishedAtMs }) => finishedAtMs));
  return {
    view,
    fingerprint,
    rows,
    newestEnd: ends.at(-1) ?? null,
    lastRun: Number.isFinite(lastMs) ? new Date(lastMs).toISOString() : null,
  };
}

/** Keys of the shards and buckets that are there, by fingerprint. */
async function bucketsOf(redis: RedisConnection, glob: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const key of (await scan(redis, glob)).sort()) {
    const fingerprint = /\/([0-9a-f]+):\d+\}(?::\d+)?$/.exec(key)?.[1];
    if (fingerprint === undefined) continue;
    const own = found.get(fingerprint);
    if (own === undefined) found.set(fingerprint, [key]);
    else own.push(key);
  }
  return found;
}

async function scan(redis: RedisConnection, glob: string): Promise<string[]> {
  const found = new Set<string>();
  for (const { send } of await redis.masters()) {
    let cursor = "0";
    do {
      const command = ["scan", cursor, "MATCH", glob, "COUNT", scanCount] as const;
      const [next, keys] = (await send(command)) as [RedisReply, RedisReply[]];
      for (const key of keys) found.add(textOf(key) ?? "");
      cursor = textOf(next) ?? "0";
    } while (cursor !== "0");
  }
  return [...found];
}

async function inPipelines(
  redis: RedisConnection,
  commands: readonly (readonly [string, string])[],
): Promise<RedisReply[]> {
  const replies: RedisReply[] = [];
  for (let from = 0; from < commands.length; from += commandsPerPipeline)
    replies.push(...(await redis.pipeline(commands.slice(from, from + commandsPerPipeline))));
  return replies;
}
