#!/usr/bin/env node
/**
 * The worker: runs workflows and offline activities, or, with `--queue online`, answers online
 * requests. The two are separate processes, so that heavy work cannot delay an answer; the online
 * one never loads polars.
 */
import { printFailure } from "./serving/telemetry/printed.ts";
import { fileURLToPath } from "node:url";
import { Client } from "@temporalio/client";
import { NativeConnection, Runtime, Worker, type WorkerOptions } from "@temporalio/worker";
import { yieldToOthers } from "./activities/priority.ts";
import type { StoreWatchOptions } from "./activities/store-watch.ts";
import { traceActivities } from "./activities/tracing.ts";
import { temporalLogger } from "./activities/worker-log.ts";
import { dataConverter } from "./client/temporal.ts";
import type { Catalogue } from "./engine/catalogue.ts";
import { messageOf, OnceflowError } from "./engine/errors.ts";
import { commandLine, startOne } from "./engine/invocation.ts";
import { readOptions } from "./options.ts";
import { loadProject } from "./project.ts";
import { createLogger, type Logger } from "./serving/telemetry/logging.ts";
import { processMetrics } from "./serving/telemetry/metrics.ts";
import { freePort, joinEndpoint, startMetrics } from "./serving/telemetry/metrics-server.ts";
import { startTracing, type Tracing } from "./serving/telemetry/tracing.ts";
import {
  deploymentOf,
  endWithinSeconds,
  readSettings,
  type Settings,
  settingsHelp,
  versioningOf,
} from "./settings.ts";
import { connectRedis } from "./store/redis/connection.ts";
import { createLedger } from "./store/ledger.ts";
import { openOfflineFolders } from "./store/offline/offline-folders.ts";
import { createOnlineStore } from "./store/online-store.ts";
import type { RedisConnection } from "./store/redis/types.ts";
import { idsOf, queuesOf } from "./workflows/contract.ts";
import { attributesOf } from "./workflows/search-attributes.ts";

const help = `Usage: ${commandLine("worker", "[--queue offline|online]")}

Runs a Temporal worker until it gets SIGINT or SIGTERM; it then finishes what it has begun.

  --queue offline   workflows and offline activities, with polars (default)
  --queue online    the online activity, on its own queue
  --help            this text

${settingsHelp}`;

const connectTimeoutMs = 15_000;

async function main(): Promise<void> {
  const { text, flag } = readOptions(process.argv.slice(2), { texts: { queue: "offline" } });
  if (flag("help")) return console.log(help);
  const queue = text("queue");
  if (queue !== "offline" && queue !== "online")
    throw new OnceflowError("CONFIG_INVALID", `--queue is "${queue}"; expected offline or online.`);
  if (queue === "offline") yieldToOthers();
  const settings = readSettings();
  // What is said of offline work names files and runs, never a request.
  const logOptions = {
    level: settings.logLevel,
    details: settings.logDetails || queue === "offline",
  };
  const log = createLogger(logOptions);
  const sdkMetrics = settings.metricsPort === undefined ? undefined : await freePort();
  Runtime.install({
    logger: temporalLogger(log, logOptions),
    shutdownSignals: ["SIGINT", "SIGTERM"],
    telemetryOptions: sdkTelemetry(sdkMetrics),
  });
  const tracing = await startTracing(process.env, log);
  const connection = await connectTemporal(settings);
  const redis = connectRedis(settings.redisUrl, queue === "online" ? "serving" : "writing");
  const common = {
    ...(tracing && { interceptors: { activity: [traceActivities(tracing)] } }),
    connection,
    dataConverter,
    namespace: settings.temporalNamespace,
    shutdownGraceTime: `${endWithinSeconds.worker} s`,
  };
  const { options, registry, close } =
    queue === "online"
      ? await onlineOptions(settings, redis, log, tracing)
      : await offlineOptions(settings, redis, log, connection);
  if (sdkMetrics !== undefined) {
    const { url } = await startMetrics({
      registry: joinEndpoint(registry, `http://127.0.0.1:${sdkMetrics}/metrics`),
      port: settings.metricsPort ?? 0,
      host: settings.metricsHost,
    });
    console.log(`onceflow metrics at ${url}`);
  }
  const worker = await createWorker({ ...common, ...options }, settings);
  console.log(`onceflow worker polls ${options.taskQueue} on ${settings.temporalAddress}`);
  await worker.run();
  await close();
  await redis.close();
  await connection.close();
  await tracing?.close();
}

/**
 * The native part of Temporal's SDK: it logs by our logger, not to stdout by itself; its metrics, in
 * the usual units, are where our own endpoint reads them.
 */
function sdkTelemetry(port: number | undefined) {
  const usual = { countersTotalSuffix: true, unitSuffix: true, useSecondsForDurations: true };
  return {
    logging: { forward: {} },
    ...(port !== undefined && {
      metrics: { prometheus: { bindAddress: `127.0.0.1:${port}`, ...usual } },
    }),
  };
}

