/** What the offline store has of a view and Redis lacks, and the commands that fill it again. */
import { readHistory } from "../filling/publish/plan.ts";
import { readManifest } from "../filling/run-facts.ts";
import type { View } from "../engine/catalogue.ts";
import { errorCodeOf, messageOf } from "../engine/errors.ts";
import {
  contains,
  endsOf,
  formatInterval,
  type Interval,
  joinIntervals,
  overlaps,
  parseInterval,
  showSpan,
  showTime,
} from "../engine/calendar/interval.ts";
import { invocation } from "../engine/invocation.ts";
import { intervalsBetween, newestInterval } from "../engine/calendar/slots.ts";
import type { Ledger, LedgerEntry } from "../store/ledger.ts";
import type { IntervalRef } from "../store/offline/keys.ts";
import { type OfflineFolders, openOfflineFolders } from "../store/offline/offline-folders.ts";
import { isBehind } from "../store/revision.ts";
import type { ListFiles } from "./changed-files.ts";
import { backfillLine, chainOf, materializeLine, publishLine } from "./command-lines.ts";
import type { Finding, Judgement } from "./findings.ts";
import { countOf } from "../engine/words.ts";

/** What Redis lacks of what was committed. */
export interface LostIntervals {
  /** Oldest first; of a full refresh at most the newest. */
  readonly intervals: readonly Interval[];
  /** Whether it is behind a commit or a publish that the offline store knows of. */
  readonly isBehind: boolean;
  /** Why it cannot be told, in words; null where it can. */
  readonly unknown: string | null;
  /** Those whose manifest cannot be read, in Redis or not, and why. */
  readonly broken: readonly BrokenManifest[];
  /** Of a view that has nothing, where its files can be looked for. */
  readonly files?: FilesFound | undefined;
}

/** A manifest that cannot be read. */
interface BrokenManifest {
  readonly interval: Interval;
  readonly reason: string;
}

/** Complete intervals of a schedule whose files are there, oldest first. */
export interface FilesFound {
  readonly intervals: readonly Interval[];
  /** How many of the newest were looked at. */
  readonly looked: number;
}

/** A look at the files of each costs some calls of the file system. */
const lookedAt = 1000;

/** Looks for the files of a view's intervals; undefined for one without a schedule of intervals. */
export async function findFiles(
  view: View,
  listFiles: ListFiles,
  nowMs: number,
): Promise<FilesFound | undefined> {
  const { schedule } = view;
  if (schedule === undefined || view.rows.isFullRefresh) return undefined;
  const newest = newestInterval(schedule, nowMs);
  if (newest === null) return undefined;
  const complete = intervalsBetween(schedule, schedule.startMs, newest.endMs).slice(-lookedAt);
  const intervals: Interval[] = [];
  for (const each of complete) if ((await listFiles(view, each)).length > 0) intervals.push(each);
  return { intervals, looked: complete.length };
}

type Coverage = LedgerEntry["coverage"];

/**
 * Compares what Redis has committed of a view with what the offline store has, which outlives it.
 * Cost: O(intervals) to list folders and to read their manifests; of a full refresh one.
 *
 * @param offlineDir - root of the offline store, which may not be there
 * @throws STORE_UNAVAILABLE; an offline store that cannot be read is `unknown`
 */
export async function compareWithOffline(
  view: View,
  coverage: Coverage,
  ledger: Pick<Ledger, "readLedger">,
  offlineDir: string,
): Promise<LostIntervals> {
  const offline = openOfflineFolders({ root: offlineDir });
  try {
    if (!(await offline.hasViews()))
      return {
        intervals: [],
        isBehind: false,
        broken: [],
        unknown: `the offline store ${offline.root} has no views or is not there. Where workers have materialized, run this where ONCEFLOW_OFFLINE names the folder that they write to`,
      };
    const broken = await brokenAmong(offline, view, coverage);
    const written = await writtenBeside(offline, view, coverage, broken);
    // What they say was in Redis before, and a run may have committed meanwhile.
    const noted = await offline.journal.readRevision(view.name);
    const { last } = await readHistory(offline, view);
    const now = await ledger.readLedger(view.name, view.fingerprint);
    return {
      intervals: written.filter(lackingIn(view, now.coverage, overlaps)),
      isBehind:
        (noted !== undefined && isBehind(now.revision, noted)) ||
        (now.published?.generation ?? 0) < (last?.generation ?? 0),
      unknown: null,
      broken,
    };
  } catch (error) {
    if (errorCodeOf(error) !== "OFFLINE_UNAVAILABLE") throw error;
    const unknown = messageOf(error).replace(/\.$/, "");
    return { intervals: [], isBehind: false, unknown, broken: [] };
  }
}

