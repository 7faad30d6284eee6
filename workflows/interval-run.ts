/** What every workflow that runs an interval does around its work: words, and how it ended. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  setCurrentDetails,
  sleep,
  workflowInfo,
} from "@temporalio/workflow";
import { activitiesWith, lastActivities, webhookActivities } from "./activities.ts";
import type { MaterializeInput, RunLate, RunRef, WebhookEvent } from "./contract.ts";

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
  /** Whether its sensors have been waited for. */
  sensed: boolean;
}

/** Does the work, and where it fails records why, in the ledger and on the run's page. */
export async function recorded<T>(
  input: MaterializeInput,
  work: (run: IntervalRun) => Promise<T>,
): Promise<T> {
  const { view, start, end, fingerprint, definition } = input;
  const run: IntervalRun = {
    input,
    request: { view, start, end, fingerprint, definition, runId: workflowInfo().runId },
    show: (lines) => setCurrentDetails(`**${view}** \`[${start}, ${end})\`\n\n${lines}`),
    activities: activitiesWith(input.retry),
    generation: null,
    sensed: false,
  };
  const inTime = new CancellationScope();
  const telling = input.late === undefined ? undefined : tellWhenLate(run, input.late, inTime);
  try {
    return await work(run);
  } catch (error) {
    const cause = error instanceof ActivityFailure ? (error.cause ?? error) : error;
    const outcome = outcomeOf(error, cause);
    const reason = cause instanceof Error ? cause.message : String(cause);
    run.show(`${outcome.slice(0, 1).toUpperCase()}${outcome.slice(1)}: ${reason}`);
    await CancellationScope.nonCancellable(async () => {
      const { webhooks } = await lastActivities.recordFailure(
        run.request,
        run.generation,
        outcome,
        reason,
      );
      if (outcome !== "cancelled") await callAll(run, webhooks, outcome, reason);
    }).catch(() => undefined);
    throw error;
  } finally {
    inTime.cancel();
    await telling;
  }
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
      callAll(run, webhooks, "late", `not committed at ${at}, its deadline.`),
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

function outcomeOf(error: unknown, cause: unknown): "failed" | "cancelled" | "blocked" {
  if (isCancellation(error)) return "cancelled";
  const type = cause instanceof ApplicationFailure ? cause.type : undefined;
  return type === "UPSTREAM_FAILED" || type === "UPSTREAM_MISSING" ? "blocked" : "failed";
}
