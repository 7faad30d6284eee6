/** A worker in this process, with definitions of the test's own. */
import { fileURLToPath } from "node:url";
import { Context } from "@temporalio/activity";
import { NativeConnection, Worker, type WorkerOptions } from "@temporalio/worker";
import { createOfflineActivities } from "../../../activities/offline.ts";
import { heartbeatMs } from "../../../activities/run-context.ts";
import type { Task } from "../../../activities/tasks/task.ts";
import type { Catalogue } from "../../../engine/catalogue.ts";
import { deploymentOf, type Settings, versioningOf } from "../../../settings.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { type PublishInput, queuesOf } from "../../../workflows/contract.ts";

/** Called before an attempt of an activity, with its name and its first argument, and waited for. */
export type BeforeActivity = (name: string, input: unknown) => unknown;

/** Counts attempts of an activity, and holds them back until they are let go. */
export function holdActivity(activity: string, isHeld: (input: unknown) => boolean = () => true) {
  let letGo: () => void = () => undefined;
  const open = new Promise<void>((resolve) => (letGo = resolve));
  const held = {
    begun: 0,
    letGo: () => letGo(),
    before: async (name: string, input?: unknown): Promise<void> => {
      if (name !== activity) return;
      held.begun++;
      if (isHeld(input)) await open;
    },
  };
  return held;
}

/** Counts publishes, and holds those of a view, if any, back until they are let go. */
export function holdPublishes(view?: string) {
  return holdActivity("publishView", (input) => (input as PublishInput).view === view);
}

/** Starts it; the answer ends it. */
export async function startOwnWorker(
  settings: Settings,
  catalogue: Catalogue,
  tasks: Readonly<Record<string, Task>> = {},
  options: Partial<WorkerOptions> = {},
  before: BeforeActivity = () => undefined,
): Promise<() => Promise<void>> {
  const redis = connectRedis(settings.redisUrl, "writing");
  const connection = await NativeConnection.connect({ address: settings.temporalAddress });
  const worker = await Worker.create({
    connection,
    taskQueue: queuesOf(settings.queue).offline,
    workflowsPath: fileURLToPath(new URL("../../../workflows/", import.meta.url)),
    maxConcurrentActivityTaskExecutions: 2,
    maxHeartbeatThrottleInterval: heartbeatMs,
    activities: preceded(
      createOfflineActivities({ catalogue, redis, settings, tasks, build: deploymentOf(settings) }),
      before,
    ),
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

/** Activities that wait for something first, and say meanwhile that they are alive. */
function preceded(activities: object, before: BeforeActivity): object {
  type Activity = (...args: unknown[]) => Promise<unknown>;
  return Object.fromEntries(
    Object.entries(activities as Record<string, Activity>).map(([name, activity]) => [
      name,
      async (...args: unknown[]) => {
        const context = Context.current();
        const beating = setInterval(() => context.heartbeat(), heartbeatMs);
        try {
          await before(name, args[0]);
        } finally {
          clearInterval(beating);
        }
        return activity(...args);
      },
    ]),
  );
}
