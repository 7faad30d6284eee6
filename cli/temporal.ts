/** Starts and follows runs on Temporal, for the CLI and the demo. */
import { setTimeout as pause } from "node:timers/promises";
import { Client, Connection, type WorkflowHandle } from "@temporalio/client";
import { type SearchAttributePair, WorkflowExecutionAlreadyStartedError } from "@temporalio/common";
import { dataConverter } from "../client/temporal.ts";
import { OnceflowError } from "../engine/errors.ts";
import { writeJson } from "../engine/json-text.ts";
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
  type PublishInput,
  type PublishResult,
  queuesOf,
  type TrainingSetInput,
  type TrainingSetResult,
} from "../workflows/contract.ts";
import { attributesOf } from "../workflows/search-attributes.ts";
import type { backfill, materialize, publish, trainingSet } from "../workflows/index.ts";
import { hasPolled } from "./worker-versions.ts";
import { isUnroutable, translate, unavailable } from "./temporal-errors.ts";

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
  /** Publishes a view; a plain publish joins the one that is under way, any other comes after it. */
  readonly startPublish: (input: PublishInput) => Promise<Run<PublishResult>>;
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
  let connection: Connection;
  try {
    connection = await Connection.connect({ address, connectTimeout: connectTimeoutMs });
  } catch (error) {
    throw unavailable(address, error);
  }
  const client = new Client({ connection, namespace, dataConverter });
  const guard: Guard = async (work) => {
    try {
      return await work();
    } catch (error) {
      throw translate(error, settings);
    }
  };
  let counter = 0;
  const uniqueId = () => `${Date.now()}-${process.pid}-${counter++}`;
  const session = { client, namespace, queue, build: deploymentOf(settings), guard, uniqueId };
  return {
    client,
    startMaterialize: (input, workflow = "materialize") =>
      guard(() => startMaterialize(session, input, workflow)),
    startBackfill: (input) => guard(() => startBackfill(session, input)),
    backfillOf: (workflowId) => toBackfill(client.workflow.getHandle(workflowId), "", guard),
    startTrainingSet: (input) => guard(() => startTrainingSet(session, input)),
    startPublish: (input) => guard(() => startPublish(session, input)),
    getFeatures: (request) => guard(() => getFeatures(session, request)),
    attempt: guard,
    close: () => connection.close(),
  };
}

type Guard = Runs["attempt"];

/** A connection as the starts of runs share it. */
interface Session {
  readonly client: Client;
  readonly namespace: string;
  readonly queue: string;
  readonly build: ReturnType<typeof deploymentOf>;
  readonly guard: Guard;
  /** Another at each call, in whatever process. */
  readonly uniqueId: () => string;
}

async function startMaterialize(
  session: Session,
  input: MaterializeInput,
  workflow: string,
): Promise<Run<MaterializeResult>> {
  const { client, queue, guard } = session;
  const { view, start, end } = input;
  const attributes = attributesOf("materialize", view, `${start}/${end}`);
  const handle = await startOnBuild(session, attributes, (attributed) =>
    client.workflow.start<typeof materialize>(workflow, {
      args: [input],
      ...placeOf(session),
      workflowId: idsOf(queue).interval(input),
      workflowIdConflictPolicy: "USE_EXISTING",
      staticSummary: `${view} [${start}, ${end})`,
      ...attributed,
    }),
  );
  return toRun<MaterializeResult>(handle, handle.firstExecutionRunId, guard);
}

async function startBackfill(session: Session, input: BackfillInput): Promise<BackfillRun> {
  const { client, queue, guard } = session;
  const { view, from, to } = input;
  const attributes = attributesOf("backfill", view);
  const handle = await startOnBuild(session, attributes, (attributed) =>
    client.workflow.start<typeof backfill>("backfill", {
      args: [input],
      ...placeOf(session),
      workflowId: idsOf(queue).backfill(input),
      workflowIdConflictPolicy: "USE_EXISTING",
      staticSummary: `backfill of ${view} [${from}, ${to})`,
      ...attributed,
    }),
  );
  return toBackfill(handle, handle.firstExecutionRunId, guard);
}

