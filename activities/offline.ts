/** The activities of the offline queue: a factory over a connection and what settings say. */
import { OnceflowError } from "../engine/errors.ts";
import { createLedger } from "../store/ledger.ts";
import { createOfflineStore } from "../store/offline/offline-store.ts";
import { createOnlineStore } from "../store/online-store.ts";
import { withFailures } from "./failure.ts";
import type { OfflineDependencies } from "./dependencies.ts";
import { createMaterialization } from "./materialization.ts";
import { untilCancelled, withHeartbeats } from "./run-context.ts";
import { createScheduling } from "./scheduling.ts";
import { createSensors } from "./sensors.ts";
import type { TaskInput } from "../workflows/contract.ts";
import { createTrainingSets } from "./training-set.ts";
import { createPools } from "./pools.ts";
import { createWebhooks } from "./webhooks.ts";

/** What the offline queue works with. */
export interface OfflineOptions extends Pick<OfflineDependencies, "catalogue" | "redis" | "build"> {
  /** What of the settings of the same names the activities go by. */
  readonly settings: Pick<OfflineDependencies, "webhooks"> & {
    readonly prefix: string;
    readonly dataDir: string;
    readonly offlineDir: string;
    /** Paths by the name of the source that they replace. */
    readonly sources: Readonly<Record<string, string>>;
  };
  /** By name; none by default. */
  readonly tasks?: OfflineDependencies["tasks"];
}

/**
 * All I/O that the workflows of the offline queue may ask for, with the tasks of users.
 *
 * @throws DEFINITION_INVALID where a task has the name of one of ours
 */
export function createOfflineActivities({ settings, tasks = {}, ...given }: OfflineOptions) {
  const { prefix, dataDir, offlineDir, sources, webhooks } = settings;
  const folders = { dataDir, offlineDir };
  const dependencies: OfflineDependencies = {
    ...given,
    online: createOnlineStore(given.redis, { prefix }),
    ledger: createLedger(given.redis, { prefix }),
    offline: createOfflineStore({ root: offlineDir }),
    sources: { dataDir, overrides: sources },
    tasks,
    folders,
    webhooks,
  };
  const own = {
    ...createMaterialization(dependencies),
    ...createSensors(dependencies),
    ...createScheduling(dependencies),
    ...createTrainingSets(dependencies),
    ...createPools(),
    ...createWebhooks(dependencies),
  };
  const taken = Object.keys(tasks).find((name) => name in own);
  if (taken !== undefined)
    throw new OnceflowError(
      "DEFINITION_INVALID",
      `activities/tasks/index.ts exports a task "${taken}", which is the name of an activity of onceflow. Give it another name.`,
    );
  const tasksAsActivities = Object.fromEntries(
    Object.entries(tasks).map(([name, task]) => [
      name,
      (interval: TaskInput) => untilCancelled((signal) => task(interval, folders, signal)),
    ]),
  );
  return {
    ...withFailures(withHeartbeats(tasksAsActivities), "users"),
    ...withFailures(withHeartbeats(own)),
  };
}
