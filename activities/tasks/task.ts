/** What a task is. */
import type { TaskInput } from "../../workflows/contract.ts";

/** The folders of the deployment, absolute or relative to the worker's. */
export interface TaskFolders {
  /** Of raw rows: ONCEFLOW_DATA. */
  readonly dataDir: string;
  /** Of materialized rows and training sets: ONCEFLOW_OFFLINE. */
  readonly offlineDir: string;
}

/**
 * A step of a pipeline, or a sensor, as an activity: it may do any I/O, its heartbeats are sent for
 * it, and it is retried when it throws, so it must bear being run twice. What it answers goes into
 * the history: keep it small. A sensor answers true once it is ready; else it is asked again.
 *
 * `signal` is aborted when the run is cancelled: pass it on to `fetch` and the like. The run does
 * not wait for a task that goes on after it.
 */
export type Task = (
  interval: TaskInput,
  folders: TaskFolders,
  signal: AbortSignal,
) => Promise<unknown>;
