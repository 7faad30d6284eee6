/** The plan of a run: whether its interval is committed, and else which files it reads. */
import type { View } from "../engine/catalogue.ts";
import { formatInterval, type Interval } from "../engine/calendar/interval.ts";
import { OnceflowError } from "../engine/errors.ts";
import { listSourceFiles, type SourceFile } from "../sources/files.ts";
import type { Coverage } from "../store/commits.ts";
import { countOfRevision } from "../store/revision.ts";
import { readStoreTime } from "../store/store-time.ts";
import type { CoveredRun, DueRun, ReadyRequest } from "../workflows/contract.ts";
import { assertEnded, assertNoneAhead } from "./ahead.ts";
import type { CommittedViews } from "./committed-views.ts";
import { canFillAggregates } from "./fill-aggregates.ts";
import { factsOf, intervalOfRun, partitionOf, type RunFacts } from "./run-facts.ts";
import type { Stores } from "./stores.ts";
import { aggregateFingerprints, assertNoOverlap } from "./view-states.ts";

/** Files of one run: each of its activities reads their list. */
const filesLimit = 20_000;

/** What is committed of an interval. */
export interface CommittedInterval {
  /** Absent where its rows are not committed. */
  readonly covered: Coverage | undefined;
  /** There where all of it is, and its run has nothing to do. */
  readonly nothing: CoveredRun | undefined;
}

/**
 * What is committed of the interval that a run would fill.
 *
 * @throws INTERVAL_INVALID where it cuts a committed one, or lies ahead of the clock of Redis
 */
export async function readInterval(
  { redis }: Pick<Stores, "redis">,
  committedViews: CommittedViews,
  view: View,
  request: ReadyRequest,
): Promise<CommittedInterval> {
  const [committed, nowMs] = await Promise.all([committedViews.read(view), readStoreTime(redis)]);
  assertEnded(view, request, nowMs);
  assertNoOverlap(view, committed.intervals, request);
  assertNoneAhead(view, committed.intervals, request, nowMs);
  const interval = formatInterval(intervalOfRun(view, request));
  const covered = committed.coverage.get(interval);
  const states = committed.states.get(interval);
  const isWhole = aggregateFingerprints(view).every((each) => states?.get(each) !== undefined);
  if (covered === undefined || !isWhole || request.reprocess)
    return { covered, nothing: undefined };
  const { generation, rows } = covered;
  const revision = countOfRevision(committed.revision);
  return { covered, nothing: { due: "nothing", generation, rows, revision } };
}

/**
 * Begins a run: allots its generation and settles its files. A retry goes on with what the first
 * attempt has settled, whatever that has read of the files.
 *
 * @param covered - what is committed of the rows of its interval
 * @param upstream - what it rests on of upstream views, by view
 */
export async function beginRun(
  { ledger, offline, sources }: Pick<Stores, "ledger" | "offline" | "sources">,
  view: View,
  request: ReadyRequest,
  covered: Coverage | undefined,
  upstream: RunFacts["upstream"],
): Promise<DueRun> {
  const interval = intervalOfRun(view, request);
  if (covered !== undefined && !request.reprocess) {
    const { generation } = covered;
    // Where the rows were made of less than new aggregates read, they are made again.
    if (await canFillAggregates(offline, view, request, generation))
      return { due: "aggregates", generation, files: 0 };
  }
  const files = await listFiles(sources, view, interval);
  // Each plan is a run of its own to the ledger, so that zombies of an older one are fenced.
  const runId = planId(request, request.plan ?? 0);
  const { fingerprint } = view;
  const known = await offline.listGenerations({ view: view.name, fingerprint, interval });
  const generation = await ledger.beginRun({ ...request, runId, interval }, known.at(-1) ?? 0);
  const run = { ...request, generation };
  await offline.cleanPartition(partitionOf(view, run));
  await removeOlderPlans(offline, view, request, generation);
  const facts = factsOf(offline, view, run);
  // A retry keeps the first start, so that the rows' known-at stays.
  const before = await facts.readRun();
  if (before?.runId === runId) return { due: "rows", generation, files: before.files.length };
  if (before !== undefined) await offline.removePartition(partitionOf(view, run));
  await facts.writeRun({ runId, files, startedAtMs: Date.now(), upstream });
  return { due: "rows", generation, files: files.length };
}

/** How the ledger and the facts of a run name its plans. */
function planId({ runId }: ReadyRequest, plan: number): string {
  return plan === 0 ? runId : `${runId}+${plan}`;
}

/** Removes what the plans of the same run have staged that were given up. */
async function removeOlderPlans(
  offline: Stores["offline"],
  view: View,
  request: ReadyRequest,
  generation: number,
): Promise<void> {
  const older = Array.from({ length: request.plan ?? 0 }, (_, plan) => planId(request, plan));
  if (older.length === 0) return;
  for (const each of await offline.listGenerations(partitionOf(view, { ...request, generation }))) {
    if (each >= generation) continue;
    const run = { ...request, generation: each };
    // One whose facts are lost is removed with all older ones, at the commit.
    const facts = await factsOf(offline, view, run).readRun();
    if (facts !== undefined && older.includes(facts.runId))
      await offline.removePartition(partitionOf(view, run));
  }
}

async function listFiles(
  sources: Stores["sources"],
  view: View,
  interval: Interval,
): Promise<SourceFile[]> {
  const files = await listSourceFiles(view.source, interval, sources);
  if (files.length <= filesLimit) return files;
  throw new OnceflowError(
    "REQUEST_TOO_LARGE",
    `the interval ${formatInterval(interval)} of view "${view.name}" has ${files.length} files; a run takes ${filesLimit}. Materialize shorter intervals.`,
  );
}
