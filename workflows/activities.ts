/** The offline activities as workflows call them, with their time-outs and retries. */
import { type ActivityOptions, proxyActivities } from "@temporalio/workflow";
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

/** The same, for the last words of a run that failed: they must not keep it from ending. */
export const lastActivities = proxyActivities<OfflineActivities>({
  ...taskOptions,
  scheduleToCloseTimeout: "1 minute",
});
