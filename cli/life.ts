/** What Temporal knows of how a run fares: what is tried again, and when it was last heard of. */
import type { Client, WorkflowExecutionDescription } from "@temporalio/client";
import { optionalTsToMs } from "@temporalio/common/lib/time.js";
import { formatSpan } from "../engine/calendar/duration.ts";
import { clean } from "./table.ts";

/** How a run that is under way fares. */
export interface Life {
  /** Why an activity of it is tried again, such as a file that is missing. */
  readonly retrying: string | null;
  /** The last sign of life, ISO 8601, of the activity silent for longest; null where none is done. */
  readonly last_sign_of_life: string | null;
  /** Since when a step waits for a worker to take it, ISO 8601; null where none does. */
  readonly unclaimed_since: string | null;
}

/** Workers tell of themselves every 8 s at least, and take what is there within less. */
const quietMs = 3_000;
const claimMs = 3_000;
/** The number of the started kind in PendingActivityState, and in PendingWorkflowTaskState. */
const started = { activity: 2, workflowTask: 2 } as const;
/** The number of the heartbeat kind in TimeoutType. */
const heartbeatKind = 4;

const unknownLife: Life = { retrying: null, last_sign_of_life: null, unclaimed_since: null };

/** Asks for the life of a run; nothing is known of one that Temporal does not answer for. */
export async function readLife(
  client: Client,
  { workflowId, runId }: { readonly workflowId: string; readonly runId?: string },
): Promise<Life> {
  try {
    return lifeOf(await client.workflow.getHandle(workflowId, runId).describe(), Date.now());
  } catch {
    return unknownLife;
  }
}

function lifeOf({ raw }: Pick<WorkflowExecutionDescription, "raw">, nowMs: number): Life {
  const activities = raw.pendingActivities ?? [];
  const failed = activities.find((activity) => activity.lastFailure?.message != null);
  const working = activities.filter(({ state }) => Number(state) === started.activity);
  const heardMs = working.flatMap(
    ({ lastHeartbeatTime, lastStartedTime }) =>
      later(optionalTsToMs(lastHeartbeatTime), optionalTsToMs(lastStartedTime)) ?? [],
  );
  const task = raw.pendingWorkflowTask;
  const waiting = [
    ...activities.flatMap((activity) => (working.includes(activity) ? [] : activity.scheduledTime)),
    ...(task != null && Number(task.state) !== started.workflowTask ? [task.scheduledTime] : []),
  ];
  // What is tried again later is scheduled ahead.
  const waitingMs = waiting
    .flatMap((time) => optionalTsToMs(time) ?? [])
    .filter((ms) => ms < nowMs);
  return {
    retrying: failed === undefined ? null : triedAgain(failed),
    last_sign_of_life: oldest(heardMs),
    unclaimed_since: oldest(waitingMs),
  };
}

function triedAgain({
  attempt,
  lastFailure,
}: NonNullable<WorkflowExecutionDescription["raw"]["pendingActivities"]>[number]): string {
  const isSilence = Number(lastFailure?.timeoutFailureInfo?.timeoutType ?? 0) === heartbeatKind;
  const why = isSilence
    ? "its worker gave no sign of life"
    : [lastFailure?.applicationFailureInfo?.type, lastFailure?.message].filter(Boolean).join(" ");
  return clean(`attempt ${attempt}, after ${why}`);
}

/** What is amiss with a run, in words; undefined where nothing is. */
export function troubleOf(life: Life, nowMs: number): string | undefined {
  const { retrying, last_sign_of_life: heard, unclaimed_since: unclaimed } = life;
  const sinceOf = (time: string | null, leastMs: number) => {
    const ms = time === null ? 0 : nowMs - Date.parse(time);
    return ms >= leastMs ? formatSpan(Math.round(ms / 1000)) : undefined;
  };
  const quiet = sinceOf(heard, quietMs);
  const waits = sinceOf(unclaimed, claimMs);
  const parts = [
    ...(retrying === null ? [] : [retrying]),
    ...(quiet === undefined ? [] : [`last sign of life ${quiet} ago`]),
    ...(waits === undefined ? [] : [`no worker has taken it for ${waits}`]),
  ];
  return parts.length === 0 ? undefined : parts.join(", ");
}

function later(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.max(one, other);
}

function oldest(times: readonly number[]): string | null {
  return times.length === 0 ? null : new Date(Math.min(...times)).toISOString();
}
