/**
 * The activities of `materialize`, in the order of the commit protocol. Pass 1 (`planRun`,
 * `readSlice`, `validateRun`) writes no online row; pass 2 (`openStore`, `writeSlice`) writes them,
 * idempotent and newer-wins; `commitRun` moves coverage and the latest snapshot together, or not
 * at all; `publishRun` tidies up after it. What each does is in filling/; here are its name, the
 * gate before it and the cancellation of it.
 *
 * Every activity may run again, at the same time as a zombie of itself: files are replaced whole,
 * rows by newer-wins, the commit by compare-and-set.
 */
import { commitRun } from "../filling/commit.ts";
import { createCommittedViews } from "../filling/committed-views.ts";
import { readSlice, validateRun } from "../filling/pass-one.ts";
import { openStore, sealStore, writeSlice } from "../filling/pass-two.ts";
import { intervalOfRun, viewOfRun } from "../filling/run-facts.ts";
import { beginRun, readInterval } from "../filling/run-plan.ts";
import type {
  OpenedStore,
  Ready,
  ReadyRequest,
  RowsRead,
  RowsWritten,
  RunPlan,
  RunRef,
  Slice,
  Waiting,
} from "../workflows/contract.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { checkReadiness } from "./run-gate.ts";
import { assertWanted } from "./run-context.ts";
import { createRunEnd } from "./run-end.ts";

/** Makes the activities of `materialize`. */
export function createMaterialization(dependencies: OfflineDependencies) {
  const { catalogue, redis } = dependencies;
  const committedViews = createCommittedViews(dependencies.ledger);

  return {
    /**
     * Asks the ledger what is due and whether the run may begin, allots the generation and lists
     * the source files.
     *
     * @throws UPSTREAM_FAILED where something upstream ended without a commit
     */
    async planRun(request: ReadyRequest): Promise<RunPlan | Waiting> {
      const view = viewOfRun(catalogue, request);
      // An interval that is invalid fails here, before Redis is asked.
      intervalOfRun(view, request);
      await Promise.all([redis.assertNoEviction(), redis.assertClock()]);
      const { covered, nothing } = await readInterval(dependencies, committedViews, view, request);
      if (nothing !== undefined) return nothing;
      const ready = await checkReadiness(dependencies, view, request);
      if (ready.due === "waiting") return ready;
      return beginRun(dependencies, view, request, covered, ready.upstream);
    },

    /**
     * Whether a run may take its first step: a place in a pool, or the steps of a pipeline.
     *
     * @throws UPSTREAM_FAILED
     */
    async checkReady(request: ReadyRequest): Promise<Waiting | Ready> {
      const view = viewOfRun(catalogue, request);
      const { nothing } = await readInterval(dependencies, committedViews, view, request);
      if (nothing !== undefined) return nothing;
      const answer = await checkReadiness(dependencies, view, request);
      return answer.due === "waiting" ? answer : { due: "ready" };
    },

    /** Pass 1 for some source files: reads, checks, takes partial states, writes offline rows. */
    async readSlice(run: RunRef, slice: Slice): Promise<RowsRead> {
      return readSlice(dependencies, viewOfRun(catalogue, run), run, slice, assertWanted);
    },

    /** The end of pass 1: checks what rests on aggregates. */
    async validateRun(run: RunRef): Promise<RowsRead> {
      const view = viewOfRun(catalogue, run);
      return validateRun(dependencies, committedViews, view, run, assertWanted);
    },

    /** Opens the namespace for pass 2, of so many rows, and notes which Redis it is in. */
    async openStore(run: RunRef, rows: number): Promise<OpenedStore> {
      return openStore(dependencies, viewOfRun(catalogue, run), rows);
    },

    /** Pass 2 for some files: writes their rows to the online store, each only over an older one. */
    async writeSlice(
      run: RunRef,
      slice: Slice,
      store: Pick<OpenedStore, "namespace">,
    ): Promise<RowsWritten> {
      return writeSlice(dependencies, viewOfRun(catalogue, run), run, slice, store, assertWanted);
    },

    /**
     * Records the run in the ledger and moves `latest`, fenced by the generation.
     *
     * @param store - as pass 2 found it; null where the run wrote no rows
     * @throws STORE_RESTARTED where rows of pass 2 may be lost: write them again; STORE_EVICTS;
     *   SOURCE_CHANGED where the run must plan again
     */
    async commitRun(run: RunRef, store: OpenedStore | null): Promise<{ snapshot: string | null }> {
      const view = viewOfRun(catalogue, run);
      // The policy may have been changed since the run began, and rows be gone.
      await redis.assertNoEviction();
      if (store !== null) await sealStore(dependencies, view, run, store);
      const snapshot = await commitRun(dependencies, committedViews, view, run, store !== null);
      return { snapshot: snapshot?.id ?? null };
    },

    ...createRunEnd(dependencies, committedViews),
  };
}
