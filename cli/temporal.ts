/** Starts and follows runs on Temporal, for the CLI and the demo. */
import { setTimeout as pause } from "node:timers/promises";
import {
  Client,
  Connection,
  ServiceError,
  WorkflowFailedError,
  type WorkflowHandle,
} from "@temporalio/client";
import {
  ActivityFailure,
  ApplicationFailure,
  NamespaceNotFoundError,
  type SearchAttributePair,
  WorkflowNotFoundError,
} from "@temporalio/common";
import { type ErrorCode, errorRegistry, messageOf, OnceflowError } from "../engine/errors.ts";
import { startOne } from "../engine/invocation.ts";
import type { FeatureAnswer } from "../serving/answer.ts";
import { bodyLimitBytes } from "../serving/http/json-body.ts";
import { deploymentOf, type Settings } from "../settings.ts";
import {
  type BackfillInput,
  backfillMessages,
  type BackfillResult,
  type BackfillState,
  idsOf,
  type MaterializeInput,
  type MaterializeResult,
  queuesOf,
  type TrainingSetInput,
  type TrainingSetResult,
} from "../workflows/contract.ts";
import { attributesOf } from "../workflows/attributes.ts";
import type { backfill, materialize, trainingSet } from "../workflows/index.ts";
import { hasPolled } from "./builds.ts";

const connectTimeoutMs = 10_000;
/** How long a build that has polled is waited for until it gets runs, and between two tries. */
const [routingMs, retryMs] = [10_000, 200];

/** A connection to Temporal that can start onceflow's runs. */
export interface Runs {
  readonly client: Client;
  /**
   * Starts the run of a view and interval by its workflow (`materialize`, or the pipeline that its
   * schedule names), or joins the one that is under way.
   */
  readonly startMaterialize: (
    input: MaterializeInput,
    workflow?: string,
  ) => Promise<Run<MaterializeResult>>;
  /** Starts a backfill, or joins the one of the same range and mode that is under way. */
  readonly startBackfill: (input: BackfillInput) => Promise<BackfillRun>;
  /** A backfill that was started before. */
  readonly backfillOf: (workflowId: string) => BackfillRun;
  readonly startTrainingSet: (input: TrainingSetInput) => Promise<Run<TrainingSetResult>>;
  /** Calls the online activity without a workflow; the server must know Standalone Activities. */
  readonly getFeatures: (request: unknown) => Promise<FeatureAnswer>;
  /** Does work with the client; what Temporal refuses gets our codes. */
  readonly attempt: <T>(work: () => Promise<T>) => Promise<T>;
  readonly close: () => Promise<void>;
}

/** A backfill, and how to steer it. */
export interface BackfillRun extends Run<BackfillResult> {
  readonly progress: () => Promise<BackfillState>;
  readonly pause: () => Promise<void>;
  readonly resume: () => Promise<void>;
  readonly setMaxParallel: (maxParallel: number) => Promise<void>;
}

/** A run that was started. */
export interface Run<T> {
  readonly workflowId: string;
  readonly runId: string;
  /**
   * Waits for the end.
   *
   * @throws OnceflowError with the code of the activity that failed, or RUN_FAILED
   */
  readonly result: () => Promise<T>;
  /** The words of the run's page: what it does and how far it is; undefined where there are none. */
  readonly details: () => Promise<string | undefined>;
  readonly cancel: () => Promise<void>;
}

/**
 * Connects to Temporal.
 *
 * @throws TEMPORAL_UNAVAILABLE
 */
