/** `cancel`: ends a run that is under way. */
import type { Command } from "commander";
import { OnceflowError } from "../engine/errors.ts";
import { type Context, finishCommand, type JsonOption, openRuns } from "./context.ts";
import { clean } from "./table.ts";

/** Adds the command. */
export function addCancel(program: Command, context: Context): void {
  const command = program
    .command("cancel")
    .argument("<workflow-id>", "as `materialize` and `training-set` print it")
    .summary("cancel a run that is under way")
    .description(
      "Asks a run to end. It commits nothing; rows that it has written stay until newer ones " +
        "replace them. The run log shows it as cancelled.",
    )
    .action((workflowId: string, options: JsonOption) =>
      context.answer(options, async () => {
        const { client } = await openRuns(context.settings());
        const { WorkflowNotFoundError } = await import("@temporalio/client");
        try {
          await client.workflow.getHandle(workflowId).cancel();
        } catch (error) {
          if (!(error instanceof WorkflowNotFoundError)) throw error;
          throw new OnceflowError(
            "REQUEST_INVALID",
            `no run that is under way has the id "${clean(workflowId)}". It may have ended: see \`status\`.`,
            { workflow_id: workflowId },
          );
        }
        return {
          data: { workflow_id: workflowId, outcome: "cancel_requested" },
          text: () => `asked ${workflowId} to end`,
        };
      }),
    );
  finishCommand(command, [
    "cancel onceflow/training-set/model_x/1767225600000-4711-0",
    "cancel onceflow/training-set/model_x/1767225600000-4711-0 --json",
  ]);
}
