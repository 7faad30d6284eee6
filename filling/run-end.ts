/** The end of a run: how the ledger remembers it, and what it takes back. */
import type { View } from "../engine/catalogue.ts";
import type { Outcome } from "../engine/calendar/grid.ts";
import { formatInterval, interval as intervalOf } from "../engine/calendar/interval.ts";
import type { RunCounts, RunRef } from "../workflows/contract.ts";
import type { CommittedViews } from "./committed-views.ts";
import { factsOf, intervalOfRun, partitionOf, readManifest, requireRun } from "./run-facts.ts";
import type { Stores } from "./stores.ts";

/** How a run ended: one that gave way to a newer run says nothing of the interval. */
export type RunOutcome = Outcome["outcome"] | "superseded";

/** Of a reason in the ledger, so that its records stay small. */
const reasonLength = 500;

/** Writes a committed run to the run log, and removes what runs before it have left unfinished. */
export async function recordCommit(
  { ledger, offline }: Pick<Stores, "ledger" | "offline">,
  view: View,
  run: RunRef,
  counts: RunCounts,
): Promise<void> {
  const { startedAtMs } = await requireRun(offline, view, run);
  await removeUnfinished(offline, view, run);
  await logRun({ ledger }, view, run, startedAtMs, "committed", { ...counts });
}

/** Removes older generations that have no manifest: none of them can commit any more. */
async function removeUnfinished(
  offline: Stores["offline"],
  view: View,
  run: RunRef,
): Promise<void> {
  for (const generation of await offline.listGenerations(partitionOf(view, run))) {
    if (generation >= run.generation) continue;
    const partition = partitionOf(view, { ...run, generation });
    if ((await readManifest(offline, partition)) === undefined)
      await offline.removePartition(partition);
  }
}

/** Why a run did not end well. */
export interface RunFailure {
  readonly outcome: "failed" | "cancelled" | "blocked";
  readonly reason: string;
  /** When its workflow began, for one that did not come to its plan. */
  readonly begunAtMs: number;
}

/**
 * Writes a failed, cancelled or blocked run to the run log, and removes what it staged. What was
 * committed before the failure stays, and is logged as committed; a run that gave way to a newer one
 * is logged as superseded.
 *
 * @param view - undefined where this build does not have it
 * @param generation - null for a run that did not come to its plan
 */
export async function recordFailure(
  stores: Pick<Stores, "ledger" | "offline">,
  committedViews: CommittedViews,
  view: View | undefined,
  request: Omit<RunRef, "generation">,
  generation: number | null,
  { outcome, reason, begunAtMs }: RunFailure,
): Promise<RunOutcome> {
  const run = { ...request, generation: generation ?? 0 };
  const begun =
    view === undefined || generation === null
      ? undefined
      : await takeBack(stores, committedViews, view, run);
  const known = begun?.outcome ?? outcome;
  const facts = { reason: reason.slice(0, reasonLength) };
  await logRun(stores, view, run, begun?.startedAtMs ?? begunAtMs, known, facts);
  return known;
}

/** Removes what a run has staged, unless it has committed; `outcome` is absent where it has failed. */
async function takeBack(
  { offline }: Pick<Stores, "offline">,
  committedViews: CommittedViews,
  view: View,
  run: RunRef,
): Promise<{ startedAtMs: number | undefined; outcome: "committed" | "superseded" | undefined }> {
  const facts = await factsOf(offline, view, run).readRun();
  const startedAtMs = facts?.startedAtMs;
  const { coverage } = await committedViews.read(view);
  const committed = coverage.get(formatInterval(intervalOfRun(view, run)))?.generation ?? 0;
  if (committed === run.generation) return { startedAtMs, outcome: "committed" };
  await offline.removePartition(partitionOf(view, run));
  return { startedAtMs, outcome: committed > run.generation ? "superseded" : undefined };
}

async function logRun(
  { ledger }: Pick<Stores, "ledger">,
  view: View | undefined,
  run: RunRef,
  startedAtMs: number,
  outcome: RunOutcome,
  facts: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { runId, fingerprint } = run;
  const interval = view === undefined ? intervalOf(run.start, run.end) : intervalOfRun(view, run);
  const ended = { runId, startedAtMs, finishedAtMs: Date.now() };
  await ledger.logRun(run.view, {
    ...facts,
    ...ended,
    outcome,
    fingerprint,
    interval: formatInterval(interval),
    generation: run.generation,
  });
  if (outcome === "superseded") return;
  const { rows, reason } = facts;
  await ledger.recordOutcome(
    { view: run.view, fingerprint, interval },
    {
      ...ended,
      outcome,
      rows: typeof rows === "number" ? rows : null,
      reason: typeof reason === "string" ? reason : null,
    },
  );
}
