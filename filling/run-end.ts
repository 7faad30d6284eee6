/** The end of a run: what it leaves behind, and who is told. */
import type { View } from "../engine/catalogue.ts";
import type { Outcome } from "../engine/calendar/grid.ts";
import { formatInterval, interval as intervalOf } from "../engine/calendar/interval.ts";
import type { RunCounts, RunRef } from "../workflows/contract.ts";
import type { createCommittedViews } from "../filling/committed-views.ts";
import type { OfflineDependencies } from "./materialization.ts";
import type { createReadiness } from "./readiness.ts";
import {
  factsOf,
  intervalOfRun,
  knownView,
  partitionOf,
  required,
  viewOfRun,
} from "../filling/run-facts.ts";
import { pointerRequest } from "../filling/view-states.ts";

/** Makes the last activities of a run. */
export function createRunEnd(
  { catalogue, ledger, offline }: Pick<OfflineDependencies, "catalogue" | "ledger" | "offline">,
  committedViews: ReturnType<typeof createCommittedViews>,
  readiness: Pick<ReturnType<typeof createReadiness>, "tell">,
) {
  return {
    /**
     * Writes what a committed run leaves behind, snapshot, manifest and log, and tells those that
     * wait for it.
     *
     * @returns what rests on the rows before, in words
     */
    async publishRun(
      run: RunRef,
      writesRows: boolean,
      counts: RunCounts,
    ): Promise<{ readonly stale: readonly string[] }> {
      const view = viewOfRun(catalogue, run);
      const { files, startedAtMs } = await required(
        factsOf(offline, view, run).readRun(),
        "plan",
        offline,
        view,
        run,
      );
      const [pointers] = await ledger.readPointers([pointerRequest(view)]);
      const latest = pointers?.latest ?? null;
      if (latest !== null) await offline.writeSnapshot(view.name, latest.id, latest.body);
      if (writesRows) {
        await factsOf(offline, view, run).writeManifest({
          ...run,
          rows: counts.rows,
          known_at: new Date(startedAtMs).toISOString(),
          snapshot: latest?.id ?? null,
          files,
        });
        await offline.removeGenerationsBefore(partitionOf(view, run));
      } else await offline.removePartition(partitionOf(view, run));
      await logRun(view, run, startedAtMs, "committed", { ...counts });
      return { stale: await readiness.tell(view, run, true) };
    },

    /**
     * Writes a failed, cancelled or blocked run to the run log, removes what it staged, and tells
     * those that wait for it. What was committed before the failure stays, and is logged as
     * committed; a run that gave way to a newer one is logged as superseded, and says nothing of
     * the interval.
     *
     * @param begunAtMs - when its workflow began, for one that did not come to its plan
     */
    async recordFailure(
      request: Omit<RunRef, "generation">,
      generation: number | null,
      outcome: "failed" | "cancelled" | "blocked",
      reason: string,
      begunAtMs: number,
    ): Promise<void> {
      const run = { ...request, generation: generation ?? 0 };
      if (generation === null && knownView(catalogue, request) === undefined)
        // Whoever waits for a worker that knows it can be cancelled by any.
        return logRun(undefined, run, begunAtMs, outcome, { reason: reason.slice(0, 500) });
      const view = viewOfRun(catalogue, request);
      let startedAtMs = begunAtMs;
      let known: Outcome["outcome"] | "superseded" = outcome;
      if (generation !== null) {
        const facts = await factsOf(offline, view, run).readRun();
        startedAtMs = facts?.startedAtMs ?? startedAtMs;
        const { coverage, states } = await committedViews.read(view);
        const interval = formatInterval(intervalOfRun(view, run));
        // A run that only fills aggregates leaves the coverage as it is.
        const committed =
          facts?.due === "aggregates"
            ? Math.max(0, ...[...(states.get(interval)?.values() ?? [])].map((s) => s.generation))
            : (coverage.get(interval)?.generation ?? 0);
        if (committed === generation) known = "committed";
        else await offline.removePartition(partitionOf(view, run));
        if (committed > generation) known = "superseded";
      }
      await logRun(view, run, startedAtMs, known, { reason: reason.slice(0, 500) });
      if (known !== "superseded") await readiness.tell(view, run, known === "committed");
    },
  };

  async function logRun(
    view: View | undefined,
    run: RunRef,
    startedAtMs: number,
    outcome: Outcome["outcome"] | "superseded",
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
}
