/** Makes workflows of tasks around a materialization, for one interval each. */
import { ApplicationFailure, proxyActivities } from "@temporalio/workflow";
import type { tasks as allTasks } from "../activities/tasks/index.ts";
import { optionsWith, taskOptions } from "./activities.ts";
import type { MaterializeInput, MaterializeResult, TaskInput } from "./contract.ts";
import { type IntervalRun, recorded } from "./interval-run.ts";
import { commitInterval, coveredResult } from "./materialize.ts";
import { inPools } from "./pools.ts";
import { mayBegin } from "./when-ready.ts";

/** Tasks as activities: the worker adds its folders. */
type TaskActivities = {
  [K in keyof typeof allTasks]: (interval: TaskInput) => ReturnType<(typeof allTasks)[K]>;
};

/** Of the run that this execution is; a module's state is each execution's own. */
let options = taskOptions;

/** The tasks of activities/tasks, as the steps of a pipeline call them, retried as the view says. */
export const tasks = new Proxy({} as TaskActivities, {
  get: (_, name) => proxyActivities<TaskActivities>(options)[name as keyof TaskActivities],
});

/** The steps of a pipeline; `materialize` commits the interval, and is called once. */
export type Steps = (
  interval: TaskInput,
  materialize: () => Promise<MaterializeResult>,
) => Promise<void>;

/**
 * A workflow to name in the `workflow` of a schedule: it runs the steps for an interval, once what
 * comes first is committed and what it waits for is there. It stands in the grid in place of
 * `materialize`: a step that fails makes the interval failed, also after the commit, and what is
 * committed stays. An interval that is computed again runs all its steps again; one that is committed, none.
 */
export function pipeline(steps: Steps): (input: MaterializeInput) => Promise<MaterializeResult> {
  return (input) =>
    recorded(input, async (run) => {
      const answer = await mayBegin(run);
      if (answer.due === "nothing") return coveredResult(run, answer);
      return inPools(run, () => runSteps(run, steps));
    });
}

async function runSteps(run: IntervalRun, steps: Steps): Promise<MaterializeResult> {
  run.show("The steps of the pipeline run; the timeline shows which.");
  const { view, start, end, retry } = run.input;
  options = optionsWith(retry);
  let result: MaterializeResult | undefined;
  await steps({ view, start, end }, async () => {
    result = await commitInterval(run);
    // A step that fails after this makes the interval failed, and takes nothing away.
    run.generation = null;
    run.isCommitted = false;
    return result;
  });
  if (result !== undefined) return result;
  throw ApplicationFailure.nonRetryable(
    "the pipeline ended without calling materialize(). Call it once among its steps.",
    "DEFINITION_INVALID",
  );
}
