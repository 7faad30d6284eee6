/**
 * Whether a build is filled: whether its definitions of a view have what others of the same view
 * have committed. One rule, which `/readyz`, `plan` and `apply --fill` ask:
 *
 * - Others are the storage fingerprints that are published, or were by an older release, and the
 *   other sets of aggregates.
 * - Asked for is each complete interval of this build's schedule that meets what is committed;
 *   without a schedule each interval as others have it; of a full refresh the newest.
 * - It is there where it is committed with the states of all aggregates, or where other intervals
 *   cover it, and no other has committed it of newer files. Where all are and only the snapshot is
 *   missing, the newest is computed again.
 * - What is committed is published: an older release kept its rows in another layout.
 * - What lies in no interval of the schedule is `unplaced`: it cannot be filled, so nobody waits.
 *
 * A process waits for less than `apply --fill` runs, so that the one always ends the other: what is
 * outdated does not matter to it, nor what others commit after the last commit under these, since
 * they go on until the schedule moves over; and of definitions that were applied it awaits
 * a publish alone, since others are then history.
 */
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
import { publishableOf } from "../engine/calendar/publishable.ts";
import type { Schedule } from "../engine/calendar/schedule.ts";
import { intervalsBetween, newestInterval, nextSlotAfter } from "../engine/calendar/slots.ts";
import type { Registry } from "../engine/registry.ts";
import { ledgerInterval } from "../filling/run-facts.ts";
import { aggregateFingerprints } from "../filling/view-states.ts";
import { createKeys, parsePointerField, type PointerKind } from "../store/keys.ts";
import type { CoveredFiles } from "../store/commits.ts";
import { createLedger, type Ledger } from "../store/ledger.ts";
import { textOf } from "../store/redis/connection.ts";
import type { RedisConnection, RedisReply } from "../store/redis/types.ts";
import { readRegistry } from "../store/registry.ts";

interface Prefixed {
  readonly prefix?: string | undefined;
}

/** What a process of a build waits for before it takes traffic; `apply --fill` runs all of it. */
export interface Awaited {
  /** Intervals whose rows others had before the last commit under these definitions. */
  readonly intervals: number;
  /** Whether other sets of aggregates have a snapshot, and this one has none. */
  readonly snapshot: boolean;
  /** Whether nothing is published of what is committed. */
  readonly publish: boolean;
}

