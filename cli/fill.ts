/** `apply --fill`: what other definitions of a view have committed and those of this build lack. */
import { backfillIntervals } from "../filling/backfill-range.ts";
import { ledgerInterval } from "../filling/run-facts.ts";
import { termsOf } from "../filling/terms.ts";
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
import { readGrid } from "../status/grid.ts";
import { type CoveredFiles, createLedger, type Ledger } from "../store/ledger.ts";
import { createOnlineStore } from "../store/online-store.ts";
import type { RedisConnection } from "../store/redis/connection.ts";
import type { Settings } from "../settings.ts";
import type { Run, Runs } from "./temporal.ts";

/** What a view lacks, as ranges of whole intervals, oldest first. */
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
  readonly interval: Interval;
  readonly files: CoveredFiles | undefined;
  readonly atMs: number;
}

/**
 * Compares what is committed under every definition of a view that the store still has with what
 * is committed whole under this build's: an interval is missing, or was computed from newer files
 * there. Of a full refresh only the newest counts.
 */
export async function unfilledOf(
  redis: RedisConnection,
  catalogue: Catalogue,
  view: View,
  { prefix }: Pick<Settings, "prefix">,
): Promise<Unfilled> {
  const ledger = createLedger(redis, { prefix });
  const own = await committedOf(ledger, view.name, view.fingerprint);
  const others: Committed[] = [];
  for (const { fingerprint } of await createOnlineStore(redis, { prefix }).listNamespaces(
    view.name,
  ))
    if (fingerprint !== view.fingerprint)
      others.push(...(await committedOf(ledger, view.name, fingerprint)).values());
  const committed = [...own.values(), ...others]
    .map(({ interval }) => interval)
    .sort((a, b) => a.endMs - b.endMs);
  const wanted = wantedIntervals(view, committed);
  const cells = await readGrid(ledger, catalogue, view, wanted);
  const covered = joinIntervals([...own.values()].map(({ interval }) => interval));
  const outdated = new Set(
    others.flatMap(({ interval, files, atMs }) => {
      const key = formatInterval(interval);
      const mine = own.get(key);
      return mine !== undefined && isNewer({ files, atMs }, mine) ? [interval.endMs] : [];
    }),
  );
  const lacking = cells
    .filter(({ interval, rows }) =>
      rows === null
        ? // Another grid of this build covers it.
          own.has(formatInterval(ledgerInterval(view, interval))) ||
          !covered.some((each) => contains(each, interval))
        : outdated.has(interval.endMs),
    )
    .map(({ interval }) => interval);
  const grid = joinIntervals(wanted);
  return {
    view,
    intervals: lacking.length,
    // Without a schedule nothing but the intervals themselves says where they end.
    ranges: view.schedule === undefined ? lacking.map(endsOf) : joinIntervals(lacking).map(endsOf),
    outdated: lacking.filter(({ endMs }) => outdated.has(endMs)).length,
    unplaced: view.rows.isFullRefresh
      ? []
      : joinIntervals(others.map(({ interval }) => interval))
          .filter((each) => ![...grid, ...covered].some((wider) => contains(wider, each)))
          .map(endsOf),
  };
}

/** Starts the runs that fill a view; each is joined where it is under way. */
export async function startFill(
  runs: Runs,
  { view, ranges, outdated }: Unfilled,
): Promise<Run<unknown>[]> {
  const definitions = {
    view: view.name,
    fingerprint: view.fingerprint,
    definition: view.runFingerprint,
  };
  const { workflow, ...how } = termsOf(view.schedule);
  const started: Run<unknown>[] = [];
  for (const { start, end } of ranges)
    started.push(
      view.schedule === undefined
        ? await runs.startMaterialize(
            { ...definitions, ...how, start, end, reprocess: outdated > 0 },
            workflow,
          )
        : await runs.startBackfill({
            ...definitions,
            from: start,
            to: end,
            reprocess: outdated > 0 ? "all" : "failed",
          }),
    );
  return started;
}

/** Whether one commit was made of newer files than another; of files of one time, the later is. */
function isNewer(one: Omit<Committed, "interval">, other: Omit<Committed, "interval">): boolean {
  if (one.files?.hash === other.files?.hash) return false;
  const [asOf, otherAsOf] = [one.files?.as_of ?? 0, other.files?.as_of ?? 0];
  return asOf === otherAsOf ? one.atMs > other.atMs : asOf > otherAsOf;
}

async function committedOf(
  ledger: Ledger,
  view: string,
  fingerprint: string,
): Promise<Map<string, Committed>> {
  const { coverage } = await ledger.readLedger(view, fingerprint);
  const outcomes = await ledger.readOutcomes(view, fingerprint);
  return new Map(
    [...coverage].map(([key, { files }]) => [
      key,
      { interval: parseInterval(key), files, atMs: outcomes.get(key)?.finishedAtMs ?? 0 },
    ]),
  );
}

/** The intervals of this build that hold what is committed, oldest first. */
function wantedIntervals(view: View, committed: readonly Interval[]): Interval[] {
  const newest = committed.at(-1);
  if (newest === undefined) return [];
  if (view.schedule === undefined) return view.rows.isFullRefresh ? [newest] : [...committed];
  const from = Math.min(...committed.map(({ startMs }) => startMs));
  const range = { from: new Date(from).toISOString(), to: new Date(newest.endMs).toISOString() };
  const grid = backfillIntervals(view, range, Date.now());
  return grid.filter((own) => committed.some((each) => overlaps(each, own)));
}
