/** `apply --fill`: what other definitions of a view have committed and those of this build lack. */
import { backfillIntervals } from "../activities/backfill-range.ts";
import type { Catalogue, View } from "../engine/catalogue.ts";
import { isFullRefresh } from "../engine/definitions.ts";
import { type Interval, parseInterval } from "../engine/interval.ts";
import { readGrid } from "../store/grid.ts";
import { createLedger } from "../store/ledger.ts";
import { createOnlineStore } from "../store/online-store.ts";
import type { RedisConnection } from "../store/redis.ts";
import type { Settings } from "../settings.ts";
import type { MaterializeInput } from "../workflows/contract.ts";
import type { Run, Runs } from "./temporal.ts";
import { type Span, spanOf } from "./views.ts";

/** What a view lacks, as ranges of whole intervals, oldest first. */
export interface Unfilled {
  readonly view: View;
  readonly intervals: number;
  readonly ranges: readonly Span[];
}

/**
 * Compares what is committed under every definition of a view that the store still has with what
 * is committed whole under this build's. Of a full refresh only the newest counts.
 */
export async function unfilledOf(
  redis: RedisConnection,
  catalogue: Catalogue,
  view: View,
  { prefix }: Pick<Settings, "prefix">,
): Promise<Unfilled> {
  const ledger = createLedger(redis, { prefix });
  const namespaces = await createOnlineStore(redis, { prefix }).listNamespaces(view.name);
  const committed = new Map<string, Interval>();
  for (const { fingerprint } of namespaces)
    for (const text of (await ledger.readLedger(view.name, fingerprint)).coverage.keys())
      committed.set(text, parseInterval(text));
  const wanted = wantedIntervals(
    view,
    [...committed.values()].sort((a, b) => a.endMs - b.endMs),
  );
  const cells = await readGrid(ledger, catalogue, view, wanted);
  const lacking = cells.filter(({ rows }) => rows === null).map(({ interval }) => interval);
  // Without a schedule nothing but the intervals themselves says where they end.
  const ranges = view.schedule === undefined ? lacking.map(spanOf) : rangesOf(lacking);
  return { view, intervals: lacking.length, ranges };
}

/** Starts the runs that fill a view; each is joined where it is under way. */
export async function startFill(runs: Runs, { view, ranges }: Unfilled): Promise<Run<unknown>[]> {
  const definitions = {
    view: view.name,
    fingerprint: view.fingerprint,
    definition: view.runFingerprint,
  };
  const started: Run<unknown>[] = [];
  for (const { start, end } of ranges) {
    const input: MaterializeInput = { ...definitions, start, end };
    started.push(
      view.schedule === undefined
        ? await runs.startMaterialize(input)
        : await runs.startBackfill({ ...definitions, from: start, to: end, reprocess: "failed" }),
    );
  }
  return started;
}

/** The intervals of this build that hold what is committed, oldest first. */
function wantedIntervals(view: View, committed: readonly Interval[]): Interval[] {
  const newest = committed.at(-1);
  if (newest === undefined) return [];
  if (view.schedule === undefined) return isFullRefresh(view.source) ? [newest] : [...committed];
  const from = Math.min(...committed.map(({ startMs }) => startMs));
  const range = { from: new Date(from).toISOString(), to: new Date(newest.endMs).toISOString() };
  const grid = backfillIntervals(view, range, Date.now());
  return grid.filter((own) =>
    committed.some(({ startMs, endMs }) => startMs < own.endMs && endMs > own.startMs),
  );
}

function rangesOf(intervals: readonly Interval[]): Span[] {
  const ranges: { startMs: number; endMs: number }[] = [];
  for (const { startMs, endMs } of intervals) {
    const last = ranges.at(-1);
    if (last?.endMs === startMs) last.endMs = endMs;
    else ranges.push({ startMs, endMs });
  }
  return ranges.map(spanOf);
}
