/** The workers that take runs, as Temporal knows them: by who polls the task queue. */
import type { Client } from "@temporalio/client";
import { optionalTsToMs } from "@temporalio/common/lib/time.js";
import { formatSpan } from "../engine/calendar/duration.ts";
import { commandLine } from "../engine/invocation.ts";
import type { Settings } from "../settings.ts";
import { queuesOf } from "../workflows/contract.ts";

/** Who polls the task queue of runs. */
export interface Workers {
  readonly task_queue: string;
  /** Of this build alone; null where builds are not told apart. */
  readonly build: string | null;
  /** Workers that polled a moment ago. */
  readonly polling: number;
  /** ISO 8601; null where none has for some minutes. */
  readonly last_poll_at: string | null;
}

/** A poll lasts a minute, and Temporal keeps for five when each worker last began one. */
const pollMs = 70_000;
/** The number of the workflow kind in TaskQueueType. */
const workflowKind = 1;

/** Asks Temporal who takes runs. Cost: one call. */
export async function readWorkers(
  client: Client,
  { queue, build, temporalNamespace: namespace }: Settings,
): Promise<Workers> {
  const name = queuesOf(queue).offline;
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name },
    taskQueueType: workflowKind,
  });
  const own = (pollers ?? []).filter(
    ({ deploymentOptions }) => build === undefined || deploymentOptions?.buildId === build,
  );
  const polledMs = own.map(({ lastAccessTime }) => optionalTsToMs(lastAccessTime) ?? 0);
  const lastMs = Math.max(0, ...polledMs);
  return {
    task_queue: name,
    build: build ?? null,
    polling: polledMs.filter((ms) => Date.now() - ms < pollMs).length,
    last_poll_at: lastMs === 0 ? null : new Date(lastMs).toISOString(),
  };
}

/** Says that no worker takes runs, and what starts one; undefined where one does. */
export function withoutWorker(workers: Workers, nowMs: number): string | undefined {
  const { task_queue: queue, build, polling, last_poll_at: last } = workers;
  if (polling > 0) return undefined;
  const [which, env] =
    build === null ? ["", ""] : [` of build "${build}"`, `ONCEFLOW_BUILD=${build} `];
  const since =
    last === null ? "" : `; the last one did ${formatSpan((nowMs - Date.parse(last)) / 1000)} ago`;
  return `no worker${which} polls the task queue "${queue}", so nothing runs${since}. Start one: ${env}${commandLine("worker")}`;
}
