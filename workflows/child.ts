/** Runs an interval as a child, or joins the run of it that someone else has started. */
import { WorkflowExecutionAlreadyStartedError } from "@temporalio/common";
import { startChild, workflowInfo } from "@temporalio/workflow";
import { activities } from "./activities.ts";
import { attributesOf } from "./search-attributes.ts";
import { idsOf, type MaterializeInput, type MaterializeResult } from "./contract.ts";

/** The id of an interval's run in this deployment: the queue's name is its base. */
export function intervalId(input: MaterializeInput): string {
  return idsOf(workflowInfo().taskQueue).interval(input);
}

/**
 * Runs an interval by its workflow, `materialize` or a pipeline. The child outlives this execution,
 * so that a workflow that continues as new joins it again; a cancellation reaches it and is waited
 * for. A run that someone else has started is joined, and left alone by a cancellation.
 *
 * @param onStarted - called once the run is there, with whose it is: a child that is asked for in
 *   the same breath as continue-as-new is never started
 */
export async function runInterval(
  workflow: string,
  input: MaterializeInput,
  onStarted: (by: "us" | "others") => void = () => undefined,
): Promise<MaterializeResult> {
  const { view, start, end } = input;
  const starting = startChild<(input: MaterializeInput) => Promise<MaterializeResult>>(workflow, {
    workflowId: intervalId(input),
    args: [input],
    parentClosePolicy: "ABANDON",
    cancellationType: "WAIT_CANCELLATION_COMPLETED",
    staticSummary: `${view} [${start}, ${end})`,
    typedSearchAttributes: attributesOf("materialize", view, `${start}/${end}`),
  });
  const child = await starting.catch((error: unknown) => {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return null;
    onStarted("us");
    throw error;
  });
  onStarted(child === null ? "others" : "us");
  return child === null ? joinInterval(input) : child.result();
}

/** Waits for the run of an interval that another workflow, or an earlier execution, has started. */
export function joinInterval(input: MaterializeInput): Promise<MaterializeResult> {
  const { start, end } = input;
  return activities.joinRun.executeWithOptions(
    { summary: `join the run of [${start}, ${end})`, scheduleToCloseTimeout: "30 days" },
    [intervalId(input)],
  );
}
