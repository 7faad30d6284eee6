#!/usr/bin/env node
/** `npm run server`: the HTTP service. It never loads polars and needs no Temporal. */
import { messageOf, OnceflowError } from "./engine/errors.ts";
import { loadProject } from "./project.ts";
import { buildApp } from "./serving/app.ts";
import { openAccess } from "./serving/auth/access.ts";
import {
  accessHelp,
  type AccessSettings,
  insecureFlag,
  readAccess,
} from "./serving/auth/settings.ts";
import { createLogger } from "./serving/logging.ts";
import { createLookup } from "./serving/lookup.ts";
import { createMetrics } from "./serving/metrics.ts";
import { startMetrics } from "./serving/metrics-server.ts";
import { joinObservers } from "./serving/observer.ts";
import { readyRules } from "./serving/readiness.ts";
import { startTracing } from "./serving/tracing.ts";
import { logLevels, observabilityHelp, readSettings, type Settings } from "./settings.ts";
import { connectRedis } from "./store/redis.ts";

const help = `Usage: npm run server [-- ${insecureFlag}]

Answers feature requests over HTTP: POST /v1/features; see docs/http.md.
Environment:
  REDIS_URL        redis://127.0.0.1:6379
  ONCEFLOW_PREFIX  onceflow; key prefix in Redis
${accessHelp}
  PORT             8080; 0 takes any free port
  ONCEFLOW_READY   filled; when /readyz answers 200: ${readyRules.join(", ")}
  ONCEFLOW_LOG     warn; one of ${logLevels.join(", ")}, in any case
  ${observabilityHelp.replaceAll("\n", "\n  ")}
`;

/** A connection that is still open this long after a signal does not keep the process. */
const closeWithinMs = 10_000;

interface Configuration extends Settings {
  readonly access: AccessSettings;
  readonly host: string;
  readonly port: number;
}

/** @throws CONFIG_INVALID */
function readConfiguration(env: NodeJS.ProcessEnv): Configuration {
  const refuse = (name: string, wanted: string) =>
    new OnceflowError("CONFIG_INVALID", `${name} is "${env[name]}"; ${wanted}.`, { name });
  const { PORT = "8080" } = env;
  const access = readAccess(env, process.argv);
  if (!/^\d{1,5}$/.test(PORT) || Number(PORT) > 65_535)
    throw refuse("PORT", "give a number from 0 to 65535");
  return { ...readSettings(env), access, host: access.host, port: Number(PORT) };
}

async function serve(configuration: Configuration): Promise<void> {
  const { redisUrl, prefix, logLevel, logDetails, host, port } = configuration;
  const { metricsHost, metricsPort, readyRule } = configuration;
  const catalogue = await loadProject();
  const redis = connectRedis(redisUrl, "serving");
  const metrics = createMetrics(catalogue);
  const tracing = await startTracing(process.env, createLogger({ level: logLevel }));
  const observe = joinObservers(metrics.observer, ...(tracing ? [tracing.observer] : []));
  const lookup = createLookup({ catalogue, redis, prefix, readyRule, observe });
  metrics.watch(lookup);
  const access = openAccess(configuration.access, {
    ...{ redis, prefix },
    warn: (message) => app.log.warn(message),
  });
  let closing = false;
  const app = buildApp({
    ...{ catalogue, lookup, access, metrics, tracing, logDetails },
    log: logLevel,
    isClosing: () => closing,
  });
  const close = async () => {
    closing = true;
    await app.close();
    lookup.close();
    access.close();
    await redis.close();
    await tracing?.close();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const)
    process.once(signal, () => {
      setTimeout(() => process.exit(1), closeWithinMs).unref();
      // Spans that nobody takes would keep the process.
      void close().then(() => process.exit());
    });
  try {
    await Promise.all([lookup.refresh(), access.refresh()]);
    if (metricsPort !== undefined) {
      const endpoint = { registry: metrics.registry, port: metricsPort, host: metricsHost };
      const { url } = await startMetrics(endpoint);
      process.stdout.write(`onceflow metrics at ${url}\n`);
    }
    const address = await app.listen({ host, port }).catch((error: unknown) => {
      throw listenError(error, host, port);
    });
    process.stdout.write(`onceflow http listening on ${address}\n`);
  } catch (error) {
    // A signal while it starts makes what is under way fail; that is no failure of the start.
    if (closing) return;
    await close();
    throw error;
  }
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

/** One line: code and message. */
function lineOf(error: unknown): string {
  const code = error instanceof OnceflowError ? error.code : "INTERNAL";
  return `${code} ${messageOf(error).replaceAll(/\s*\n\s*/g, " ")}\n`;
}

const [option] = process.argv.slice(2).filter((argument) => argument !== insecureFlag);
if (option === "--help" || option === "-h") process.stdout.write(help);
else
  try {
    if (option !== undefined)
      throw new OnceflowError("CONFIG_INVALID", `there is no option "${option}"; see --help.`);
    await serve(readConfiguration(process.env));
  } catch (error) {
    process.stderr.write(lineOf(error));
    process.exitCode = 1;
  }
