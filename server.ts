#!/usr/bin/env node
/** `npm run server`: the HTTP service, one process per core. It never loads polars, and needs no Temporal. */
import { printFailure } from "./serving/telemetry/printed.ts";
import cluster from "node:cluster";
import type { AddressInfo } from "node:net";
import { availableParallelism } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { messageOf, OnceflowError } from "./engine/errors.ts";
import { commandLine } from "./engine/invocation.ts";
import { readOptions } from "./options.ts";
import { loadProject } from "./project.ts";
import { buildApp } from "./serving/http/app.ts";
import { openAccess } from "./serving/auth/access.ts";
import {
  accessHelp,
  type AccessSettings,
  insecureFlag,
  readAccess,
} from "./serving/auth/settings.ts";
import { environmentOf } from "./environment.ts";
import { createLogger } from "./serving/telemetry/logging.ts";
import {
  clusterMetrics,
  type MetricsSource,
  startMetrics,
  tellMetrics,
} from "./serving/telemetry/metrics-server.ts";
import { createObservedLookup } from "./serving/telemetry/observed-lookup.ts";
import { defaultLoadLimits, type LoadLimits } from "./serving/http/overload.ts";
import { ownProcess, startProcesses } from "./serving/http/processes.ts";
import { readyRules } from "./serving/readiness.ts";
import { startTracing } from "./serving/telemetry/tracing.ts";
import {
  endWithinSeconds,
  logLevels,
  observabilityHelp,
  readSettings,
  type Settings,
} from "./settings.ts";
import { connectRedis } from "./store/redis/connection.ts";

const help = `Usage: ${commandLine("server", `[--processes N] [${insecureFlag}]`)}

Answers feature requests over HTTP: POST /v1/features; see docs/http.md. SIGTERM lets it finish
what it has begun, SIGINT too, without the pause of ONCEFLOW_DRAIN_SECONDS; a second signal ends it
at once.

  --processes N  processes that share the port; ${availableParallelism()} here, one per core
  --help         this text

Environment:
  REDIS_URL        redis://127.0.0.1:6379
  ONCEFLOW_PREFIX  onceflow; key prefix in Redis
  ONCEFLOW_FEATURES  module of the features (features/index.ts or .js of the project)
${accessHelp}
  PORT             8080; 0 takes any free port
  ONCEFLOW_READY   filled; when /readyz answers 200: ${readyRules.join(", ")}
  ONCEFLOW_CONCURRENCY    ${defaultLoadLimits.concurrency}; requests that each process works on at once; as many wait
  ONCEFLOW_DEADLINE_MS    ${defaultLoadLimits.deadlineMs}; within which each is answered
  ONCEFLOW_DRAIN_SECONDS  5; after SIGTERM, /readyz says 503 for so long before the port is closed
  ONCEFLOW_LOG     warn; one of ${logLevels.join(", ")}, in any case
  ${observabilityHelp.replaceAll("\n", "\n  ")}
`;

/** The option of that flag. */
const insecureName = insecureFlag.slice(2);
const closeIdleMs = 50;

interface Configuration extends Settings {
  readonly access: AccessSettings;
  readonly host: string;
  readonly port: number;
  readonly processes: number;
  readonly load: LoadLimits;
  readonly drainMs: number;
}

/** @throws CONFIG_INVALID */
function readConfiguration(
  env: NodeJS.ProcessEnv,
  { processes, insecure }: { readonly processes: string; readonly insecure: boolean },
): Configuration {
  const { whole } = environmentOf(env);
  const { concurrency, deadlineMs } = defaultLoadLimits;
  const access = readAccess(env, { insecure });
  const { whole: wholeOption } = environmentOf({ "--processes": processes });
  return {
    ...readSettings(env),
    access,
    host: access.host,
    port: whole("PORT", 8080, { from: 0, to: 65_535 }),
    processes: wholeOption("--processes", availableParallelism(), { from: 1, to: 999 }),
    load: {
      concurrency: whole("ONCEFLOW_CONCURRENCY", concurrency, { from: 1, to: 10_000 }),
      deadlineMs: whole("ONCEFLOW_DEADLINE_MS", deadlineMs, { from: 10, to: 60_000 }),
    },
    drainMs: 1000 * whole("ONCEFLOW_DRAIN_SECONDS", 5, { from: 0, to: 300 }),
  };
}

/** Calls `drain` at the first signal, and ends the process at the second. */
function onSignals(drainMs: number, drain: (delayMs: number) => void, kill: () => void): void {
  let isDraining = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.on(signal, () => {
      if (isDraining) {
        kill();
        process.exit(1);
      }
      isDraining = true;
      // At a terminal there is no load balancer that must notice.
      drain(signal === "SIGTERM" ? drainMs : 0);
    });
}