async function startTrainingSet(
  session: Session,
  input: TrainingSetInput,
): Promise<Run<TrainingSetResult>> {
  const { client, queue, guard, uniqueId } = session;
  const attributes = attributesOf("training_set");
  const handle = await startOnBuild(session, attributes, (attributed) =>
    client.workflow.start<typeof trainingSet>("trainingSet", {
      args: [input],
      ...placeOf(session),
      workflowId: `${queue}/training-set/${input.service}/${uniqueId()}`,
      staticSummary: `training set of ${input.service}`,
      ...attributed,
    }),
  );
  return toRun<TrainingSetResult>(handle, handle.firstExecutionRunId, guard);
}

async function startPublish(session: Session, input: PublishInput): Promise<Run<PublishResult>> {
  const { client, queue, guard } = session;
  const { view, fingerprint, definition, ...how } = input;
  const workflowId = idsOf(queue).publish({ view, fingerprint, definition });
  const isPlain = Object.keys(how).length === 0;
  const attributes = attributesOf("publish", view);
  const start = () =>
    startOnBuild(session, attributes, (attributed) =>
      client.workflow.start<typeof publish>("publish", {
        args: [input],
        ...placeOf(session),
        workflowId,
        workflowIdConflictPolicy: isPlain ? "USE_EXISTING" : "FAIL",
        staticSummary: `publish ${view}`,
        ...attributed,
      }),
    );
  for (;;)
    try {
      const handle = await start();
      return toRun<PublishResult>(handle, handle.firstExecutionRunId, guard);
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // How that one ends is its own affair.
      await client.workflow
        .getHandle(workflowId)
        .result()
        .catch(() => undefined);
    }
}

async function getFeatures(
  { client, queue, uniqueId }: Session,
  request: unknown,
): Promise<FeatureAnswer> {
  assertFits(request);
  return client.activity.execute<FeatureAnswer>("getOnlineFeatures", {
    id: `${queue}/get/${uniqueId()}`,
    args: [request],
    taskQueue: queuesOf(queue).online,
    scheduleToCloseTimeout: "10 s",
  });
}

/**
 * Where a run is done: the definitions that an input names are those of this build, and only its
 * workers have them.
 */
function placeOf({ queue, build }: Session) {
  return {
    taskQueue: queuesOf(queue).offline,
    ...(build === undefined ? {} : { versioningOverride: { pinnedTo: build } }),
  };
}

type Start<T> = (options: { typedSearchAttributes: SearchAttributePair[] }) => Promise<T>;

/** Starts a run. Temporal may know a build for some seconds before it gives runs to it. */
async function startOnBuild<T>(
  { client, namespace, build }: Session,
  typedSearchAttributes: SearchAttributePair[],
  start: Start<T>,
): Promise<T> {
  const deadline = Date.now() + routingMs;
  for (;;)
    try {
      return await start({ typedSearchAttributes });
    } catch (error) {
      const isSoon =
        build !== undefined &&
        isUnroutable(error) &&
        Date.now() < deadline &&
        (await hasPolled(client, namespace, build).catch(() => false));
      if (!isSoon) throw error;
      await pause(retryMs);
    }
}

/** What is larger Temporal refuses in its own words, or, over 4 MB, after a minute of retries. */
function assertFits(request: unknown): void {
  const bytes = Buffer.byteLength(writeJson(request));
  if (bytes > bodyLimitBytes)
    throw new OnceflowError(
      "REQUEST_TOO_LARGE",
      `the request has ${bytes} bytes; one may have ${bodyLimitBytes}. Split it.`,
      { bytes, limit: bodyLimitBytes },
    );
}

function toRun<T>(handle: WorkflowHandle, runId: string, guard: Guard): Run<T> {
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

function toBackfill(handle: WorkflowHandle, runId: string, guard: Guard): BackfillRun {
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
