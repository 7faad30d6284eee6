/**
 * The commit of a run: its manifest is the proof of it in the offline store, and the ledger is told
 * at once. What is served does not change before the next publish.
 */
import type { View } from "../engine/catalogue.ts";
import { type ErrorCode, OnceflowError } from "../engine/errors.ts";
import { formatInterval } from "../engine/calendar/interval.ts";
import { assertUnchanged, type SourceFile } from "../sources/files.ts";
import type { CoverageFacts } from "../store/commits.ts";
import { countOfRevision } from "../store/revision.ts";
import type { Committed, RunRef } from "../workflows/contract.ts";
import type { CommittedView, CommittedViews } from "./committed-views.ts";
import { sumRows } from "./offline-parts.ts";
import { readPassOne } from "./pass-one.ts";
import {
  coveredFiles,
  factsOf,
  intervalOfRun,
  partitionOf,
  type RunManifest,
} from "./run-facts.ts";
import type { Stores } from "./stores.ts";
import { assertNoOverlap, statesOfRun } from "./view-states.ts";

/** Times that a commit is tried again after another run of the view committed in between. */
const commitAttempts = 20;
/** By these a commit is refused for good. */
const refusing: readonly ErrorCode[] = ["FENCED", "INTERVAL_INVALID", "SOURCE_CHANGED"];

/** What a run commits. */
export interface Findings {
  /** Absent where the rows are committed, and an aggregate alone is new. */
  readonly coverage: CoverageFacts | undefined;
  /** Encoded states by aggregate fingerprint. */
  readonly states: Readonly<Record<string, string>>;
  /** What they were read from; empty where that is the offline store. */
  readonly files: readonly SourceFile[];
}

/**
 * Commits what pass 1 of a run has found, fenced by its generation.
 *
 * @throws FENCED, INTERVAL_INVALID, STORE_LOST, SOURCE_CHANGED where the states that are there may
 *   be of newer files
 */
export async function commitRun(
  stores: Pick<Stores, "ledger" | "offline">,
  committedViews: CommittedViews,
  view: View,
  run: RunRef,
): Promise<Committed> {
  const {
    files,
    startedAtMs,
    upstream,
    rows,
    outside = 0,
    states,
  } = await readPassOne(stores, view, run);
  const count = sumRows(rows);
  const coverage = {
    ...coverageOf({ rows: count, files }),
    ...(outside > 0 ? { outside } : {}),
    ...(Object.keys(upstream).length > 0 ? { upstream } : {}),
  };
  const facts = factsOf(stores.offline, view, run);
  const isRepeated = (await facts.readManifest()) !== undefined;
  await facts.writeManifest({
    ...run,
    rows: count,
    known_at: new Date(startedAtMs).toISOString(),
    files,
    coverage,
    parts: rows,
    states,
  });
  const findings = { coverage, states, files };
  return commitFindings(stores, committedViews, view, run, findings).catch(
    async (error: unknown) => {
      // Else a restore would take the manifest for proof. Of an earlier attempt, it may be that.
      if (!isRepeated && error instanceof OnceflowError && refusing.includes(error.code))
        await stores.offline.removePartition(partitionOf(view, run));
      throw error;
    },
  );
}

/** What the ledger keeps of files and rows. */
export function coverageOf({ rows, files }: Pick<RunManifest, "rows" | "files">): CoverageFacts {
  return { rows, files: coveredFiles(files) };
}

/**
 * Records findings in the ledger. Runs of this process take turns; those of others show as conflicts,
 * and then it looks again.
 */
export function commitFindings(
  stores: Pick<Stores, "ledger" | "offline">,
  committedViews: CommittedViews,
  view: View,
  run: RunRef,
  findings: Findings,
): Promise<Committed> {
  return committedViews.inTurn(view, async () => {
    for (let attempt = 1; ; attempt++) {
      const committed = await committedViews.read(view);
      assertNoOverlap(view, committed.intervals, run);
      // States are shared by all definitions of a view, whose runs do not fence each other. Asked
      // after the revision, so that whoever commits what the files are now shows as a conflict.
      if (hasOtherStates(view, committed, run, findings)) await assertUnchanged(findings.files);
      try {
        return await tryCommit(stores, view, run, committed, findings);
      } catch (error) {
        const isConflict = error instanceof OnceflowError && error.code === "LEDGER_CONFLICT";
        if (!isConflict || attempt === commitAttempts) throw error;
      }
    }
  });
}

/** Whether the run's interval has states of other runs, by whatever definition of the view. */
function hasOtherStates(
  view: View,
  committed: CommittedView,
  run: RunRef,
  { states }: Findings,
): boolean {
  const there = committed.states.get(formatInterval(intervalOfRun(view, run)));
  return [...(there ?? [])].some(
    ([aggregate, { generation, state }]) =>
      generation !== run.generation || state !== states[aggregate],
  );
}

/** @throws LEDGER_CONFLICT where another run of the view has committed since */
async function tryCommit(
  { ledger, offline }: Pick<Stores, "ledger" | "offline">,
  view: View,
  run: RunRef,
  committed: CommittedView,
  { coverage, states }: Findings,
): Promise<Committed> {
  const interval = intervalOfRun(view, run);
  const { runId, generation } = run;
  const { revision, repeated } = await ledger.commitRun({
    view: view.name,
    fingerprint: view.fingerprint,
    interval,
    runId,
    generation,
    expectedRevision: committed.revision,
    coverage,
    states,
  });
  if (!repeated)
    committed.follow(revision, interval, {
      coverage: coverage && { ...coverage, generation },
      states: statesOfRun(view, run, states),
    });
  await offline.journal.noteRevision(view.name, revision);
  return { revision: countOfRevision(revision) };
}