async function offlineOptions(
  settings: Settings,
  redis: RedisConnection,
  log: Logger,
  connection: NativeConnection,
) {
  const { requirePolars } = await import("./engine/compile/polars.ts");
  await requirePolars();
  const [{ createOfflineActivities }, { watchStore }, { tasks }, { heartbeatMs }, workflows] =
    await Promise.all([
      import("./activities/offline.ts"),
      import("./activities/store-watch.ts"),
      import("./activities/tasks/index.ts"),
      import("./activities/run-context.ts"),
      import("./workflows/index.ts"),
    ]);
  const catalogue = await loadProject();
  assertNamed(catalogue, {
    tasks: Object.keys(tasks),
    workflows: Object.keys(workflows),
    webhooks: Object.keys(settings.webhooks),
  });
  const build = deploymentOf(settings);
  const activities = createOfflineActivities({ catalogue, redis, settings, tasks, build });
  const { temporalNamespace: namespace, prefix, offlineDir } = settings;
  const watch = watchStore({
    catalogue,
    redis,
    ledger: createLedger(redis, { prefix }),
    online: createOnlineStore(redis, { prefix }),
    offline: openOfflineFolders({ root: offlineDir }),
    log,
    publish: publishOn(new Client({ connection, namespace, dataConverter }), settings),
  });
  const options = {
    taskQueue: queuesOf(settings.queue).offline,
    workflowsPath: fileURLToPath(new URL("./workflows", import.meta.url)),
    activities,
    // Each activity works on a whole file; two keep both the disk and the cores busy.
    maxConcurrentActivityTaskExecutions: 2,
    // A cancellation comes back with a heartbeat, which the SDK would hold back for 8 seconds.
    maxHeartbeatThrottleInterval: heartbeatMs,
    ...versioningOf(settings),
  };
  const close = () => Promise.resolve(watch.close());
  return { options, registry: processMetrics(catalogue), close };
}

/** Starts the publish of a view on workers of this build; one that is under way does it as well. */
function publishOn(client: Client, settings: Settings): StoreWatchOptions["publish"] {
  const { offline: taskQueue } = queuesOf(settings.queue);
  const build = deploymentOf(settings);
  return async ({ name: view, fingerprint, definition }, { whole }) => {
    const input = { view, fingerprint, definition };
    const handle = await client.workflow.start("publish", {
      args: [whole ? { ...input, whole } : input],
      taskQueue,
      workflowId: idsOf(settings.queue).publish(input),
      // One that is under way may not write what is lost: the next look tries again.
      workflowIdConflictPolicy: whole ? "FAIL" : "USE_EXISTING",
      staticSummary: `publish ${view}, which Redis has lost`,
      typedSearchAttributes: attributesOf("publish", view),
      ...(build === undefined ? {} : { versioningOverride: { pinnedTo: build } }),
    });
    await handle.result();
  };
}

/** What schedules name must be there. @throws DEFINITION_INVALID */
function assertNamed(
  catalogue: Catalogue,
  { tasks, workflows, webhooks }: Readonly<Record<"tasks" | "workflows" | "webhooks", string[]>>,
): void {
  for (const { name, schedule } of catalogue.views.values()) {
    if (schedule === undefined) continue;
    const { workflow, waitFor, onFailure, onLate } = schedule;
    if (!workflows.includes(workflow))
      throw new OnceflowError(
        "DEFINITION_INVALID",
        `view "${name}" names workflow "${workflow}", which workflows/index.ts does not export; it has ${workflows.join(", ")}.`,
      );
    for (const webhook of [...onFailure, ...onLate])
      if (!webhooks.includes(webhook))
        throw new OnceflowError(
          "CONFIG_INVALID",
          `view "${name}" calls webhook "${webhook}", which ONCEFLOW_WEBHOOKS does not have; it has ${webhooks.join(", ") || "none"}.`,
        );
    for (const sensor of waitFor)
      if (sensor.kind === "task" && !tasks.includes(sensor.name))
        throw new OnceflowError(
          "DEFINITION_INVALID",
          `view "${name}" waits for task "${sensor.name}", which activities/tasks/index.ts does not export; it has ${tasks.join(", ")}.`,
        );
  }
}

async function onlineOptions(
  settings: Settings,
  redis: RedisConnection,
  log: Logger,
  tracing: Tracing | undefined,
) {
  const [{ createOnlineActivities }, { createObservedLookup }] = await Promise.all([
    import("./activities/online.ts"),
    import("./serving/telemetry/observed-lookup.ts"),
  ]);
  const catalogue = await loadProject();
  const { prefix } = settings;
  const { lookup, metrics } = createObservedLookup({ catalogue, redis, prefix }, { log, tracing });
  const options = {
    taskQueue: queuesOf(settings.queue).online,
    activities: createOnlineActivities({ lookup }),
  };
  const { registry } = metrics;
  return { options, registry, close: () => Promise.resolve(lookup.close()) };
}

async function connectTemporal({ temporalAddress }: Settings): Promise<NativeConnection> {
  const late = new Promise<never>((_, reject) => {
    setTimeout(
      () => reject(new Error(`no answer in ${connectTimeoutMs} ms`)),
      connectTimeoutMs,
    ).unref();
  });
  try {
    return await Promise.race([NativeConnection.connect({ address: temporalAddress }), late]);
  } catch (error) {
    throw new OnceflowError(
      "TEMPORAL_UNAVAILABLE",
      `no Temporal server answers at ${temporalAddress} (${messageOf(error)}). ${startOne} or set TEMPORAL_ADDRESS.`,
      {},
      error,
    );
  }
}

/** Makes the worker, for which Temporal must have the namespace. @throws CONFIG_INVALID */
async function createWorker(
  options: WorkerOptions,
  { temporalAddress, temporalNamespace }: Settings,
): Promise<Worker> {
  try {
    return await Worker.create(options);
  } catch (error) {
    // The SDK has no other sign of it.
    if (!/^Namespace .*NotFound/s.test(messageOf(error))) throw error;
    throw new OnceflowError(
      "CONFIG_INVALID",
      `the Temporal server at ${temporalAddress} has no namespace "${temporalNamespace}". Create it, or set TEMPORAL_NAMESPACE.`,
      { name: "TEMPORAL_NAMESPACE" },
      error,
    );
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    printFailure(error);
    process.exit(1);
  },
);
