/** `backfill`: runs the intervals of a range that are due, a bounded number at once. */
import {
  CancellationScope,
  condition,
  ContinueAsNew,
  continueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import { activities } from "./activities.ts";
import { intervalId, joinInterval, runInterval } from "./child.ts";
import {
  type BackfillInput,
  backfillMessages,
  type BackfillPage,
  type BackfillResult,
  type BackfillState,
  type MaterializeInput,
  type MaterializeResult,
  type PublishResult,
} from "./contract.ts";
import { causeOf } from "./failure.ts";
import { publishOf, startPublish } from "./publish.ts";

const defaultParallel = 8;
/** What is under way is carried on by name, in a payload of less than 32 KiB. */
const parallelLimit = 400;
const defaultPerRun = 250;
const failuresKept = 20;
const reasonLength = 300;

/** A backfill as its parts share it. */
interface Execution {
  readonly input: BackfillInput;
  readonly state: Mutable<BackfillState>;
  /** Intervals under way, as `start/end`. */
  readonly under: Set<string>;
  /** Puts on the run's page how far it is. */
  readonly show: () => void;
}

/** An interval that an earlier execution has left under way. */
interface Joined {
  readonly interval: string;
  readonly input: MaterializeInput;
}

/**
 * Keeps a sliding window of intervals under way: as soon as one ends, the next begins. After
 * `partitionsPerRun` it continues as new, and the next execution joins what is under way, so the
 * history stays small for any range. An interval that fails is counted, and the others go on.
 */
export async function backfill(input: BackfillInput): Promise<BackfillResult> {
  const execution = executionOf(input);
  const { state, under, show } = execution;
  takeMessages(execution);
  const joined = joinCarried(execution);
  show();

  let begun = 0;
  let starting = 0;
  let published: PublishResult;
  let named: Pick<BackfillPage, "fingerprint" | "definition"> | undefined;
  const perRun = input.partitionsPerRun ?? defaultPerRun;
  try {
    let page = await plan(input, state.cursor);
    const { fingerprint, definition } = page;
    named = { fingerprint, definition };
    const { workflow, ...how } = page.terms;
    if (input.carried === undefined) state.total = page.total;
    for (;;) {
      for (const run of page.runs) {
        await condition(() => !state.paused && under.size < state.maxParallel);
        if (begun === perRun || workflowInfo().continueAsNewSuggested) {
          await condition(() => starting === 0);
          return await continueAsNew<typeof backfill>({
            ...input,
            fingerprint,
            definition,
            carried: { ...state, running: [...under] },
          });
        }
        begun++;
        state.cursor = run.start;
        starting++;
        const interval = `${run.start}/${run.end}`;
        const view = { view: input.view, fingerprint, definition };
        const child = { ...view, ...how, ...run, publishes: false };
        void follow(
          execution,
          interval,
          runInterval(workflow, child, (by) => {
            starting--;
            if (by === "others") state.others = [...state.others, interval];
          }),
        );
        show();
      }
      if (page.cursor === null) break;
      page = await plan(input, page.cursor);
    }
    await condition(() => under.size === 0);
    published = await publishOf({ view: input.view, fingerprint, definition }, Infinity);
  } catch (error) {
    if (error instanceof ContinueAsNew) throw error;
    await CancellationScope.nonCancellable(async () => {
      // The children of this execution have got the cancellation themselves.
      if (isCancellation(error)) await cancelJoined(execution, joined);
      else await condition(() => under.size === 0);
      // What they have committed is not to wait for the next run.
      const { view, fingerprint, definition } = { ...input, ...named };
      if (fingerprint !== undefined && definition !== undefined)
        await startPublish({ view, fingerprint, definition });
    });
    throw error;
  }
  show();
  const { total, committed, covered, failed, rows, maxParallel, startedAtMs, failures } = state;
  const counts = { total, committed, covered, failed, rows, maxParallel, startedAtMs, failures };
  return { view: input.view, ...counts, published };
}

function executionOf(input: BackfillInput): Execution {
  const state: Mutable<BackfillState> = {
    cursor: null,
    total: 0,
    committed: 0,
    covered: 0,
    failed: 0,
    rows: 0,
    running: [],
    others: [],
    paused: false,
    maxParallel: input.maxParallel ?? defaultParallel,
    startedAtMs: Date.now(),
    failures: [],
    ...input.carried,
  };
  return { input, state, under: new Set(), show: () => setCurrentDetails(wordsOf(input, state)) };
}

/** Heeds the signals that steer a backfill, and answers its query. */
function takeMessages({ state, show }: Execution): void {
  setHandler(defineSignal(backfillMessages.pause), () => {
    state.paused = true;
    show();
  });
  setHandler(defineSignal(backfillMessages.resume), () => {
    state.paused = false;
    show();
  });
  setHandler(defineSignal<[number]>(backfillMessages.setMaxParallel), (wanted) => {
    if (Number.isInteger(wanted) && wanted > 0) state.maxParallel = Math.min(wanted, parallelLimit);
    show();
  });
  setHandler(defineQuery<BackfillState>(backfillMessages.progress), () => state);
}

/** Counts how an interval ends. */
async function follow(
  { state, under, show }: Execution,
  interval: string,
  work: Promise<MaterializeResult>,
): Promise<void> {
  under.add(interval);
  state.running = [...under];
  try {
    const { outcome, rows } = await work;
    state[outcome]++;
    if (outcome === "committed") state.rows += rows;
  } catch (error) {
    state.failed++;
    const reason = causeOf(error).message.slice(0, reasonLength);
    if (state.failures.length < failuresKept)
      state.failures = [...state.failures, { interval, reason }];
  }
  under.delete(interval);
  state.running = [...under];
  state.others = state.others.filter((each) => each !== interval);
  show();
}

async function plan(input: BackfillInput, cursor: string | null): Promise<BackfillPage> {
  return activities.planBackfill.executeWithOptions({ summary: "which intervals are due" }, [
    input,
    cursor,
  ]);
}

/**
 * Follows what an earlier execution has left under way. They are no children of this execution: a
 * cancellation is handed on to those that an earlier one has started, and then waited for.
 */
function joinCarried(execution: Execution): Joined[] {
  const { input, state } = execution;
  const joined = (input.carried?.running ?? []).map((interval): Joined => {
    const [start = "", end = ""] = interval.split("/");
    // An execution that carries on names the definitions of the first.
    const { view, fingerprint = "", definition = "" } = input;
    return { interval, input: { view, start, end, fingerprint, definition } };
  });
  for (const each of joined)
    void follow(
      execution,
      each.interval,
      isOwn(state, each)
        ? CancellationScope.nonCancellable(() => joinInterval(each.input))
        : joinInterval(each.input),
    );
  return joined;
}

/** Cancels what earlier executions have started, and waits for all that is under way. */
async function cancelJoined({ state, under }: Execution, joined: readonly Joined[]): Promise<void> {
  for (const each of joined)
    if (under.has(each.interval) && isOwn(state, each))
      await getExternalWorkflowHandle(intervalId(each.input))
        .cancel()
        .catch(() => undefined);
  await condition(() => under.size === 0);
}

/** Whether an execution of this backfill has started an interval. */
function isOwn({ others }: BackfillState, { interval }: Joined): boolean {
  return !others.includes(interval);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function wordsOf({ view, from, to }: BackfillInput, state: BackfillState): string {
  const { total, committed, covered, failed, rows, running, paused, failures } = state;
  const done = committed + covered + failed;
  return [
    `Backfill of **${view}** \`[${from}, ${to})\`${paused ? ": **paused**" : ""}`,
    "",
    `**${done} of ${total}** intervals done, ${running.length} under way.`,
    "",
    "| committed | committed by others | failed | rows |",
    "|---|---|---|---|",
    `| ${committed} | ${covered} | ${failed} | ${rows} |`,
    ...failures.map(({ interval, reason }) => `\n⚠ \`${interval}\` ${reason}`),
  ].join("\n");
}