/**
 * Says what Redis lacks. One that was emptied looks like one that was never filled, or like one
 * whose view was reset; one that was restored from an older copy, like one that is half filled.
 *
 * @param isEmpty - whether Redis has nothing of the view
 */
export function judgeLacking(
  view: View,
  lacking: LostIntervals,
  isEmpty: boolean,
  offlineDir: string,
  nowMs: number,
): Judgement {
  const { problems, notes } = judgeLost(view, lacking, isEmpty, offlineDir, nowMs);
  return { problems: [...problems, ...brokenOf(view, lacking)], notes };
}

/** Manifests that cannot be read; the rows beside them are of no use. */
function brokenOf(view: View, { broken }: LostIntervals): Finding[] {
  const [first, ...others] = broken;
  if (first === undefined) return [];
  const lines = broken.map(
    ({ interval }) => `${materializeLine(view, endsOf(interval))} --reprocess`,
  );
  const { fix, rest } = chainOf(view.name, lines);
  const more =
    others.length === 0 ? "" : `; the same of ${countOf(others.length, "more interval")}`;
  return [
    {
      problem: `the offline store has lost what ${showSpan(endsOf(first.interval))} was made of: ${first.reason}${more}${rest}`,
      fix,
    },
  ];
}

function judgeLost(
  view: View,
  { intervals, isBehind, unknown, files }: LostIntervals,
  isEmpty: boolean,
  offlineDir: string,
  nowMs: number,
): Judgement {
  if (unknown !== null) {
    if (!isEmpty)
      return {
        problems: [],
        notes: [`whether Redis lacks what was committed cannot be told: ${unknown}`],
      };
    const told = `Redis has nothing of these definitions, and whether it ever had cannot be told: ${unknown}`;
    return { problems: [firstFill(view, told, files, nowMs)], notes: [] };
  }
  if (intervals.length > 0) return { problems: [refill(view, intervals, isEmpty)], notes: [] };
  if (!isEmpty) return { problems: isBehind ? [olderCopy(view)] : [], notes: [] };
  const told = `nothing was materialized under these definitions: neither Redis nor the offline store in ${offlineDir} has an interval of them`;
  return { problems: [firstFill(view, told, files, nowMs)], notes: [] };
}

/** Manifests that are read at once. */
const readAtOnce = 64;

/** The committed intervals whose manifest cannot be read; one that is not there yet is none. */
async function brokenAmong(
  offline: OfflineFolders,
  view: View,
  coverage: Coverage,
): Promise<BrokenManifest[]> {
  const committed = [...coverage]
    .map(([text, { generation }]) => ({ interval: parseInterval(text), generation }))
    .sort((a, b) => a.interval.endMs - b.interval.endMs);
  const counted = view.rows.isFullRefresh ? committed.slice(-1) : committed;
  const found: BrokenManifest[] = [];
  for (let at = 0; at < counted.length; at += readAtOnce)
    await Promise.all(
      counted.slice(at, at + readAtOnce).map(async ({ interval, generation }) => {
        const ref = { view: view.name, fingerprint: view.fingerprint, interval, generation };
        await readManifestOr(offline, ref, found);
      }),
    );
  return found.sort((a, b) => a.interval.endMs - b.interval.endMs);
}

/** Whether a manifest is there; one that cannot be read is, and is noted. */
async function readManifestOr(
  offline: OfflineFolders,
  ref: Parameters<typeof readManifest>[1],
  broken: BrokenManifest[],
): Promise<boolean> {
  try {
    return (await readManifest(offline, ref)) !== undefined;
  } catch (error) {
    if (errorCodeOf(error) !== "OFFLINE_UNAVAILABLE") throw error;
    broken.push({
      interval: ref.interval,
      reason: messageOf(error).replace(/\.( Materialize .*)?$/, ""),
    });
    return true;
  }
}

