/**
 * Asks for features through Temporal without a workflow.
 *
 *   npm install @temporalio/client@1.24.0
 *   node --import tsx examples/standalone-activity.ts 11
 */
import { ApplicationFailure } from "@temporalio/common";
import { ActivityExecutionFailedError, Client, Connection } from "@temporalio/client";

const { TEMPORAL_ADDRESS = "127.0.0.1:7233", ONCEFLOW_QUEUE = "onceflow" } = process.env;
const id = process.argv[2] ?? "11";

const connection = await Connection.connect({ address: TEMPORAL_ADDRESS });
const client = new Client({ connection });
try {
  const answer: unknown = await client.activity.execute("getOnlineFeatures", {
    args: [{ service: "model_x", entities: [{ id }] }],
    id: `model_x-${id}-${Date.now()}`,
    taskQueue: `${ONCEFLOW_QUEUE}-online`,
    // Of one attempt, and of all of them with the waits between.
    startToCloseTimeout: "2 seconds",
    scheduleToCloseTimeout: "10 seconds",
    retry: { initialInterval: "100 milliseconds" },
  });
  console.log(JSON.stringify(answer));
} catch (error) {
  const cause = error instanceof ActivityExecutionFailedError ? error.cause : undefined;
  // Such as UNKNOWN_SERVICE; docs/errors.md lists the codes.
  if (!(cause instanceof ApplicationFailure)) throw error;
  console.error(`${cause.type}: ${cause.message}`);
  process.exitCode = 1;
} finally {
  await connection.close();
}
