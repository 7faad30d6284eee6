/** Whether a build's definitions of a view have what others of the same view had committed. */
import { type Interval, parseInterval } from "../engine/calendar/interval.ts";
import type { Registry } from "../engine/registry.ts";
import { createKeys, pointerFields } from "../store/keys.ts";
import { createLedger, type Ledger } from "../store/ledger.ts";
import type { RedisConnection, RedisReply } from "../store/redis/connection.ts";
import { textOf } from "../store/redis/connection.ts";
import { readRegistry } from "../store/registry.ts";

/** The definitions of a view in a build. */
interface Definitions {
  readonly name: string;
  readonly fingerprint: string;
  readonly aggregatesFingerprint: string;
  readonly aggregates: readonly unknown[];
}

/** What a view lacks of what other definitions of it have. */
export interface Lacking {
  /** Committed under other definitions before the last commit under these, which do not have them. */
  readonly intervals: number;
  /** Whether other sets of aggregates have a snapshot, and this one has none. */
  readonly snapshot: boolean;
}

/**
 * What the definitions of a build lack; nothing of a view that was applied in them, since others
 * are then history. What others commit after the last commit under these does not count: they go
 * on until the schedule moves over. Cost: a round trip, and two for each other fingerprint.
 */
export async function readLacking(
  redis: RedisConnection,
  { prefix }: { readonly prefix?: string | undefined },
  view: Definitions,
): Promise<Lacking> {
  const keys = createKeys(prefix);
  const ledger = createLedger(redis, { prefix });
  const [reply, registry] = await Promise.all([
    redis.send(["hkeys", keys.pointers(view.name)]),
    readRegistry(redis, { prefix }),
  ]);
  if (isApplied(registry, view)) return { intervals: 0, snapshot: false };
  const fields = ((reply ?? []) as readonly RedisReply[]).map((field) => textOf(field) ?? "");
  const named = (start: string) =>
    fields.filter((field) => field.startsWith(start)).map((field) => field.slice(start.length));
  const sets = named(pointerFields.latest(""));
  return {
    snapshot:
      view.aggregates.length > 0 && sets.length > 0 && !sets.includes(view.aggregatesFingerprint),
    intervals: await lackingIntervals(
      ledger,
      view,
      named(pointerFields.head("")).filter((fingerprint) => fingerprint !== view.fingerprint),
    ),
  };
}

function isApplied({ views }: Registry, view: Definitions): boolean {
  const applied = views[view.name];
  return (
    applied?.fingerprint === view.fingerprint &&
    applied.aggregatesFingerprint === view.aggregatesFingerprint
  );
}

async function lackingIntervals(
  ledger: Ledger,
  { name, fingerprint }: Definitions,
  others: readonly string[],
): Promise<number> {
  if (others.length === 0) return 0;
  const own = await committedOf(ledger, name, fingerprint);
  const lastMs = own.reduce((last, { atMs }) => Math.max(last, atMs), -Infinity);
  const found = new Set<string>();
  for (const other of others)
    for (const { key, interval, atMs } of await committedOf(ledger, name, other)) {
      const isLater = own.length > 0 && atMs > lastMs;
      if (!isLater && !isCovered(interval, own)) found.add(key);
    }
  return found.size;
}

interface Committed {
  readonly key: string;
  readonly interval: Interval;
  /** When its last run ended. */
  readonly atMs: number;
}

/** In order of time. */
async function committedOf(ledger: Ledger, view: string, fingerprint: string) {
  const [coverage, outcomes] = await Promise.all([
    ledger.readCoverage(view, fingerprint),
    ledger.readOutcomes(view, fingerprint),
  ]);
  return [...coverage.keys()]
    .map((key): Committed => {
      return { key, interval: parseInterval(key), atMs: outcomes.get(key)?.finishedAtMs ?? 0 };
    })
    .sort((a, b) => a.interval.startMs - b.interval.startMs);
}

/** Whether intervals, in order of time, cover one without a gap. */
function isCovered({ startMs, endMs }: Interval, own: readonly Committed[]): boolean {
  let reached = startMs;
  for (const { interval } of own) {
    if (interval.startMs > reached) break;
    reached = Math.max(reached, interval.endMs);
    if (reached >= endMs) return true;
  }
  return false;
}
