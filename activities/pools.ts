/** The activities of pools: what a workflow cannot ask Temporal itself. */
import { Context, getClient } from "@temporalio/activity";
import { WorkflowNotFoundError } from "@temporalio/common";
import { attributesOf } from "../workflows/search-attributes.ts";
import {
  idsOf,
  type PoolInput,
  type PoolMember,
  poolMessages,
  type PoolRef,
} from "../workflows/contract.ts";

/** Makes them. */
export function createPools() {
  return {
    /** Asks for a place, and starts the pool where nobody held one. The pool signals the grant. */
    async enterPool({ name, slots }: PoolRef): Promise<void> {
      const { taskQueue, workflowExecution } = Context.current().info;
      const member: PoolMember = {
        workflowId: workflowExecution?.workflowId ?? "",
        runId: workflowExecution?.runId ?? "",
      };
      const input: PoolInput = { name, slots };
      await getClient().workflow.signalWithStart("pool", {
        args: [input],
        signal: poolMessages.acquire,
        signalArgs: [member, slots],
        taskQueue,
        workflowId: idsOf(taskQueue).pool(name),
        staticSummary: `pool ${name}`,
        typedSearchAttributes: attributesOf("pool"),
      });
    },

    /** Those of the runs that are not under way any more. */
    async endedRuns(runs: readonly PoolMember[]): Promise<PoolMember[]> {
      const client = getClient();
      const ended = await Promise.all(
        runs.map(async ({ workflowId, runId }) => {
          try {
            const { status } = await client.workflow.getHandle(workflowId, runId).describe();
            return status.name !== "RUNNING";
          } catch (error) {
            if (error instanceof WorkflowNotFoundError) return true;
            throw error;
          }
        }),
      );
      return runs.filter((_, i) => ended[i]);
    },
  };
}
