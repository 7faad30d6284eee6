/** `cancel`: ends a run that is under way. */
import type { Command } from "commander";
import { OnceflowError } from "../../engine/errors.ts";
import { type Context, finishCommand, type JsonOption, openRuns } from "../context.ts";
import { clean } from "../table.ts";

interface Options extends JsonOption {
  readonly force?: true;
}

/** Adds the command. */
export function addCancel(program: Command, context: Context): void {
  const command = program
    .command("cancel")
    .argument("<workflow-id>", "as `materialize` and `training-set` print it")
    .summary("cancel a run that is under way")
    .description(
      "Asks a run to end. It commits nothing; rows that it has written stay until newer ones " +
        "replace them. The run log shows it as cancelled. A worker must be there to end it, of its " +
        "build where workers have an ONCEFLOW_BUILD; with --force it ends without one, and nothing " +
        "is written of it: its interval is as it was before.",
    )
    .option("--force", "end it although no worker of its build runs any more")
    .action((workflowId: string, options: Options) =>
      context.answer(options, async () => {
        const force = options.force === true;
        const runs = await openRuns(context.settings());
        const { WorkflowNotFoundError } = await import("@temporalio/client");
        const handle = runs.client.workflow.getHandle(workflowId);
        await runs.attempt(async () => {
          try {
            await (force ? handle.terminate("by cancel --force") : handle.cancel());
          } catch (error) {
            if (!(error instanceof WorkflowNotFoundError)) throw error;
            throw new OnceflowError(
              "REQUEST_INVALID",
              `no run that is under way has the id "${clean(workflowId)}". It may have ended: see \`status\`.`,
              { workflow_id: workflowId },
            );
          }
        });
        return {
          data: { workflow_id: workflowId, outcome: force ? "ended" : "cancel_requested" },
          text: () => (force ? `ended ${workflowId}` : `asked ${workflowId} to end`),
        };
      }),
    );
  finishCommand(command, [
    "cancel onceflow/training-set/model_x/1767225600000-4711-0",
    "cancel onceflow/training-set/model_x/1767225600000-4711-0 --force",
  ]);
}
