/**
 * Whether a build is filled: whether its definitions of a view have what others of the same view
 * have committed. Two ask that, and each has a rule of its own:
 *
 * |                        | /readyz: `readLacking`          | plan, apply --fill: `readUnfilled`   |
 * | ---------------------- | ------------------------------- | ------------------------------------ |
 * | others are definitions | with a head                     | with a namespace                     |
 * | where these are those  | nothing lacks                   | it is asked all the same             |
 * | that were applied      |                                 |                                      |
 * | asked for is           | each interval as others have it | each of this build that meets one of |
 * |                        |                                 | these; of a full refresh the newest  |
 * | not asked for is       | what they committed after the   | what lies in no interval of the      |
 * |                        | last commit under these         | schedule: it is `unplaced`           |
 * | there is               | what any intervals cover        | the interval with all its states, or |
 * |                        |                                 | what other intervals cover           |
 * | newer files of others  | do not matter                   | make an interval lacking             |
 * | aggregates lack        | where others have a snapshot    | where the interval has no state      |
 */
import { backfillIntervals } from "../filling/backfill-range.ts";
import type { Catalogue, View } from "../engine/catalogue.ts";
import {
  contains,
  endsOf,
  formatInterval,
  type Interval,
  joinIntervals,
  overlaps,
  parseInterval,
  type Span,
} from "../engine/calendar/interval.ts";
import type { Registry } from "../engine/registry.ts";
import { createKeys, parsePointerField, type PointerKind } from "../store/keys.ts";
import { type CoveredFiles, createLedger, type Ledger } from "../store/ledger.ts";
import { createOnlineStore } from "../store/online-store.ts";
import { textOf } from "../store/redis/connection.ts";
import { readRegistry } from "../store/registry.ts";
import { readGrid } from "./read-grid.ts";
import type { RedisConnection, RedisReply } from "../store/redis/types.ts";
import { ledgerInterval } from "../filling/run-facts.ts";

/** The definitions of a view in a build. */
type Definitions = Pick<View, "name" | "fingerprint" | "aggregatesFingerprint" | "aggregates">;

interface Prefixed {
  readonly prefix?: string | undefined;
}

/** What a view lacks of what other definitions of it have, by the rule of /readyz. */
export interface Lacking {
  /** Committed under other definitions before the last commit under these, which do not have them. */
  readonly intervals: number;
  /** Whether other sets of aggregates have a snapshot, and this one has none. */
  readonly snapshot: boolean;
}

/** What a view lacks by the rule of `apply --fill`, as ranges of whole intervals, oldest first. */
export interface Unfilled {
  readonly view: View;
  readonly intervals: number;
  readonly ranges: readonly Span[];
  /** Of the intervals, those that are committed here too, of files that have changed since. */
  readonly outdated: number;
  /** Committed under other definitions, and in no interval of this build's schedule. */
  readonly unplaced: readonly Span[];
}

/** An interval as some definitions have committed it. */
interface Committed {
  /** As the ledger spells it. */
  readonly key: string;
  readonly interval: Interval;
  readonly files: CoveredFiles | undefined;
  /** When its last run ended. */
  readonly atMs: number;
}

/** What is committed under a definition of a view: the one reading of it, for both rules. */
async function committedUnder(
  ledger: Ledger,
  view: string,
  fingerprint: string,
): Promise<Committed[]> {
  const [coverage, outcomes] = await Promise.all([
    ledger.readCoverage(view, fingerprint),
    ledger.readOutcomes(view, fingerprint),
  ]);
  return [...coverage].map(([key, { files }]) => {
    const atMs = outcomes.get(key)?.finishedAtMs ?? 0;
    return { key, interval: parseInterval(key), files, atMs };
  });
}

/** Tells whether all the time of an interval is committed, in intervals of whatever grid. */
function coverOf(committed: readonly Committed[]): (interval: Interval) => boolean {
  const covered = joinIntervals(committed.map(({ interval }) => interval));
  return (interval) => covered.some((each) => contains(each, interval));
}

/**
 * The rule of /readyz: what the definitions of a build lack; nothing of a view that was applied in
 * them, since others are then history. What others commit after the last commit under these does
 * not count: they go on until the schedule moves over. Cost: a round trip, and two for each other
 * fingerprint; calls no script.
 */
