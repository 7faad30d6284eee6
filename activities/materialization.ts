/**
 * The activities of `materialize`, in the order of the commit protocol. Pass 1 (`planRun`,
 * `readSlice`, `validateRun`) writes the offline rows; `commitRun` commits them, and `recordCommit`
 * logs that and tells who waits for it; `publishView` makes what is committed what is served. What
 * each does is in filling/; here are its name, the gate before it and the cancellation of it.
 *
 * Every activity may run again, at the same time as a zombie of itself: files are replaced whole,
 * entities by newer-wins, the commit by compare-and-set.
 */
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { commitRun } from "../filling/commit.ts";
import { createCommittedViews } from "../filling/committed-views.ts";
import { readSlice, validateRun } from "../filling/pass-one.ts";
import { fillAggregates } from "../filling/fill-aggregates.ts";
import { publishView } from "../filling/publish/publish.ts";
import { intervalOfRun, viewOfRun } from "../filling/run-facts.ts";
import { restoreLedger } from "../filling/publish/restore.ts";
import { beginRun, type CommittedInterval, readInterval } from "../filling/run-plan.ts";
import type {
  Committed,
  PublishInput,
  PublishResult,
  Ready,
  ReadyRequest,
  RowsRead,
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
  const committedViews = createCommittedViews(dependencies.ledger, dependencies.offline);

  /** What is committed of an interval; a ledger that was lost is put back first. */
  async function readOrRestore(view: View, request: ReadyRequest): Promise<CommittedInterval> {
    try {
      return await readInterval(dependencies, committedViews, view, request);
    } catch (error) {
      if (!(error instanceof OnceflowError) || error.code !== "STORE_LOST") throw error;
      await restoreLedger(dependencies, committedViews, view);
      return readInterval(dependencies, committedViews, view, request);
    }
  }

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
      const { covered, nothing } = await readOrRestore(view, request);
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
      const { nothing } = await readOrRestore(view, request);
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

    /**
     * Commits what pass 1 has found, fenced by the generation.
     *
     * @throws FENCED, SOURCE_CHANGED where the run must plan again
     */
    async commitRun(run: RunRef): Promise<Committed> {
      return commitRun(dependencies, committedViews, viewOfRun(catalogue, run), run);
    },

    /** Computes new aggregates over committed rows, and commits their states. */
    async fillAggregates(run: RunRef): Promise<Committed> {
      const view = viewOfRun(catalogue, run);
      return fillAggregates(dependencies, committedViews, view, run, assertWanted);
    },

    /** Makes what is committed of a view what is served; see filling/publish. */
    async publishView(input: PublishInput): Promise<PublishResult> {
      const view = viewOfRun(catalogue, input);
      return publishView(dependencies, committedViews, view, input, assertWanted);
    },

    ...createRunEnd(dependencies, committedViews),
  };
}
