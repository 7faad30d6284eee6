/** The runs of intervals on Temporal, as others see them: ask of one, tell it, start it, join it. */
import { Context, getClient } from "@temporalio/activity";
import {
  ApplicationFailure,
  ApplicationFailureCategory,
  WorkflowNotFoundError,
} from "@temporalio/common";
import type { View } from "../engine/catalogue.ts";
import type { Span } from "../engine/calendar/interval.ts";
import type { Schedule } from "../engine/calendar/schedule.ts";
import { messageOf } from "../engine/errors.ts";
import { termsOf } from "../filling/run-terms.ts";
import { attributesOf } from "../workflows/search-attributes.ts";
import {
  idsOf,
  type MaterializeInput,
  type MaterializeResult,
  type PublishResult,
  upstreamEndedSignal,
} from "../workflows/contract.ts";
import type { OfflineDependencies } from "./dependencies.ts";

const longestJoinWaitMs = 10_000;

/** The input of an interval's run, by this build's definitions of the view. */
export function inputOf(
  { name, fingerprint, definition }: View,
  { start, end }: Span,
): MaterializeInput {
  return { view: name, start, end, fingerprint, definition };
}

/** The run id of an interval's workflow, where it is under way. */
export async function runUnderWay(input: MaterializeInput): Promise<string | null> {
  try {
    const { status, runId } = await handleOf(input).describe();
    return status.name === "RUNNING" ? runId : null;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

/** Tells a run that an upstream interval has ended. */
export async function tellRun(input: MaterializeInput): Promise<void> {
  await handleOf(input)
    .signal(upstreamEndedSignal)
    .catch((error: unknown) => {
      // Nobody waits.
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    });
}

/** The same, and starts the run where it is not under way. */
export async function startOrTell(
  schedule: Schedule,
  input: MaterializeInput,
  build: OfflineDependencies["build"],
): Promise<void> {
  const { view, start, end } = input;
  const { taskQueue } = Context.current().info;
  const { workflow, ...how } = termsOf(schedule);
  await getClient().workflow.signalWithStart(workflow, {
    args: [{ ...input, ...how }],
    signal: upstreamEndedSignal,
    taskQueue,
    workflowId: idsOf(taskQueue).interval(input),
    staticSummary: `${view} [${start}, ${end})`,
    typedSearchAttributes: attributesOf("materialize", view, `${start}/${end}`),
    // Only this build is sure to have the definitions that the input names.
    ...(build === undefined ? {} : { versioningOverride: { pinnedTo: build } }),
  });
}

/** The same of a publish. */
export async function joinPublish(workflowId: string): Promise<PublishResult> {
  return (await joinWorkflow(workflowId)) as PublishResult;
}

/** The result of an interval's run that someone else has started; see `joinWorkflow`. */
export async function joinRun(workflowId: string): Promise<MaterializeResult> {
  return (await joinWorkflow(workflowId)) as MaterializeResult;
}

/**
 * The result of a workflow that someone else has started. While it is under way this
 * fails and is tried again: an attempt that waited would hold the place of the work it waits for.
 */
async function joinWorkflow(workflowId: string): Promise<unknown> {
  const handle = getClient().workflow.getHandle(workflowId);
  const { status } = await handle.describe().catch((error: unknown) => {
    throw askAgain(`Temporal does not say how ${workflowId} is: ${messageOf(error)}`);
  });
  if (status.name === "RUNNING") throw askAgain(`${workflowId} is under way.`);
  try {
    return await handle.result();
  } catch (error) {
    throw failureBehind(error);
  }
}

function askAgain(message: string): ApplicationFailure {
  return ApplicationFailure.create({
    type: "RUN_UNDER_WAY",
    category: ApplicationFailureCategory.BENIGN,
    message,
    nextRetryDelay: Math.min(Context.current().info.attempt * 250, longestJoinWaitMs),
  });
}

/** The failure that ended another workflow, with its code, for good. */
function failureBehind(error: unknown): unknown {
  let found: ApplicationFailure | undefined;
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if (at instanceof ApplicationFailure) found = at;
  if (found === undefined && !(error instanceof Error && error.name === "WorkflowFailedError"))
    return error;
  return ApplicationFailure.nonRetryable(
    found?.message ?? messageOf(error),
    found?.type ?? "RUN_FAILED",
  );
}

function handleOf(input: MaterializeInput) {
  return getClient().workflow.getHandle(idsOf(Context.current().info.taskQueue).interval(input));
}
