/** The offline activities as workflows call them, with their time-outs and retries. */
import { type ActivityOptions, proxyActivities } from "@temporalio/workflow";
import type { RunRetry } from "./contract.ts";
import type { createOfflineActivities } from "../activities/offline.ts";

type OfflineActivities = ReturnType<typeof createOfflineActivities>;

/** Tasks of users: retried for a day, unless they fail with a non-retryable ApplicationFailure. */
export const taskOptions: ActivityOptions = {
  startToCloseTimeout: "2 hours",
  heartbeatTimeout: "10 seconds",
  // Wrong data and definitions are not retried, by their code. Stores and files come back, so a
  // run waits for them, for a day.
  scheduleToCloseTimeout: "24 hours",
  retry: { initialInterval: "500 ms", maximumInterval: "30 seconds" },
  // A cancelled attempt is waited for, so that what it staged can be removed.
  cancellationType: "WAIT_CANCELLATION_COMPLETED",
};

export const activities = proxyActivities<OfflineActivities>(taskOptions);

/** The same, with the retries that a view asks for. */
export function activitiesWith(retry: RunRetry | undefined): typeof activities {
  return proxyActivities<OfflineActivities>(optionsWith(retry));
}

/** The options of tasks, with the retries that a view asks for. */
export function optionsWith(retry: RunRetry | undefined): ActivityOptions {
  if (retry === undefined) return taskOptions;
  const { attempts, initialMs, maxMs } = retry;
  return {
    ...taskOptions,
    retry: {
      initialInterval: initialMs,
      maximumInterval: Math.max(initialMs, maxMs),
      ...(attempts === null ? {} : { maximumAttempts: attempts }),
    },
  };
}

/** A call of a webhook: given up after a while, so that the run can end. */
export const webhookActivities = proxyActivities<OfflineActivities>({
  ...taskOptions,
  startToCloseTimeout: "30 seconds",
  scheduleToCloseTimeout: "10 minutes",
});

/** The same, for the last words of a run, by its end: they must not keep it from ending for long. */
export const lastActivities = {
  failed: within("10 minutes"),
  blocked: within("10 minutes"),
  // Somebody waits for it.
  cancelled: within("1 minute"),
} as const;

function within(scheduleToCloseTimeout: "1 minute" | "10 minutes") {
  return proxyActivities<OfflineActivities>({ ...taskOptions, scheduleToCloseTimeout });
}