/** Intervals whose rows the offline store has whole, and whose time is not committed in Redis. */
async function writtenBeside(
  offline: OfflineFolders,
  view: View,
  coverage: Coverage,
  broken: BrokenManifest[],
): Promise<Interval[]> {
  const ref = { view: view.name, fingerprint: view.fingerprint };
  const isLacking = lackingIn(view, coverage, contains);
  const voided = await offline.journal.readVoided(ref);
  const found: Interval[] = [];
  for (const interval of (await offline.listIntervals(ref)).reverse()) {
    if (!isLacking(interval)) continue;
    const upTo = voided.get(formatInterval(interval)) ?? 0;
    if (!(await isCommitted(offline, { ...ref, interval }, upTo, broken))) continue;
    found.push(interval);
    // Each of a full refresh replaces the ones before.
    if (view.rows.isFullRefresh) break;
  }
  return found.reverse();
}

/** A folder without a manifest is of a run that did not commit. */
async function isCommitted(
  offline: OfflineFolders,
  ref: IntervalRef,
  voided: number,
  broken: BrokenManifest[],
): Promise<boolean> {
  for (const generation of await offline.listGenerations(ref))
    if (generation > voided && (await readManifestOr(offline, { ...ref, generation }, broken)))
      return true;
  return false;
}

/** Tells what is newer than all that is committed of a full refresh, or does not meet any of it. */
function lackingIn(
  view: View,
  coverage: Coverage,
  meets: (committed: Interval, one: Interval) => boolean,
): (interval: Interval) => boolean {
  const committed = joinIntervals([...coverage.keys()].map(parseInterval));
  if (!view.rows.isFullRefresh)
    return (interval) => !committed.some((each) => meets(each, interval));
  const newestMs = committed.reduce((newest, { endMs }) => Math.max(newest, endMs), 0);
  return ({ endMs }) => endMs > newestMs;
}

function firstFill(
  view: View,
  told: string,
  files: FilesFound | undefined,
  nowMs: number,
): Finding {
  const { name, schedule, rows } = view;
  if (rows.isFullRefresh) return { problem: told, fix: `${invocation} materialize ${name}` };
  if (schedule === undefined)
    return {
      problem: `${told}. Materialize the intervals that its source has`,
      fix: `${invocation} materialize --help`,
    };
  const newest = newestInterval(schedule, nowMs);
  if (newest === null)
    return { problem: `${told}. No interval of its schedule is complete yet`, fix: null };
  if (files !== undefined && files.intervals.length > 0) {
    const lines = joinIntervals(files.intervals).map((each) => backfillLine(name, endsOf(each)));
    const { fix, rest } = chainOf(name, lines);
    const all = countOf(files.looked, "complete interval");
    return {
      problem: `${told}. Files are there for ${files.intervals.length} of ${all}${rest}`,
      fix,
    };
  }
  const since = showTime(new Date(schedule.startMs).toISOString());
  const missing =
    files === undefined ? "" : `no files are there for the newest ${files.looked} intervals; `;
  return {
    problem: `${told}. ${missing}the fix runs the newest interval alone: for those before it, give an earlier --from, down to ${since}`,
    fix: backfillLine(name, endsOf(newest)),
  };
}

const healing = "A worker puts it back by itself; the fix does so at once";

/** Of a Redis that has an interval or what is served in an older state. */
function olderCopy({ name }: View): Finding {
  return {
    problem: `Redis is behind what the offline store knows to be committed and published: it was restored from an older copy, or has lost what it had acknowledged. ${healing}`,
    fix: publishLine(name),
  };
}

function refill(view: View, intervals: readonly Interval[], isEmpty: boolean): Finding {
  const [first, last] = [intervals[0], intervals.at(-1)];
  const { start, end } = endsOf({ startMs: first?.startMs ?? 0, endMs: last?.endMs ?? 0 });
  const what = view.rows.isFullRefresh
    ? `the view as of ${showTime(end)}`
    : `${countOf(intervals.length, "interval")} in ${showSpan({ start, end })}`;
  const lost = isEmpty
    ? `Redis has nothing of what was committed under these definitions, so it was emptied: the offline store has ${what}`
    : `Redis lacks what the offline store has: ${what}. It was restored from an older copy, or has lost what it had acknowledged`;
  return {
    problem: `${lost}. ${healing}`,
    fix: publishLine(view.name),
  };
}
