/** What a failed activity or child says of its cause. */
import {
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  isCancellation,
} from "@temporalio/workflow";

/** What a step failed of: the failure behind those of activities and children. */
export function failureBehind(error: unknown): unknown {
  let cause = error;
  while (
    (cause instanceof ActivityFailure || cause instanceof ChildWorkflowFailure) &&
    cause.cause !== undefined
  )
    cause = cause.cause;
  return cause;
}

/** Its code and its words. */
export function causeOf(error: unknown): {
  readonly type: string;
  readonly message: string;
  readonly isCancelled: boolean;
} {
  const cause = failureBehind(error);
  return {
    type: (cause instanceof ApplicationFailure ? cause.type : undefined) ?? "RUN_FAILED",
    message: cause instanceof Error ? cause.message : String(cause),
    isCancelled: isCancellation(error),
  };
}
