/**
 * Starts a worker for the workflow of workflow.ts, runs it once and ends.
 *
 *   node --import tsx examples/run-workflow.ts 11
 */
import { fileURLToPath } from "node:url";
import { Client } from "@temporalio/client";
import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";
import type { score } from "./workflow.ts";

const { TEMPORAL_ADDRESS = "127.0.0.1:7233", ONCEFLOW_QUEUE = "onceflow" } = process.env;
const id = process.argv[2] ?? "11";
const taskQueue = `${ONCEFLOW_QUEUE}-example`;

// At WARN the SDK says that this worker has no activities, as is meant: they are the online worker's.
Runtime.install({ logger: new DefaultLogger("ERROR") });
const connection = await NativeConnection.connect({ address: TEMPORAL_ADDRESS });
const worker = await Worker.create({
  connection,
  taskQueue,
  workflowsPath: fileURLToPath(new URL("./workflow.ts", import.meta.url)),
});
const client = new Client({ connection });
const result = await worker.runUntil(
  client.workflow.execute<typeof score>("score", {
    args: [id, `${ONCEFLOW_QUEUE}-online`],
    taskQueue,
    workflowId: `score-${id}-${Date.now()}`,
    workflowExecutionTimeout: "1 minute",
  }),
);
console.log(
  result === null
    ? `no score of employee ${id}: a feature that it needs has no value`
    : `score of employee ${id}: ${result}`,
);
await connection.close();