export async function connectRuns(settings: Settings): Promise<Runs> {
  const { temporalAddress: address, temporalNamespace: namespace, queue } = settings;
  const queues = queuesOf(queue);
  const ids = idsOf(queue);
  let connection: Connection;
  try {
    connection = await Connection.connect({ address, connectTimeout: connectTimeoutMs });
  } catch (error) {
    throw unavailable(address, error);
  }
  const client = new Client({ connection, namespace });
  const guard = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw translate(error, address);
    }
  };
  let counter = 0;
  const build = deploymentOf(settings);
  // The definitions that an input names are those of this build, and only its workers have them.
  const onOwnBuild = build === undefined ? {} : { versioningOverride: { pinnedTo: build } };
  /** Temporal may know a build for some seconds before it gives runs to it. */
  const start: typeof withSearchAttributes = async (attributes, begin) => {
    const deadline = Date.now() + routingMs;
    for (;;)
      try {
        return await withSearchAttributes(attributes, begin);
      } catch (error) {
        const isSoon =
          build !== undefined &&
          isUnroutable(error) &&
          Date.now() < deadline &&
          (await hasPolled(client, namespace, build).catch(() => false));
        if (!isSoon) throw error;
        await pause(retryMs);
      }
  };
  return {
    client,
    startMaterialize: (input, workflow = "materialize") =>
      guard(async () => {
        const handle = await start(
          attributesOf("materialize", input.view, `${input.start}/${input.end}`),
          (typedSearchAttributes) =>
            client.workflow.start<typeof materialize>(workflow, {
              args: [input],
              taskQueue: queues.offline,
              workflowId: ids.interval(input),
              workflowIdConflictPolicy: "USE_EXISTING",
              staticSummary: `${input.view} [${input.start}, ${input.end})`,
              ...typedSearchAttributes,
              ...onOwnBuild,
            }),
        );
        return toRun<MaterializeResult>(handle, handle.firstExecutionRunId, guard);
      }),
    startBackfill: (input) =>
      guard(async () => {
        const handle = await start(attributesOf("backfill", input.view), (typedSearchAttributes) =>
          client.workflow.start<typeof backfill>("backfill", {
            args: [input],
            taskQueue: queues.offline,
            workflowId: ids.backfill(input),
            workflowIdConflictPolicy: "USE_EXISTING",
            staticSummary: `backfill of ${input.view} [${input.from}, ${input.to})`,
            ...typedSearchAttributes,
            ...onOwnBuild,
          }),
        );
        return toBackfill(handle, handle.firstExecutionRunId, guard);
      }),
    backfillOf: (workflowId) => toBackfill(client.workflow.getHandle(workflowId), "", guard),
    startTrainingSet: (input) =>
      guard(async () => {
        const handle = await start(attributesOf("training_set"), (typedSearchAttributes) =>
          client.workflow.start<typeof trainingSet>("trainingSet", {
            args: [input],
            taskQueue: queues.offline,
            workflowId: `${queue}/training-set/${input.service}/${Date.now()}-${process.pid}-${counter++}`,
            staticSummary: `training set of ${input.service}`,
            ...typedSearchAttributes,
            ...onOwnBuild,
          }),
        );
        return toRun<TrainingSetResult>(handle, handle.firstExecutionRunId, guard);
      }),
    getFeatures: (request) =>
      guard(async () => {
        assertFits(request);
        return await client.activity.execute<FeatureAnswer>("getOnlineFeatures", {
          id: `${queue}/get/${Date.now()}-${process.pid}-${counter++}`,
          args: [request],
          taskQueue: queues.online,
          scheduleToCloseTimeout: "10 s",
        });
      }),
    attempt: guard,
    close: () => connection.close(),
  };
}

/** What is larger Temporal refuses in its own words, or, over 4 MB, after a minute of retries. */
function assertFits(request: unknown): void {
  const bytes = Buffer.byteLength(JSON.stringify(request));
  if (bytes > bodyLimitBytes)
    throw new OnceflowError(
      "REQUEST_TOO_LARGE",
      `the request has ${bytes} bytes; one may have ${bodyLimitBytes}. Split it.`,
      { bytes, limit: bodyLimitBytes },
    );
}

