/** What the offline activities work with. */
import type { WorkerDeploymentVersion } from "@temporalio/common";
import type { Catalogue } from "../engine/catalogue.ts";
import type { Stores } from "../filling/stores.ts";
import type { Task, TaskFolders } from "./tasks/task.ts";
import type { Webhook } from "./webhooks.ts";

/** Definitions, stores, and what an operator gives them; each factory takes what it needs. */
export interface OfflineDependencies extends Stores {
  readonly catalogue: Catalogue;
  /** The tasks of pipelines and sensors, and the folders that they are given. */
  readonly tasks: Readonly<Record<string, Task>>;
  readonly folders: TaskFolders;
  /** By the names that schedules call them. */
  readonly webhooks: Readonly<Record<string, Webhook>>;
  /** How Temporal knows the workers of this build, where it tells builds apart. */
  readonly build?: WorkerDeploymentVersion | undefined;
}
