/** The commit of a run: what is committed, merged with what the run has found, and set at once. */
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { formatInterval } from "../engine/calendar/interval.ts";
import { encodeSnapshot, type Snapshot } from "../engine/snapshot.ts";
import { assertUnchanged, type SourceFile } from "../sources/files.ts";
import type { CoverageFacts } from "../store/ledger.ts";
import type { RunRef } from "../workflows/contract.ts";
import type { CommittedView, CommittedViews } from "./committed-views.ts";
import { sumRows } from "./offline-parts.ts";
import { readPassOne } from "./pass-one.ts";
import { coveredFiles, intervalOfRun } from "./run-facts.ts";
import type { Stores } from "./stores.ts";
import { assertNoOverlap, statesOfRun } from "./view-states.ts";

/** Times that a commit merges again after another run of the view committed in between. */
const commitAttempts = 20;

/**
 * Records a run in the ledger and moves the latest snapshot, fenced by the generation. Runs of this
 * process take turns; those of others show as conflicts, and then it merges again.
 *
 * @param writesRows - whether the run wrote rows; else it only fills aggregates
 * @returns the snapshot; undefined where an aggregate still lacks states, or there is none
 * @throws FENCED, INTERVAL_INVALID, STORE_LOST, SOURCE_CHANGED where the states that are there may
 *   be of newer files
 */
export function commitRun(
  stores: Pick<Stores, "ledger" | "offline">,
  committedViews: CommittedViews,
  view: View,
  run: RunRef,
  writesRows: boolean,
): Promise<Snapshot | undefined> {
  return committedViews.inTurn(view, async () => {
    const found = await findingsOf(stores, view, run, writesRows);
    for (let attempt = 1; ; attempt++) {
      const committed = await committedViews.read(view);
      assertNoOverlap(view, committed.intervals, run);
      // States are shared by all definitions of a view, whose runs do not fence each other. Asked
      // after the revision, so that whoever commits what the files are now shows as a conflict.
      if (hasOtherStates(view, committed, run, found)) await assertUnchanged(found.files);
      try {
        return await tryCommit(stores, view, run, committed, found);
      } catch (error) {
        const isConflict = error instanceof OnceflowError && error.code === "LEDGER_CONFLICT";
        if (!isConflict || attempt === commitAttempts) throw error;
      }
    }
  });
}

/** What a run adds to what is committed. */
interface Findings {
  readonly coverage: CoverageFacts | undefined;
  /** Encoded states by aggregate fingerprint. */
  readonly states: Readonly<Record<string, string>>;
  readonly files: readonly SourceFile[];
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

async function findingsOf(
  stores: Pick<Stores, "offline">,
  view: View,
  run: RunRef,
  writesRows: boolean,
): Promise<Findings> {
  const { files, upstream, rows, outside = 0, states } = await readPassOne(stores, view, run);
  const coverage = {
    rows: sumRows(rows),
    files: coveredFiles(files),
    ...(outside > 0 ? { outside } : {}),
    ...(Object.keys(upstream).length > 0 ? { upstream } : {}),
  };
  return { coverage: writesRows ? coverage : undefined, states, files };
}

/** @throws LEDGER_CONFLICT where another run of the view has committed since */
async function tryCommit(
  { ledger }: Pick<Stores, "ledger">,
  view: View,
  run: RunRef,
  committed: CommittedView,
  { coverage, states }: Findings,
): Promise<Snapshot | undefined> {
  const interval = intervalOfRun(view, run);
  const { runId, generation } = run;
  const ownStates = statesOfRun(view, run, states);
  const merged = committed.merge.snapshotWith(interval, ownStates);
  const snapshot = view.aggregates.length > 0 && merged.isWhole ? merged.snapshot : undefined;
  const { revision, repeated } = await ledger.commitRun({
    view: view.name,
    fingerprint: view.fingerprint,
    interval,
    runId,
    generation,
    expectedRevision: committed.revision,
    coverage,
    states,
    snapshot: snapshot && {
      id: snapshot.id,
      aggregatesFingerprint: view.aggregatesFingerprint,
      asOfMs: snapshot.asOfMs,
      body: encodeSnapshot(view.aggregates, snapshot),
    },
  });
  if (!repeated)
    committed.follow(revision, interval, {
      coverage: coverage && { ...coverage, generation },
      states: ownStates,
    });
  return snapshot;
}