export async function readLacking(
  redis: RedisConnection,
  { prefix }: Prefixed,
  view: Definitions,
): Promise<Lacking> {
  const keys = createKeys(prefix);
  const [reply, registry] = await Promise.all([
    redis.send(["hkeys", keys.pointers(view.name)]),
    readRegistry(redis, { prefix }),
  ]);
  if (isApplied(registry, view)) return { intervals: 0, snapshot: false };
  const fields = ((reply ?? []) as readonly RedisReply[]).map((field) => textOf(field) ?? "");
  const named = (wanted: PointerKind) =>
    fields
      .map(parsePointerField)
      .flatMap((each) => (each?.kind === wanted ? each.fingerprint : []));
  const sets = named("latest");
  return {
    snapshot:
      view.aggregates.length > 0 && sets.length > 0 && !sets.includes(view.aggregatesFingerprint),
    intervals: await lackingIntervals(
      createLedger(redis, { prefix }),
      view,
      named("head").filter((fingerprint) => fingerprint !== view.fingerprint),
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
  const own = await committedUnder(ledger, name, fingerprint);
  const isCovered = coverOf(own);
  const lastMs = own.reduce((last, { atMs }) => Math.max(last, atMs), -Infinity);
  const found = new Set<string>();
  for (const other of others)
    for (const { key, interval, atMs } of await committedUnder(ledger, name, other)) {
      const isLater = own.length > 0 && atMs > lastMs;
      if (!isLater && !isCovered(interval)) found.add(key);
    }
  return found.size;
}

/** Every view of a build that `apply --fill` finds unfilled. */
export async function readUnfilled(
  redis: RedisConnection,
  catalogue: Catalogue,
  options: Prefixed,
): Promise<Unfilled[]> {
  const unfilled: Unfilled[] = [];
  for (const view of catalogue.views.values())
    unfilled.push(await unfilledOf(redis, catalogue, view, options));
  return unfilled.filter(({ intervals, unplaced }) => intervals + unplaced.length > 0);
}

/**
 * The rule of `apply --fill`: compares what is committed under every definition of a view that the
 * store still has with what is committed whole under this build's: an interval is missing, or was
 * computed from newer files there. Of a full refresh only the newest counts.
 */
async function unfilledOf(
  redis: RedisConnection,
  catalogue: Catalogue,
  view: View,
  { prefix }: Prefixed,
): Promise<Unfilled> {
  const ledger = createLedger(redis, { prefix });
  const own = await committedUnder(ledger, view.name, view.fingerprint);
  const others = await committedByOthers(redis, view, { prefix });
  const wanted = wantedIntervals(view, [...own, ...others]);
  const cells = await readGrid(ledger, catalogue, view, wanted);
  const ownByKey = new Map(own.map((each) => [each.key, each]));
  const outdated = outdatedEnds(ownByKey, others);
  const isCovered = coverOf(own);
  const lacking = cells
    .filter(({ interval, rows }) =>
      rows === null
        ? // Another grid of this build covers it.
          ownByKey.has(formatInterval(ledgerInterval(view, interval))) || !isCovered(interval)
        : outdated.has(interval.endMs),
    )
    .map(({ interval }) => interval);
  return {
    view,
    intervals: lacking.length,
    // Without a schedule nothing but the intervals themselves says where they end.
    ranges: view.schedule === undefined ? lacking.map(endsOf) : joinIntervals(lacking).map(endsOf),
    outdated: lacking.filter(({ endMs }) => outdated.has(endMs)).length,
    unplaced: view.rows.isFullRefresh ? [] : unplacedOf(others, wanted, isCovered),
  };
}

async function committedByOthers(
  redis: RedisConnection,
  view: View,
  { prefix }: Prefixed,
): Promise<Committed[]> {
  const ledger = createLedger(redis, { prefix });
  const namespaces = await createOnlineStore(redis, { prefix }).listNamespaces(view.name);
  const others: Committed[] = [];
  for (const { fingerprint } of namespaces)
    if (fingerprint !== view.fingerprint)
      others.push(...(await committedUnder(ledger, view.name, fingerprint)));
  return others;
}

/** The intervals of this build that hold what is committed, oldest first. */
function wantedIntervals(view: View, committed: readonly Committed[]): Interval[] {
  const intervals = committed.map(({ interval }) => interval).sort((a, b) => a.endMs - b.endMs);
  const newest = intervals.at(-1);
  if (newest === undefined) return [];
  if (view.schedule === undefined) return view.rows.isFullRefresh ? [newest] : intervals;
  const from = Math.min(...intervals.map(({ startMs }) => startMs));
  const range = { from: new Date(from).toISOString(), to: new Date(newest.endMs).toISOString() };
  const complete = backfillIntervals(view, range, Date.now());
  return complete.filter((own) => intervals.some((each) => overlaps(each, own)));
}

/** Ends of the intervals that others have committed of newer files. */
function outdatedEnds(
  own: ReadonlyMap<string, Committed>,
  others: readonly Committed[],
): ReadonlySet<number> {
  return new Set(
    others.flatMap((other) => {
      const mine = own.get(other.key);
      return mine !== undefined && isNewer(other, mine) ? [other.interval.endMs] : [];
    }),
  );
}

/** Whether one commit was made of newer files than another; of files of one time, the later is. */
function isNewer(one: Committed, other: Committed): boolean {
  if (one.files?.hash === other.files?.hash) return false;
  const [asOf, otherAsOf] = [one.files?.as_of ?? 0, other.files?.as_of ?? 0];
  return asOf === otherAsOf ? one.atMs > other.atMs : asOf > otherAsOf;
}

/** What others have committed and neither an interval of this build nor what it has holds. */
function unplacedOf(
  others: readonly Committed[],
  wanted: readonly Interval[],
  isCovered: (interval: Interval) => boolean,
): Span[] {
  const placed = joinIntervals(wanted);
  return joinIntervals(others.map(({ interval }) => interval))
    .filter((each) => !placed.some((wider) => contains(wider, each)) && !isCovered(each))
    .map(endsOf);
}
