/** `materialize`: one view, one interval, by the commit protocol. */
import { ActivityFailure, ApplicationFailure, sleep } from "@temporalio/workflow";
import { mapConcurrently } from "./concurrency.ts";
import {
  type CoveredRun,
  type DueRun,
  type MaterializeInput,
  type MaterializeResult,
  type OpenedStore,
  type RunCounts,
  type RunPlan,
  type RunRef,
  type Slice,
  slicesOf,
} from "./contract.ts";
import { causeOf } from "./failure.ts";
import { type IntervalRun, recorded } from "./interval-run.ts";
import { inPools } from "./pools.ts";
import { mayBegin, whenReady } from "./when-ready.ts";

/** Slices of one run that are read or written at once, over all workers. */
const slicesAtOnce = 4;
/** Times that pass 2 is done where Redis restarts in the middle of it. */
const writeAttempts = 5;
/** Plans of one run, whose source files may be replaced while it works, and the pauses in between. */
const mostPlans = 10;
const [firstPauseMs, longestPauseMs] = [500, 60_000];
const outdating: readonly string[] = ["SOURCE_CHANGED", "SOURCE_MISSING", "OFFLINE_UNAVAILABLE"];
/** Warnings in a result, so that the payload stays small. */
const warningsLimit = 50;

/**
 * Computes an interval of a view and writes it to the stores, or does nothing where the ledger has
 * it already.
 *
 * Pass 1 reads and validates everything before pass 2 writes the first row; one compare-and-set
 * then records coverage and moves the latest snapshot. A failure before it moves no pointer.
 */
export async function materialize(input: MaterializeInput): Promise<MaterializeResult> {
  return recorded(input, async (run) => {
    // A run that waits for what is upstream holds no place meanwhile.
    if (input.pools !== undefined) {
      const answer = await mayBegin(run);
      if (answer.due === "nothing") return coveredResult(run, answer);
    }
    return inPools(run, () => commitInterval(run));
  });
}

/** The work of `materialize`, also as a step of a pipeline. */
export async function commitInterval(run: IntervalRun): Promise<MaterializeResult> {
  const { input, request, show } = run;
  const plansLimit = Math.min(mostPlans, input.retry?.attempts ?? mostPlans);
  show("Asking the ledger whether anything is due.");
  for (let before = 0; ; before++) {
    const plan = await planOf(run, before);
    if (plan.due === "nothing") return coveredResult(run, plan);
    run.generation = plan.generation;
    const ref = { ...request, generation: plan.generation };
    let found: Found;
    try {
      found = await computeAndCommit(run, ref, plan);
    } catch (error) {
      if (before + 1 >= plansLimit || !outdatesPlan(error)) throw error;
      show(`Planning again, since the plan does not hold any more: ${causeOf(error).message}`);
      await sleep(Math.min(firstPauseMs * 2 ** before, longestPauseMs));
      continue;
    }
    const result = await publish(run, ref, plan, found);
    run.committed();
    return result;
  }
}

/** Asks what is due, once more where earlier plans did not hold. */
function planOf(run: IntervalRun, before: number): Promise<RunPlan> {
  const { reprocess = false } = run.input;
  return whenReady<RunPlan>(run, (sensed) =>
    run.activities.planRun.executeWithOptions({ summary: "what is due" }, [
      { ...run.request, reprocess, sensed, ...(before === 0 ? {} : { plan: before }) },
    ]),
  );
}

/** Whether what a plan was made of is gone: source files, or what the run has staged. */
function outdatesPlan(error: unknown): boolean {
  const { type, isCancelled } = causeOf(error);
  return !isCancelled && outdating.includes(type);
}

/** What a run says that found its interval committed. */
export function coveredResult({ input, show }: IntervalRun, plan: CoveredRun): MaterializeResult {
  show(`Nothing to do: generation ${plan.generation} is committed.`);
  const { rows, snapshot } = plan;
  return resultOf(input, plan, {
    outcome: "covered",
    rows,
    written: 0,
    superseded: 0,
    snapshot,
    warnings: [],
  });
}

/** What a run has committed. */
type Found = RunCounts & { readonly snapshot: string | null };

