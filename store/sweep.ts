/**
 * What definitions that nobody uses any more have left in Redis: rows, ledger entries and partial
 * states. Generations stay, and so do the snapshots of a view that is still there, since a request
 * may pin one.
 */
import { endsOf } from "../engine/calendar/interval.ts";
import type { RegisteredView, Registry } from "../engine/registry.ts";
import {
  createKeys,
  type LedgerKind,
  type Named,
  parsePointerField,
  type PointerKind,
  type StoreKeys,
  type TableKind,
} from "./keys.ts";
import { createLedger } from "./ledger.ts";
import { randomId } from "./namespace.ts";
import { textOf } from "./redis/connection.ts";
import { pairsOf } from "./redis/pairs.ts";
import type { RedisConnection, RedisReply } from "./redis/types.ts";

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

/** An entry of a view that Redis holds, and what its name says. */
type Held<K extends string> = Named<K> & { readonly name: string };

/** All that Redis holds of a view, but for what no kind of this build is spelled as. */
interface ViewEntries {
  readonly view: string;
  readonly tables: readonly Held<TableKind>[];
  readonly keys: readonly Held<LedgerKind>[];
  readonly fields: readonly Held<PointerKind>[];
}

/** What is in use of a view, by name. */
interface InUse {
  readonly storage: ReadonlySet<string>;
  readonly aggregates: ReadonlySet<string>;
  /** Storage fingerprints that are published. */
  readonly published: ReadonlySet<string>;
  /** Sets of aggregates. */
  readonly sets: ReadonlySet<string>;
  readonly isViewKept: boolean;
  /**
   * Whether definitions are kept for the age of their runs alone. Which aggregates those have
   * cannot be told any more, so all are kept.
   */
  readonly isRecent: boolean;
}

/**
 * Finds what a rule removes. A key that moves within a Cluster meanwhile may be missed; the next
 * sweep finds it. Cost: some scans of all keys.
 */
export async function planSweep(
  redis: RedisConnection,
  rule: SweepRule,
  { prefix }: Prefixed = {},
): Promise<SweepPlan> {
  const names = createKeys(prefix);
  const leftovers: Leftover[] = [];
  const recent: Leftover[] = [];
  const views: ViewSweep[] = [];
  for (const pointers of (await scan(redis, names.everyPointers)).sort()) {
    const view = names.viewOfPointers(pointers);
    if (view === undefined) continue;
    const builds = rule.kept.flatMap((registry) => registry.views[view] ?? []);
    const entries = await readEntries(redis, names, view);
    const found = await leftoversOf(redis, prefix, entries, builds);
    const young = found.filter((each) => ageOf(each, rule.nowMs) < rule.olderThanMs);
    leftovers.push(...found.filter((each) => !young.includes(each)));
    recent.push(...young);
    const sweep = sweepOf(names, entries, inUseOf(entries, builds, young));
    if (sweep.buckets.length + sweep.keys.length + sweep.fields.length > 0) views.push(sweep);
  }
  return { leftovers, recent, views };
}

async function readEntries(
  redis: RedisConnection,
  names: StoreKeys,
  view: string,
): Promise<ViewEntries> {
  const pointers = names.pointers(view);
  const tables: string[] = [];
  for (const glob of names.everyTableKey(view))
    // One by one: a call takes no more arguments than the stack has room for.
    for (const key of await scan(redis, glob)) tables.push(key);
  const hash = (await redis.send(["readHashes", 2, pointers, pointers])) as RedisReply[];
  const fields = pairsOf(hash[1]).map(([field]) => field);
  const keys = await scan(redis, names.everyKey(view));
  return {
    view,
    tables: heldOf(tables.sort(), (key) => names.parseTableKey(view, key)),
    keys: heldOf(keys.sort(), (key) => names.parseLedgerKey(view, key)),
    fields: heldOf(fields, parsePointerField),
  };
}

/** What can be read back. All else is of a version that we do not know, and left alone. */
function heldOf<K extends string>(
  names: readonly string[],
  parse: (name: string) => Named<K> | undefined,
): Held<K>[] {
  return names.flatMap((name) => {
    const named = parse(name);
    return named === undefined ? [] : { ...named, name };
  });
}

/** What is there of definitions that no build has. */
async function leftoversOf(
  redis: RedisConnection,
  prefix: string | undefined,
  { view, tables, fields, keys }: ViewEntries,
  builds: readonly RegisteredView[],
): Promise<Leftover[]> {
  const unused = new Set(
    [...tables, ...fields, ...keys]
      .filter(({ keptBy }) => keptBy === "storage")
      .map(({ fingerprint }) => fingerprint),
  );
  for (const { fingerprint } of builds) unused.delete(fingerprint);
  const found: Leftover[] = [];
  for (const fingerprint of unused) {
    const own = tables.filter((each) => each.fingerprint === fingerprint);
    const leftover = await describe(
      redis,
      prefix,
      view,
      fingerprint,
      own.map(({ name }) => name),
    );
    if (leftover !== null) found.push(leftover);
  }
  return found;
}

/** Since its last run ended. */
function ageOf({ lastRun }: Leftover, nowMs: number): number {
  return lastRun === null ? Infinity : nowMs - Date.parse(lastRun);
}

function inUseOf(
  { fields }: ViewEntries,
  builds: readonly RegisteredView[],
  recent: readonly Leftover[],
): InUse {
  const published = fields.filter(({ kind }) => kind === "published");
  return {
    published: new Set(published.map(({ fingerprint }) => fingerprint)),
    storage: new Set([...builds, ...recent].map(({ fingerprint }) => fingerprint)),
    aggregates: new Set(builds.flatMap(({ aggregates }) => aggregates)),
    sets: new Set(builds.map(({ aggregatesFingerprint }) => aggregatesFingerprint)),
    isViewKept: builds.length > 0,
    isRecent: recent.length > 0,
  };
}

function isInUse({ keptBy, fingerprint }: Named<string>, inUse: InUse): boolean {
  switch (keptBy) {
    case "storage":
      return inUse.storage.has(fingerprint);
    case "aggregate":
      return inUse.isRecent || inUse.aggregates.has(fingerprint);
    case "aggregateSet":
      return inUse.isRecent || inUse.sets.has(fingerprint);
    case "view":
      return inUse.isRecent || inUse.isViewKept;
    case "olderLayout":
      return inUse.storage.has(fingerprint) && !inUse.published.has(fingerprint);
    case "always":
      return true;
  }
}

function sweepOf(
  names: StoreKeys,
  { view, tables, keys, fields }: ViewEntries,
  inUse: InUse,
): ViewSweep {
  const leftOf = (held: readonly Held<string>[]) =>
    held.filter((each) => !isInUse(each, inUse)).map(({ name }) => name);
  const left = leftOf(keys);
  return {
    view,
    buckets: leftOf(tables),
    keys: left,
    generations: keys
      .filter(
        ({ kind, fingerprint }) =>
          kind === "generations" && left.includes(names.coverage(view, fingerprint)),
      )
      .map(({ name }) => name),
    fields: leftOf(fields),
  };
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
  buckets: readonly string[],
): Promise<Leftover | null> {
  const ledger = createLedger(redis, { prefix });
  const [{ coverage }, outcomes] = [
    await ledger.readLedger(view, fingerprint),
    await ledger.readOutcomes(view, fingerprint),
  ];
  if (buckets.length === 0 && coverage.size === 0) return null;
  const sizes = await inPipelines(
    redis,
    buckets.map((key) => ["hlen", key] as const),
  );
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
