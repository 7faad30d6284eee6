/** A workflow that scores by online features. run-workflow.ts has a worker for it. */
import { proxyActivities } from "@temporalio/workflow";
import type { FeatureAnswer } from "../serving/answer.ts";
import type { FeatureRequest } from "../serving/request.ts";

/** Stands for a model: weights of features by name. */
const weights: Readonly<Record<string, number>> = { is_summer: 0.3, has_children: 0.2 };

/** The score of an employee; null where a feature that it needs has no value. */
export async function score(id: string, onlineQueue: string): Promise<number | null> {
  const { getOnlineFeatures } = proxyActivities<{
    getOnlineFeatures: (request: FeatureRequest) => Promise<FeatureAnswer>;
  }>({
    taskQueue: onlineQueue,
    // Of one attempt, and of all of them with the waits between.
    startToCloseTimeout: "2 seconds",
    scheduleToCloseTimeout: "10 seconds",
    retry: { initialInterval: "100 milliseconds" },
  });
  const { results } = await getOnlineFeatures({ service: "model_x", entities: [{ id }] });
  const [row] = results;
  let sum = 0;
  for (const [name, weight] of Object.entries(weights)) {
    if (row?.statuses[name] !== "PRESENT") return null;
    sum += weight * Number(row.features[name]);
  }
  return sum;
}
