/** What Temporal throws, as errors of ours. */
import { ServiceError, WorkflowFailedError } from "@temporalio/client";
import {
  ActivityFailure,
  ApplicationFailure,
  NamespaceNotFoundError,
  WorkflowNotFoundError,
} from "@temporalio/common";
import { type ErrorCode, errorRegistry, messageOf, OnceflowError } from "../engine/errors.ts";
import { startOne } from "../engine/invocation.ts";
import type { Settings } from "../settings.ts";
import { isUnknownAttribute, unknownAttributes } from "./search-attributes.ts";

/** The error of ours behind what Temporal threw. */
export function translate(error: unknown, settings: Settings): unknown {
  const { temporalAddress: address } = settings;
  if (error instanceof OnceflowError) return error;
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if (at instanceof ApplicationFailure && at.type != null && at.type in errorRegistry) {
      const [details] = (at.details ?? []) as [Readonly<Record<string, unknown>>?];
      return new OnceflowError(at.type as ErrorCode, at.message, details ?? {}, error);
    }
  if (error instanceof WorkflowFailedError) {
    const cause = error.cause instanceof ActivityFailure ? error.cause.cause : error.cause;
    return new OnceflowError("RUN_FAILED", messageOf(cause ?? error), {}, error);
  }
  if (error instanceof WorkflowNotFoundError)
    return new OnceflowError(
      "REQUEST_INVALID",
      `Temporal has no workflow "${error.workflowId}" under way (${messageOf(error)}). See \`runs\` for those it has.`,
      { workflow_id: error.workflowId },
      error,
    );
  if (error instanceof NamespaceNotFoundError)
    return new OnceflowError(
      "CONFIG_INVALID",
      `the Temporal server at ${address} has no namespace "${error.namespace}". Create it, or set TEMPORAL_NAMESPACE.`,
      { name: "TEMPORAL_NAMESPACE" },
      error,
    );
  if (isUnknownAttribute(error)) return unknownAttributes(settings, error);
  if (isUnroutable(error))
    return new OnceflowError(
      "BUILD_UNKNOWN",
      `Temporal cannot give the run to the build of ONCEFLOW_BUILD (${messageOf(error.cause)}). Start a worker with the same ONCEFLOW_BUILD first.`,
      {},
      error,
    );
  if (error instanceof ServiceError) return unavailable(address, error.cause ?? error);
  return error;
}

/** Whether no worker takes the build of a run, by the server's words for it. */
export function isUnroutable(error: unknown): error is ServiceError {
  return error instanceof ServiceError && /version|deployment/i.test(messageOf(error.cause));
}

/** TEMPORAL_UNAVAILABLE, with the fix. */
export function unavailable(address: string, error: unknown): OnceflowError {
  return new OnceflowError(
    "TEMPORAL_UNAVAILABLE",
    `no Temporal server answers at ${address} (${messageOf(error)}). ${startOne} or set TEMPORAL_ADDRESS.`,
    {},
    error,
  );
}