/** What a view lacks, as ranges of whole intervals, oldest first. */
export interface Unfilled {
  readonly view: View;
  readonly intervals: number;
  readonly ranges: readonly Span[];
  /** Of the intervals, those that are committed here too and have to be computed again. */
  readonly outdated: number;
  /** Whether nothing is published of what is committed. */
  readonly unpublished: boolean;
  /** Committed under other definitions, and in no interval of this build's schedule. */
  readonly unplaced: readonly Span[];
  /** Were these definitions not applied yet. */
  readonly awaited: Awaited;
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

/** What is committed of a view, under its own definitions and under others. */
interface Facts {
  readonly own: readonly Committed[];
  readonly others: readonly Committed[];
  /** Of the own, by the ledger's spelling, those with the states of all aggregates. */
  readonly whole: ReadonlySet<string>;
  /** Whether this set of aggregates has a snapshot, and whether another has one. */
  readonly hasSnapshot: boolean;
  readonly othersHaveSnapshot: boolean;
  readonly isPublished: boolean;
}

/** Every view of a build that is not filled. */
export async function readUnfilled(
  redis: RedisConnection,
  catalogue: Catalogue,
  options: Prefixed,
): Promise<Unfilled[]> {
  const unfilled: Unfilled[] = [];
  for (const view of catalogue.views.values())
    unfilled.push(judge(view, await readFacts(redis, view, options), Date.now()));
  return unfilled.filter(
    ({ intervals, unplaced, unpublished }) => intervals + unplaced.length > 0 || unpublished,
  );
}

/**
 * What a process of a build waits for of a view: of definitions that were applied, for a publish
 * alone. Cost: O(intervals committed) to read, and four round trips.
 */
export async function readAwaited(
  redis: RedisConnection,
  options: Prefixed,
  view: View,
): Promise<Awaited> {
  if (isApplied(await readRegistry(redis, options), view)) {
    const facts = await readFacts(redis, view, options);
    return { intervals: 0, snapshot: false, publish: isUnpublished(view, facts) };
  }
  return judge(view, await readFacts(redis, view, options), Date.now()).awaited;
}

function isApplied({ views }: Registry, view: View): boolean {
  const applied = views[view.name];
  return (
    applied?.fingerprint === view.fingerprint &&
    applied.aggregatesFingerprint === view.aggregatesFingerprint
  );
}

/** Calls no script, so that a server whose user may only read can ask. */
async function readFacts(redis: RedisConnection, view: View, { prefix }: Prefixed): Promise<Facts> {
  const { name, fingerprint, aggregatesFingerprint } = view;
  const keys = createKeys(prefix);
  const ledger = createLedger(redis, { prefix });
  const namesOf = async (key: string) =>
    ((await redis.send(["hkeys", key])) as readonly RedisReply[]).map((each) => textOf(each) ?? "");
  const pointers = (await namesOf(keys.pointers(name))).map(parsePointerField);
  const named = (wanted: PointerKind) =>
    pointers.flatMap((each) => (each?.kind === wanted ? each.fingerprint : []));
  const states = await Promise.all(
    aggregateFingerprints(view).map(
      async (each) => new Set(await namesOf(keys.states(name, each))),
    ),
  );
  const own = await committedUnder(ledger, name, fingerprint);
  const others: Committed[] = [];
  for (const other of new Set([...named("published"), ...named("head")]))
    if (other !== fingerprint) others.push(...(await committedUnder(ledger, name, other)));
  const sets = named("latest");
  return {
    own,
    others,
    whole: new Set(
      own.flatMap(({ key }) => (states.every((intervals) => intervals.has(key)) ? key : [])),
    ),
    hasSnapshot: sets.includes(aggregatesFingerprint),
    othersHaveSnapshot: sets.some((set) => set !== aggregatesFingerprint),
    isPublished: named("published").includes(fingerprint),
  };
}

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

/** The rule. */
function judge(view: View, facts: Facts, nowMs: number): Unfilled {
  const { own, others, whole, hasSnapshot, othersHaveSnapshot } = facts;
  const wanted = wantedIntervals(view, [...own, ...others], nowMs);
  const ownByKey = new Map(own.map((each) => [each.key, each]));
  const outdatedAt = outdatedEnds(ownByKey, others);
  const covered = joinIntervals(own.map(({ interval }) => interval));
  const isCovered = (interval: Interval) => covered.some((each) => contains(each, interval));
  const keyOf = (interval: Interval) => formatInterval(ledgerInterval(view, interval));
  const withoutRows: Interval[] = [];
  const again: Interval[] = [];
  const lacking = wanted.filter((interval) => {
    const key = keyOf(interval);
    if (!ownByKey.has(key)) {
      // Another grid of this build may cover it.
      if (isCovered(interval)) return false;
      withoutRows.push(interval);
      return true;
    }
    if (!whole.has(key)) return true;
    if (!outdatedAt.has(interval.endMs)) return false;
    again.push(interval);
    return true;
  });
  const unpublished = isUnpublished(view, facts);
  const lacksSnapshot = view.aggregates.length > 0 && othersHaveSnapshot && !hasSnapshot;
  if (lacksSnapshot && lacking.length === 0) {
    // Every state is there, and a run merges them.
    const newest = wanted.filter((interval) => ownByKey.has(keyOf(interval))).slice(-1);
    lacking.push(...newest);
    again.push(...newest);
  }
  return {
    view,
    intervals: lacking.length,
    // Without a schedule nothing but the intervals themselves says where they end.
    ranges: view.schedule === undefined ? lacking.map(endsOf) : joinIntervals(lacking).map(endsOf),
    outdated: again.length,
    unplaced: unplacedOf(view, facts, wanted, nowMs),
    awaited: {
      intervals: awaitedOf(withoutRows, own, others),
      snapshot: lacksSnapshot && lacking.length > 0,
      publish: unpublished,
    },
    unpublished,
  };
}

/** Whether something is committed that could be served, and nothing is. */
function isUnpublished(view: View, { own, isPublished }: Facts): boolean {
  const committed = own.map(({ interval }) => interval);
  return !isPublished && publishableOf(view, committed).endMs !== null;
}

/** How many of what has no rows others had before the last commit under these definitions. */
function awaitedOf(
  withoutRows: readonly Interval[],
  own: readonly Committed[],
  others: readonly Committed[],
): number {
  const lastMs = own.reduce((last, { atMs }) => Math.max(last, atMs), -Infinity);
  const before = joinIntervals(
    others.filter(({ atMs }) => own.length === 0 || atMs <= lastMs).map(({ interval }) => interval),
  );
  return withoutRows.filter((interval) => before.some((each) => overlaps(each, interval))).length;
}

/** The intervals of this build that meet what is committed, oldest first. */
function wantedIntervals(view: View, committed: readonly Committed[], nowMs: number): Interval[] {
  const byKey = new Map(committed.map(({ key, interval }) => [key, interval]));
  const intervals = [...byKey.values()].sort((a, b) => a.endMs - b.endMs);
  const newest = intervals.at(-1);
  if (newest === undefined) return [];
  const { schedule } = view;
  if (schedule === undefined) return view.rows.isFullRefresh ? [newest] : intervals;
  if (view.rows.isFullRefresh) {
    const whole = newestInterval(schedule, Math.min(newest.endMs + schedule.offsetMs, nowMs));
    return whole === null ? [] : [whole];
  }
  const byEnd = new Map<number, Interval>();
  for (const each of joinIntervals(intervals))
    for (const own of intervalsMeeting(schedule, each, nowMs)) byEnd.set(own.endMs, own);
  return [...byEnd.values()];
}

/** The intervals of a schedule, complete now, that have time in common with another. */
function intervalsMeeting(schedule: Schedule, other: Interval, nowMs: number): Interval[] {
  const { offsetMs } = schedule;
  const before = newestInterval(schedule, other.startMs + offsetMs);
  const after = nextSlotAfter(schedule, other.endMs - 1 + offsetMs);
  const completeMs = completeUntil(schedule, nowMs);
  const toMs = Math.min(after === undefined ? other.endMs : after - offsetMs, completeMs);
  return intervalsBetween(schedule, before?.endMs ?? schedule.startMs, toMs).filter((own) =>
    overlaps(own, other),
  );
}

/** Where what is complete of a schedule ends. */
function completeUntil(schedule: Schedule, nowMs: number): number {
  return newestInterval(schedule, nowMs)?.endMs ?? schedule.startMs;
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

/** What is committed elsewhere, was to come to be filled here, and is in no interval of this build. */
function unplacedOf(
  view: View,
  { own, others, whole }: Facts,
  wanted: readonly Interval[],
  nowMs: number,
): Span[] {
  const { schedule } = view;
  if (schedule === undefined) return [];
  const covered = own.map(({ interval }) => interval);
  if (view.rows.isFullRefresh) {
    const newest = others
      .map(({ interval }) => interval)
      .sort((a, b) => a.endMs - b.endMs)
      .at(-1);
    const isThere = newest === undefined || covered.some(({ endMs }) => endMs >= newest.endMs);
    return isThere || wanted.length > 0 ? [] : [endsOf(newest)];
  }
  const withoutStates = own.filter(({ key }) => !whole.has(key));
  // The intervals that are not complete yet come by themselves.
  const toCome = { startMs: completeUntil(schedule, nowMs), endMs: Infinity };
  return [
    ...without(others, [...wanted, ...covered, toCome]),
    ...without(withoutStates, [...wanted, toCome]),
  ].map(endsOf);
}

/** The time of what is committed, less that of some intervals. */
function without(committed: readonly Committed[], less: readonly Interval[]): Interval[] {
  let left = joinIntervals(committed.map(({ interval }) => interval));
  for (const { startMs, endMs } of joinIntervals(less))
    left = left.flatMap((each) =>
      [
        { startMs: each.startMs, endMs: Math.min(each.endMs, startMs) },
        { startMs: Math.max(each.startMs, endMs), endMs: each.endMs },
      ].filter((part) => part.startMs < part.endMs),
    );
  return left;
}
