/** The offline activities as workflows call them, with their time-outs and retries. */
import { type ActivityOptions, proxyActivities } from "@temporalio/workflow";
import type { RunRetry } from "./contract.ts";
import type { createOfflineActivities } from "../activities/offline.ts";

type OfflineActivities = ReturnType<typeof createOfflineActivities>;

/** Tasks of users: retried for a day, unless they fail with a non-retryable ApplicationFailure. */
export const taskOptions = {
  startToCloseTimeout: "2 hours",
  heartbeatTimeout: "10 seconds",
  // Wrong data and definitions are not retried, by their code. Stores and files come back, so a
  // run waits for them, for a day.
  scheduleToCloseTimeout: "24 hours",
  retry: { initialInterval: "500 ms", maximumInterval: "30 seconds" },
  // A cancelled attempt is waited for, so that what it staged can be removed.
  cancellationType: "WAIT_CANCELLATION_COMPLETED",
} as const satisfies ActivityOptions;

export const activities = proxyActivities<OfflineActivities>(taskOptions);

/** The same, with the retries that a view asks for. */
export function activitiesWith(retry: RunRetry | undefined): typeof activities {
  if (retry === undefined) return activities;
  const { attempts, initialMs, maxMs } = retry;
  return proxyActivities<OfflineActivities>({
    ...taskOptions,
    retry: {
      initialInterval: initialMs,
      maximumInterval: Math.max(initialMs, maxMs),
      ...(attempts === null ? {} : { maximumAttempts: attempts }),
    },
  });
}

/** A call of a webhook: given up after a while, so that the run can end. */
export const webhookActivities = proxyActivities<OfflineActivities>({
  ...taskOptions,
  startToCloseTimeout: "30 seconds",
  scheduleToCloseTimeout: "10 minutes",
});

/** The same, for the last words of a run that failed: they must not keep it from ending. */
export const lastActivities = proxyActivities<OfflineActivities>({
  ...taskOptions,
  scheduleToCloseTimeout: "1 minute",
});
