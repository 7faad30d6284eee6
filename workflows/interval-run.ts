/** What every workflow that runs an interval does around its work: words, and how it ended. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  defineSignal,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from "@temporalio/workflow";
import { activitiesWith, lastActivities, webhookActivities } from "./activities.ts";
import {
  type MaterializeInput,
  type RunLate,
  type RunRef,
  upstreamEndedSignal,
  type WebhookEvent,
} from "./contract.ts";
import { failureBehind } from "./failure.ts";

/** The run of an interval as its steps share it. */
export interface IntervalRun {
  readonly input: MaterializeInput;
  readonly request: Omit<RunRef, "generation">;
  /** Puts words on the run's page, in Markdown. */
  readonly show: (lines: string) => void;
  /** The activities, with the retries of the view. */
  readonly activities: ReturnType<typeof activitiesWith>;
  /** What the run has begun to write and not committed; a failure takes it away. */
  generation: number | null;
  /** Whether its interval is committed: a failure of what follows does not change that. */
  isCommitted: boolean;
  /** Whether its sensors have been waited for. */
  sensed: boolean;
  /** Whether something upstream has ended since the run last asked. */
  told: boolean;
  /** To be called once it is published: it is not late any more. */
  readonly published: () => void;
}

/** Does the work, and where it fails records why, in the ledger and on the run's page. */
export async function recorded<T>(
  input: MaterializeInput,
  work: (run: IntervalRun) => Promise<T>,
): Promise<T> {
  const { view, start, end, fingerprint, definition } = input;
  const inTime = new CancellationScope();
  const run: IntervalRun = {
    input,
    request: { view, start, end, fingerprint, definition, runId: workflowInfo().runId },
    show: (lines) => setCurrentDetails(`**${view}** \`[${start}, ${end})\`\n\n${lines}`),
    activities: activitiesWith(input.retry),
    generation: null,
    isCommitted: false,
    sensed: false,
    told: false,
    published: () => inTime.cancel(),
  };
  setHandler(defineSignal(upstreamEndedSignal), () => {
    run.told = true;
  });
  const telling = input.late === undefined ? undefined : tellWhenLate(run, input.late, inTime);
  try {
    for (;;) {
      try {
        return await work(run);
      } catch (error) {
        const outcome = await recordEnd(run, error);
        // What is upstream may have been mended while this was being recorded and told of.
        if (outcome !== "blocked" || !(await mayGoOn(run))) throw error;
      }
    }
  } finally {
    inTime.cancel();
    await telling;
  }
}

/** Writes down how the run ended, and calls who is to be told; neither waits for the other. */
async function recordEnd(run: IntervalRun, error: unknown): Promise<Outcome> {
  const cause = failureBehind(error);
  const outcome = outcomeOf(error, cause);
  const reason = cause instanceof Error ? cause.message : String(cause);
  const words = `${outcome.slice(0, 1).toUpperCase()}${outcome.slice(1)}: ${reason}`;
  run.show(words);
  await CancellationScope.nonCancellable(() =>
    Promise.all([
      run.isCommitted
        ? undefined
        : lastActivities[outcome]
            .recordFailure(
              run.request,
              run.generation,
              outcome,
              reason,
              workflowInfo().startTime.getTime(),
            )
            .catch((failure: unknown) => {
              const why = failure instanceof ActivityFailure ? (failure.cause ?? failure) : failure;
              run.show(
                `${words}\n\nThis is not in the ledger: ${why instanceof Error ? why.message : String(why)}`,
              );
            }),
      outcome === "cancelled"
        ? undefined
        : callAll(run, run.input.onFailure ?? [], outcome, reason),
    ]),
  );
  return outcome;
}

/** Whether a run that was blocked is no longer so. */
async function mayGoOn(run: IntervalRun): Promise<boolean> {
  if (!run.told) return false;
  const reprocess = run.input.reprocess ?? false;
  const answer = await run.activities.checkReady
    .executeWithOptions({ summary: "is it still blocked" }, [
      { ...run.request, reprocess, sensed: run.sensed },
    ])
    .catch(() => undefined);
  return answer !== undefined;
}

/** Tells of a run that passes its deadline; `inTime` is cancelled once the run has ended. */
async function tellWhenLate(
  run: IntervalRun,
  { at, webhooks }: RunLate,
  inTime: CancellationScope,
): Promise<void> {
  const waitMs = Date.parse(at) - Date.now();
  const isLate =
    waitMs <= 0 ||
    (await inTime
      .run(() => sleep(waitMs))
      .then(
        () => true,
        () => false,
      ));
  if (isLate)
    await CancellationScope.nonCancellable(() =>
      callAll(run, webhooks, "late", `not published at ${at}, its deadline.`),
    );
}

/** Calls webhooks, all at once; one that does not answer is given up after ten minutes. */
async function callAll(
  { request }: IntervalRun,
  webhooks: readonly string[],
  event: WebhookEvent,
  reason: string,
): Promise<void> {
  await Promise.allSettled(
    webhooks.map((name) =>
      webhookActivities.callWebhook.executeWithOptions({ summary: `tell ${name}` }, [
        request,
        name,
        event,
        reason.slice(0, 500),
      ]),
    ),
  );
}

type Outcome = "failed" | "cancelled" | "blocked";

function outcomeOf(error: unknown, cause: unknown): Outcome {
  if (isCancellation(error)) return "cancelled";
  const type = cause instanceof ApplicationFailure ? cause.type : undefined;
  return type === "UPSTREAM_FAILED" || type === "UPSTREAM_MISSING" ? "blocked" : "failed";
}
