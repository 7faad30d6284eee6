/** A worker in this process, with definitions of the test's own. */
import { fileURLToPath } from "node:url";
import { NativeConnection, Worker, type WorkerOptions } from "@temporalio/worker";
import { createOfflineActivities } from "../../../activities/offline.ts";
import { heartbeatMs } from "../../../activities/run-context.ts";
import type { Task } from "../../../activities/tasks/task.ts";
import type { Catalogue } from "../../../engine/catalogue.ts";
import { deploymentOf, type Settings, versioningOf } from "../../../settings.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { queuesOf } from "../../../workflows/contract.ts";

/** Starts it; the answer ends it. */
export async function startOwnWorker(
  settings: Settings,
  catalogue: Catalogue,
  tasks: Readonly<Record<string, Task>> = {},
  options: Partial<WorkerOptions> = {},
): Promise<() => Promise<void>> {
  const redis = connectRedis(settings.redisUrl, "writing");
  const connection = await NativeConnection.connect({ address: settings.temporalAddress });
  const worker = await Worker.create({
    connection,
    taskQueue: queuesOf(settings.queue).offline,
    workflowsPath: fileURLToPath(new URL("../../../workflows/", import.meta.url)),
    maxConcurrentActivityTaskExecutions: 2,
    maxHeartbeatThrottleInterval: heartbeatMs,
    activities: createOfflineActivities({
      catalogue,
      redis,
      settings,
      tasks,
      build: deploymentOf(settings),
    }),
    ...versioningOf(settings),
    ...options,
  });
  const running = worker.run();
  return async () => {
    worker.shutdown();
    await running;
    await redis.close();
    await connection.close();
  };
}
