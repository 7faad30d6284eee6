/** What Temporal's SDK logs, as lines of our logger. */
import { DefaultLogger, type LogEntry } from "@temporalio/worker";
import type { Logger, LogOptions } from "../serving/telemetry/logging.ts";

const levels = {
  TRACE: "debug",
  DEBUG: "debug",
  INFO: "info",
  WARN: "warn",
  ERROR: "error",
} as const;

/**
 * The logger for the SDK's `Runtime`. The id of a workflow is the caller's text where requests are
 * answered, so it is shown with details alone.
 */
export function temporalLogger(log: Logger, { level, details = false }: LogOptions) {
  const lowest = level === "silent" ? "ERROR" : (level.toUpperCase() as "DEBUG");
  return new DefaultLogger(lowest, ({ level: own, message, meta }: LogEntry) => {
    const { error, activityType, attempt, workflowId, taskQueue, target } = (meta ??
      {}) as Readonly<Record<string, unknown>>;
    log[levels[own]](
      {
        ...(typeof activityType === "string" ? { activity: activityType, attempt } : {}),
        ...(typeof taskQueue === "string" ? { task_queue: taskQueue } : {}),
        ...(typeof workflowId === "string" && details ? { workflow_id: workflowId } : {}),
        // The native part of the SDK says its errors in words.
        ...(typeof target === "string" ? { target, error } : error !== undefined && { err: error }),
      },
      message,
    );
  });
}
