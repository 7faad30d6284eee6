/** An example of a pipeline: five tasks around the materialization of a day of badge events. */
import { ApplicationFailure } from "@temporalio/workflow";
import { pipeline, tasks } from "../pipeline.ts";

export const presenceDaily = pipeline(async (day, materialize) => {
  if (!(await tasks.checkDelivery(day)))
    throw ApplicationFailure.nonRetryable("The day's file was not delivered.", "NOT_DELIVERED");
  await tasks.extractBadges(day);
  await materialize();
  await Promise.all([tasks.trainPresence(day), tasks.archiveDelivery(day)]);
  await tasks.publishReport(day);
});
