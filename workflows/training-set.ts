/** `trainingSet`: the values of a service for every row of its source. */
import * as workflow from "@temporalio/workflow";
import type { createOfflineActivities } from "../activities/offline.ts";
import type { TrainingSetInput, TrainingSetResult } from "./contract.ts";

const activities = workflow.proxyActivities<ReturnType<typeof createOfflineActivities>>({
  startToCloseTimeout: "2 hours",
  heartbeatTimeout: "10 seconds",
  retry: { initialInterval: "500 ms", maximumInterval: "30 seconds", maximumAttempts: 30 },
});

/** Computes the features of a service over the rows of its source and writes them as files. */
export async function trainingSet(input: TrainingSetInput): Promise<TrainingSetResult> {
  workflow.setCurrentDetails(`Training set of **${input.service}**.`);
  const result = await activities.buildTrainingSet.executeWithOptions(
    { summary: `compute ${input.service}` },
    [input],
  );
  workflow.setCurrentDetails(
    `**${result.rows}** rows of **${input.service}** in \`${result.path}\`.`,
  );
  return result;
}
