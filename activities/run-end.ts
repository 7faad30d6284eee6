/** The activities at the end of a run: how it is remembered, and who is told. */
import type { CommittedViews } from "../filling/committed-views.ts";
import { recordCommit, recordFailure, type RunFailure } from "../filling/run-end.ts";
import { knownView, viewOfRun } from "../filling/run-facts.ts";
import type { RunCounts, RunRef } from "../workflows/contract.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { tellDependents } from "./dependents.ts";

/** Makes the activities that end a run of `materialize`. */
export function createRunEnd(dependencies: OfflineDependencies, committedViews: CommittedViews) {
  const { catalogue } = dependencies;
  return {
    /**
     * Writes a committed run down, and tells those that wait for it.
     *
     * @param counts - null where it has only filled aggregates, which is not logged
     * @returns what rests on the rows before, in words
     */
    async recordCommit(
      run: RunRef,
      counts: RunCounts | null,
    ): Promise<{ readonly stale: readonly string[] }> {
      const view = viewOfRun(catalogue, run);
      if (counts !== null) await recordCommit(dependencies, view, run, counts);
      return { stale: await tellDependents(dependencies, view, run, true) };
    },

    /**
     * Writes down that a run failed, was cancelled or blocked, takes back what it staged, and tells
     * those that wait for it, unless a newer run speaks for the interval.
     *
     * @param begunAtMs - when its workflow began, for one that did not come to its plan
     */
    async recordFailure(
      request: Omit<RunRef, "generation">,
      generation: number | null,
      outcome: RunFailure["outcome"],
      reason: string,
      begunAtMs: number,
    ): Promise<void> {
      // Whoever waits for a worker that knows its view can be cancelled by any.
      const view = (generation === null ? knownView : viewOfRun)(catalogue, request);
      const failure = { outcome, reason, begunAtMs };
      const known = await recordFailure(
        dependencies,
        committedViews,
        view,
        request,
        generation,
        failure,
      );
      if (view !== undefined && known !== "superseded")
        await tellDependents(dependencies, view, request, known === "committed");
    },
  };
}
