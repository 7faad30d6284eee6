/** `materialize`: one view, one interval, by the commit protocol. */
import { sleep } from "@temporalio/workflow";
import { mapConcurrently } from "./concurrency.ts";
import {
  type CoveredRun,
  type DueRun,
  type MaterializeInput,
  type MaterializeResult,
  type PublishResult,
  type RunCounts,
  type RunPlan,
  type RunRef,
  type Slice,
  slicesOf,
} from "./contract.ts";
import { causeOf } from "./failure.ts";
import { type IntervalRun, recorded } from "./interval-run.ts";
import { inPools } from "./pools.ts";
import { publishOf, wordsOfPublish } from "./publish.ts";
import { mayBegin, whenReady } from "./when-ready.ts";

/** Slices of one run that are read at once, over all workers. */
const slicesAtOnce = 4;
/** Plans of one run, whose source files may be replaced while it works, and the pauses in between. */
const mostPlans = 10;
const [firstPauseMs, longestPauseMs] = [500, 60_000];
const outdating: readonly string[] = [
  "SOURCE_CHANGED",
  "SOURCE_MISSING",
  "OFFLINE_UNAVAILABLE",
  // The ledger forgot the run: the next plan puts it back first.
  "STORE_LOST",
];
/** Warnings in a result, so that the payload stays small. */
const warningsLimit = 50;

/**
 * Computes an interval of a view, commits it, and publishes what is committed of the view; or does
 * nothing where the ledger has it already and it is published.
 *
 * Pass 1 reads and validates everything before the commit, which is one compare-and-set. The publish
 * that follows moves the pointers of what is served once, at its end.
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
    // What only fills aggregates leaves nothing behind that would have to be taken back.
    run.generation = plan.due === "rows" ? plan.generation : null;
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
    return publish(run, ref, plan, found);
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

/** What a run says that found its interval committed; what was not published then is now. */
export async function coveredResult(
  run: IntervalRun,
  plan: CoveredRun,
): Promise<MaterializeResult> {
  const { input, show } = run;
  const found = `Nothing to do: generation ${plan.generation} is committed.`;
  show(found);
  run.isCommitted = true;
  const published = await publishAfter(run, plan.revision);
  show([found, ...wordsOfPublish(published)].join("\n"));
  run.published();
  return resultOf(input, plan, { outcome: "covered", rows: plan.rows, published, warnings: [] });
}

/** What a run has committed. */
type Found = RunCounts & { readonly revision: number };

async function computeAndCommit(
  { show, activities }: IntervalRun,
  run: RunRef,
  plan: DueRun,
): Promise<Found> {
  if (plan.due === "aggregates") {
    const summary = "fill new aggregates from the offline rows";
    show("Filling new aggregates from the offline rows.");
    const { revision } = await activities.fillAggregates.executeWithOptions({ summary }, [run]);
    return { rows: 0, warnings: [], revision };
  }
  const slices = slicesOf(plan.files);
  let done = 0;
  const read = await mapConcurrently(slices, slicesAtOnce, async (slice) => {
    const summary = `read and validate ${wordsOf(slice, plan.files)}`;
    const counts = await activities.readSlice.executeWithOptions({ summary }, [run, slice]);
    done += slice.to - slice.from;
    show(`Read and validate: ${done} of ${plan.files} files.`);
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
  const { revision } = await activities.commitRun.executeWithOptions({ summary: "commit" }, [run]);
  return { rows, warnings, revision };
}

/** Tells of the commit, and publishes it. */
async function publish(
  run: IntervalRun,
  ref: RunRef,
  plan: DueRun,
  { revision, ...counts }: Found,
): Promise<MaterializeResult> {
  const { input, show, activities } = run;
  const { rows, warnings } = counts;
  const { stale } = await activities.recordCommit.executeWithOptions({ summary: "log" }, [
    ref,
    plan.due === "rows" ? counts : null,
  ]);
  run.isCommitted = true;
  const lines = [
    "Committed.",
    "",
    "| rows | generation |",
    "|---|---|",
    `| ${rows} | ${plan.generation} |`,
    ...[...warnings, ...stale].map((warning) => `\n⚠ ${warning}`),
  ];
  show([...lines, "", "Publishing."].join("\n"));
  const published = await publishAfter(run, revision);
  show([...lines, ...wordsOfPublish(published)].join("\n"));
  run.published();
  return resultOf(input, plan, { outcome: "committed", rows, published, warnings });
}

/** Publishes up to a revision, unless whoever started the run does so. */
async function publishAfter(
  { input }: IntervalRun,
  revision: number,
): Promise<PublishResult | null> {
  if (input.publishes === false) return null;
  const { view, fingerprint, definition } = input;
  return publishOf({ view, fingerprint, definition }, revision);
}

function wordsOf({ from, to }: Slice, files: number): string {
  return to === from + 1 ? `file ${to} of ${files}` : `files ${from + 1} to ${to} of ${files}`;
}

function resultOf(
  { view, start, end, fingerprint }: MaterializeInput,
  { generation }: RunPlan,
  facts: Omit<MaterializeResult, "view" | "start" | "end" | "fingerprint" | "generation">,
): MaterializeResult {
  return { view, start, end, fingerprint, generation, ...facts };
}