async function computeAndCommit(
  { show, activities }: IntervalRun,
  run: RunRef,
  plan: DueRun,
): Promise<Found> {
  const slices = slicesOf(plan.files);
  const writesRows = plan.due === "rows";
  let done = 0;
  const read = await mapConcurrently(slices, slicesAtOnce, async (slice) => {
    const summary = `read and validate ${wordsOf(slice, plan.files)}`;
    const counts = await activities.readSlice.executeWithOptions({ summary }, [run, slice]);
    done += slice.to - slice.from;
    show(`Pass 1, read and validate: ${done} of ${plan.files} files.`);
    return counts;
  });
  const { rows, warnings: lateWarnings } = await activities.validateRun.executeWithOptions(
    { summary: "check what rests on aggregates" },
    [run],
  );
  const warnings = [...new Set([...read.flatMap((each) => each.warnings), ...lateWarnings])].slice(
    0,
    warningsLimit,
  );

  const { written, superseded, snapshot } = writesRows
    ? await writeAndCommit(
        activities,
        run,
        slices.filter((_, i) => read[i]?.rows !== 0),
        rows,
        show,
      )
    : { ...(await commit(activities, run, null)), written: 0, superseded: 0 };
  return { rows, written, superseded, warnings, snapshot };
}

async function publish(
  { input, show, activities }: IntervalRun,
  run: RunRef,
  plan: DueRun,
  { snapshot, ...counts }: Found,
): Promise<MaterializeResult> {
  const { rows, written, superseded, warnings } = counts;
  const { stale } = await activities.publishRun.executeWithOptions(
    { summary: "manifest and log" },
    [run, plan.due === "rows", counts],
  );
  show(
    [
      "Committed.",
      "",
      "| rows | written | superseded | generation | snapshot |",
      "|---|---|---|---|---|",
      `| ${rows} | ${written} | ${superseded} | ${plan.generation} | ${snapshot ?? "none"} |`,
      ...[...warnings, ...stale].map((warning) => `\n⚠ ${warning}`),
    ].join("\n"),
  );
  return resultOf(input, plan, {
    outcome: "committed",
    rows,
    written,
    superseded,
    snapshot,
    warnings,
  });
}

function wordsOf({ from, to }: Slice, files: number): string {
  return to === from + 1 ? `file ${to} of ${files}` : `files ${from + 1} to ${to} of ${files}`;
}

/**
 * Pass 2 for the slices that have rows, and the commit; again, where Redis restarted in between and
 * may have lost rows.
 */
async function writeAndCommit(
  activities: IntervalRun["activities"],
  run: RunRef,
  slices: readonly Slice[],
  rows: number,
  show: (lines: string) => void,
) {
  for (let attempt = 1; ; attempt++) {
    const summary = "open the online store";
    const store = await activities.openStore.executeWithOptions({ summary }, [run, rows]);
    let [done, written, superseded] = [0, 0, 0];
    const files = slices.reduce((sum, { from, to }) => sum + to - from, 0);
    await mapConcurrently(slices, slicesAtOnce, async (slice) => {
      const counts = await activities.writeSlice.executeWithOptions(
        { summary: `write the rows of file ${slice.from + 1} and on` },
        [run, slice, store],
      );
      written += counts.written;
      superseded += counts.superseded;
      done += slice.to - slice.from;
      show(`Pass 2, write to the online store: ${done} of ${files} files, ${written} rows.`);
    });
    try {
      return { ...(await commit(activities, run, store)), written, superseded };
    } catch (error) {
      if (attempt === writeAttempts || codeOf(error) !== "STORE_RESTARTED") throw error;
    }
  }
}

function commit(
  activities: IntervalRun["activities"],
  run: RunRef,
  store: OpenedStore | null,
): Promise<{ snapshot: string | null }> {
  return activities.commitRun.executeWithOptions({ summary: "commit" }, [run, store]);
}

function codeOf(error: unknown): string | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  return cause instanceof ApplicationFailure ? (cause.type ?? undefined) : undefined;
}

function resultOf(
  { view, start, end, fingerprint }: MaterializeInput,
  { generation }: RunPlan,
  facts: Omit<MaterializeResult, "view" | "start" | "end" | "fingerprint" | "generation">,
): MaterializeResult {
  return { view, start, end, fingerprint, generation, ...facts };
}
