/** `materialize`: one view, one interval, by the commit protocol. */
import { ActivityFailure, CancellationScope, isCancellation } from "@temporalio/workflow";
import * as workflow from "@temporalio/workflow";
import type { createOfflineActivities } from "../activities/offline.ts";
import type { MaterializeInput, MaterializeResult, RunRef } from "./contract.ts";
import { mapConcurrently } from "./concurrency.ts";

/** Parts of one run that are read or written at once, over all workers. */
const partsAtOnce = 4;

const activities = workflow.proxyActivities<ReturnType<typeof createOfflineActivities>>({
  startToCloseTimeout: "2 hours",
  heartbeatTimeout: "10 seconds",
  // Wrong data and definitions are not retryable by their code; stores and files come back.
  retry: { initialInterval: "500 ms", maximumInterval: "30 seconds", maximumAttempts: 30 },
});

/**
 * Computes an interval of a view and writes it to the stores, or does nothing where the ledger has
 * it already.
 *
 * Pass 1 reads and validates everything before pass 2 writes the first row; one compare-and-set
 * then records coverage and moves the latest snapshot. A failure before it moves no pointer.
 */
export async function materialize(input: MaterializeInput): Promise<MaterializeResult> {
  const { view, start, end, fingerprint } = input;
  const { runId } = workflow.workflowInfo();
  const show = (lines: string) =>
    workflow.setCurrentDetails(`**${view}** \`[${start}, ${end})\`\n\n${lines}`);

  show("Asking the ledger whether anything is due.");
  const plan = await activities.planRun.executeWithOptions({ summary: "what is due" }, [
    { view, start, end, fingerprint, runId, reprocess: input.reprocess ?? false },
  ]);
  const run: RunRef = { view, start, end, fingerprint, runId, generation: plan.generation };
  const facts = { view, start, end, fingerprint, generation: plan.generation };
  if (plan.due === "nothing") {
    show(`Nothing to do: generation ${plan.generation} is committed.`);
    const { rows, snapshot } = plan;
    return {
      ...facts,
      outcome: "covered",
      rows,
      written: 0,
      superseded: 0,
      snapshot,
      warnings: [],
    };
  }

  try {
    const parts = Array.from({ length: plan.parts }, (_, part) => part);
    let done = 0;
    const read = await mapConcurrently(parts, partsAtOnce, async (part) => {
      const summary = `read and validate part ${part + 1} of ${plan.parts}`;
      const counts = await activities.readPart.executeWithOptions({ summary }, [run, part]);
      show(`Pass 1, read and validate: ${++done} of ${plan.parts} parts.`);
      return counts;
    });
    const rows = read.reduce((sum, part) => sum + part.rows, 0);
    const validated = await activities.validateRun.executeWithOptions(
      { summary: `check expectations over ${rows} rows` },
      [run, plan.parts],
    );
    const warnings = [
      ...new Set([...read.flatMap((part) => part.warnings), ...validated.warnings]),
    ];

    let written = 0;
    let superseded = 0;
    if (plan.due === "rows") {
      done = 0;
      await mapConcurrently(parts, partsAtOnce, async (part) => {
        const summary = `write part ${part + 1} of ${plan.parts}`;
        const counts = await activities.writePart.executeWithOptions({ summary }, [run, part]);
        written += counts.written;
        superseded += counts.superseded;
        show(
          `Pass 2, write to the online store: ${++done} of ${plan.parts} parts, ${written} rows.`,
        );
      });
    }
    const commit = await activities.commitRun.executeWithOptions({ summary: "commit" }, [
      run,
      { parts: plan.parts, writesRows: plan.due === "rows", written, superseded, warnings },
    ]);
    show(
      [
        "Committed.",
        "",
        "| rows | written | superseded | generation | snapshot |",
        "|---|---|---|---|---|",
        `| ${rows} | ${written} | ${superseded} | ${plan.generation} | ${commit.snapshot ?? "none"} |`,
        ...warnings.map((warning) => `\n⚠ ${warning}`),
      ].join("\n"),
    );
    const { snapshot } = commit;
    return { ...facts, outcome: "committed", rows, written, superseded, snapshot, warnings };
  } catch (error) {
    const cause = error instanceof ActivityFailure ? (error.cause ?? error) : error;
    const outcome = isCancellation(error) ? "cancelled" : "failed";
    const reason = cause instanceof Error ? cause.message : String(cause);
    show(`${outcome === "failed" ? "Failed" : "Cancelled"}, nothing was committed: ${reason}`);
    await CancellationScope.nonCancellable(() => activities.recordFailure(run, outcome, reason));
    throw error;
  }
}