/** Starts with search attributes, or, on a server that does not know them, without. */
async function withSearchAttributes<T>(
  typedSearchAttributes: SearchAttributePair[],
  start: (options: { typedSearchAttributes?: SearchAttributePair[] }) => Promise<T>,
): Promise<T> {
  try {
    return await start({ typedSearchAttributes });
  } catch (error) {
    const text = `${messageOf(error)} ${error instanceof ServiceError ? messageOf(error.cause) : ""}`;
    if (!/search attribute/i.test(text)) throw error;
    return start({});
  }
}

function toRun<T>(
  handle: WorkflowHandle,
  runId: string,
  guard: <R>(work: () => Promise<R>) => Promise<R>,
): Run<T> {
  return {
    workflowId: handle.workflowId,
    runId,
    result: () => guard(() => handle.result() as Promise<T>),
    details: async () => {
      const metadata = await handle
        .query<{ currentDetails?: string }>("__temporal_workflow_metadata")
        .catch(() => undefined);
      return metadata?.currentDetails;
    },
    cancel: () =>
      guard(async () => {
        await handle.cancel();
      }),
  };
}

function toBackfill(
  handle: WorkflowHandle,
  runId: string,
  guard: <R>(work: () => Promise<R>) => Promise<R>,
): BackfillRun {
  // Without a run id: a backfill continues as new, and messages go to the execution of today.
  const signal = (name: string, ...args: unknown[]) => guard(() => handle.signal(name, ...args));
  return {
    ...toRun<BackfillResult>(handle, runId, guard),
    progress: () => guard(() => handle.query<BackfillState>(backfillMessages.progress)),
    pause: () => signal(backfillMessages.pause),
    resume: () => signal(backfillMessages.resume),
    setMaxParallel: (maxParallel) => signal(backfillMessages.setMaxParallel, maxParallel),
  };
}

/** The error of ours behind what Temporal threw. */
function translate(error: unknown, address: string): unknown {
  if (error instanceof OnceflowError) return error;
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if (at instanceof ApplicationFailure && at.type != null && at.type in errorRegistry) {
      const [details] = (at.details ?? []) as [Readonly<Record<string, unknown>>?];
      return new OnceflowError(at.type as ErrorCode, at.message, details ?? {}, error);
    }
  if (error instanceof WorkflowFailedError) {
    const cause = error.cause instanceof ActivityFailure ? error.cause.cause : error.cause;
    return new OnceflowError("RUN_FAILED", messageOf(cause ?? error), {}, error);
  }
  if (error instanceof WorkflowNotFoundError)
    return new OnceflowError(
      "REQUEST_INVALID",
      `Temporal has no workflow "${error.workflowId}" under way (${messageOf(error)}). See \`runs\` for those it has.`,
      { workflow_id: error.workflowId },
      error,
    );
  if (error instanceof NamespaceNotFoundError)
    return new OnceflowError(
      "CONFIG_INVALID",
      `the Temporal server at ${address} has no namespace "${error.namespace}". Create it, or set TEMPORAL_NAMESPACE.`,
      { name: "TEMPORAL_NAMESPACE" },
      error,
    );
  if (isUnroutable(error))
    return new OnceflowError(
      "BUILD_UNKNOWN",
      `Temporal cannot give the run to the build of ONCEFLOW_BUILD (${messageOf(error.cause)}). Start a worker with the same ONCEFLOW_BUILD first.`,
      {},
      error,
    );
  if (error instanceof ServiceError) return unavailable(address, error.cause ?? error);
  return error;
}

/** By the server's words for a version that no worker has polled for. */
function isUnroutable(error: unknown): error is ServiceError {
  return error instanceof ServiceError && /version|deployment/i.test(messageOf(error.cause));
}

function unavailable(address: string, error: unknown): OnceflowError {
  return new OnceflowError(
    "TEMPORAL_UNAVAILABLE",
    `no Temporal server answers at ${address} (${messageOf(error)}). ${startOne} or set TEMPORAL_ADDRESS.`,
    {},
    error,
  );
}
