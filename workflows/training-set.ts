/** `trainingSet`: the values of a service for every row of its source. */
import { setCurrentDetails } from "@temporalio/workflow";
import { activities } from "./activities.ts";
import type { TrainingSetInput, TrainingSetResult } from "./contract.ts";

/** Computes the features of a service over the rows of its source and writes them as files. */
export async function trainingSet(input: TrainingSetInput): Promise<TrainingSetResult> {
  setCurrentDetails(`Training set of **${input.service}**.`);
  const result = await activities.buildTrainingSet.executeWithOptions(
    { summary: `compute ${input.service}` },
    [input],
  );
  setCurrentDetails(
    [
      `**${result.rows}** rows of **${input.service}** in \`${result.path}\`.`,
      ...(result.warnings ?? []).map((warning) => `\n⚠ ${warning}`),
    ].join("\n"),
  );
  return result;
}