/** Supervises the processes, until they have ended. */
async function supervise(configuration: Configuration): Promise<void> {
  const { processes, drainMs, logLevel } = configuration;
  const log = createLogger({ level: logLevel });
  const all = startProcesses({
    processes,
    onListening: sayListening,
    onRestart: (line) => log.warn(line),
  });
  onSignals(drainMs, all.drain, all.kill);
  await serveMetrics(configuration, clusterMetrics(cluster)).catch((error: unknown) => {
    all.kill();
    throw error;
  });
  if (!(await all.ended)) process.exitCode = 1;
}

/** Answers requests in this process. */
async function serve(configuration: Configuration): Promise<void> {
  const { redisUrl, prefix, logLevel, logDetails, host, port, load } = configuration;
  const { readyRule, drainMs } = configuration;
  // Until there is something to close.
  let drain: (delayMs: number) => unknown = () => process.exit(0);
  const onDrain = (delayMs: number) => void drain(delayMs);
  if (cluster.isPrimary) onSignals(drainMs, onDrain, () => undefined);
  else ownProcess.onDrain(onDrain);

  const catalogue = await loadProject();
  const redis = connectRedis(redisUrl, "serving");
  const log = createLogger({ level: logLevel, details: logDetails });
  const tracing = await startTracing(process.env, log);
  const { lookup, metrics } = createObservedLookup(
    { catalogue, redis, prefix, readyRule },
    { log, tracing },
  );
  const access = openAccess(configuration.access, {
    redis,
    prefix,
    warn: (message) => log.warn(message),
  });
  let [isClosing, isListening] = [false, false];
  const app = buildApp({
    catalogue,
    lookup,
    access,
    metrics,
    tracing,
    logDetails,
    load,
    log: logLevel,
    isClosing: () => isClosing,
  });
  /** Where others serve already, one that finds no Redis serves what it can, and waits for it. */
  const unlessLater = (read: Promise<void>) =>
    read.catch((error: unknown) => {
      const isDown = error instanceof OnceflowError && error.code === "STORE_UNAVAILABLE";
      if (!isDown || !ownProcess.isLater()) throw error;
      log.warn(`starts without the store: ${error.message}`);
    });
  const close = async (): Promise<void> => {
    // What is still open then does not keep the process.
    setTimeout(() => process.exit(1), endWithinSeconds.server * 1000).unref();
    // Connections that still had a request when the port was closed would be kept alive after it.
    setInterval(() => app.server.closeIdleConnections(), closeIdleMs).unref();
    await app.close();
    lookup.close();
    access.close();
    await redis.close();
    await tracing?.close();
  };
  drain = async (delayMs) => {
    isClosing = true;
    // Meanwhile requests are still answered: load balancers take a while to notice.
    if (isListening) await pause(delayMs);
    await close();
    // Spans that nobody takes would keep the process.
    process.exit();
  };
  try {
    await Promise.all([lookup.refresh(), access.refresh()].map(unlessLater));
    if (cluster.isPrimary) await serveMetrics(configuration, metrics.registry);
    else tellMetrics(metrics.registry);
    await app.listen({ host, port }).catch((error: unknown) => {
      throw listenError(error, host, port);
    });
    // What `listen` answers is loopback where it is every address.
    const { address: ip, family, port: bound } = app.server.address() as AddressInfo;
    const address = `http://${family === "IPv6" ? `[${ip}]` : ip}:${bound}`;
    isListening = true;
    if (cluster.isPrimary) sayListening(address);
    else ownProcess.sayListening(address);
  } catch (error) {
    // A signal while it starts makes what is under way fail; that is no failure of the start.
    if (isClosing) return;
    await close();
    throw error;
  }
}

async function serveMetrics(
  { metricsHost, metricsPort }: Configuration,
  registry: MetricsSource,
): Promise<void> {
  if (metricsPort === undefined) return;
  const { url } = await startMetrics({ registry, port: metricsPort, host: metricsHost });
  process.stdout.write(`onceflow metrics at ${url}\n`);
}

function sayListening(address: string): void {
  process.stdout.write(`onceflow http listening on ${address}\n`);
}

function listenError(error: unknown, host: string, port: number): unknown {
  const { code } = error as NodeJS.ErrnoException;
  const reason =
    code === "EADDRINUSE"
      ? "another process listens there; stop it, or set PORT to another number, 0 for any"
      : code === "EACCES"
        ? "the process may not; set PORT to 1024 or above"
        : messageOf(error);
  return new OnceflowError("CONFIG_INVALID", `cannot listen on ${host}:${port}: ${reason}.`);
}

try {
  const options = readOptions(process.argv.slice(2), {
    texts: { processes: String(availableParallelism()) },
    flags: [insecureName],
  });
  const insecure = options.flag(insecureName);
  if (options.flag("help")) process.stdout.write(help);
  else {
    const processes = options.text("processes");
    const configuration = readConfiguration(process.env, { processes, insecure });
    const isOne = cluster.isWorker || configuration.processes === 1;
    await (isOne ? serve : supervise)(configuration);
  }
} catch (error) {
  printFailure(error);
  // Connections, and the channel to the first process, would keep this one.
  process.exit(1);
}
