/** What the composition roots read from the environment, in one place. */
import { resolve } from "node:path";
import { OnceflowError } from "./engine/errors.ts";
import { type Environment, environmentOf } from "./environment.ts";
import { type ReadyRule, readyRules } from "./serving/readiness.ts";

/** How much the processes log: lines of this level and of those after it. */
export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];
const logFormats = ["text", "json"] as const;

/** Where the services and the data are, and how much is logged. */
export interface Settings {
  /** REDIS_URL, redis+cluster://… for a Cluster, redis+sentinel://…; redis://127.0.0.1:6379 by default. */
  readonly redisUrl: string;
  /** ONCEFLOW_QUEUE: base name of the task queues and workflow ids; onceflow by default. */
  readonly queue: string;
  /** ONCEFLOW_PREFIX: what every key in Redis begins with; onceflow by default. */
  readonly prefix: string;
  /** TEMPORAL_ADDRESS; 127.0.0.1:7233 by default. */
  readonly temporalAddress: string;
  /** TEMPORAL_NAMESPACE; default by default. */
  readonly temporalNamespace: string;
  /** ONCEFLOW_DATA: the folder that the paths of sources are below; .onceflow/data by default. */
  readonly dataDir: string;
  /** ONCEFLOW_OFFLINE: root of the offline store; .onceflow/offline by default. */
  readonly offlineDir: string;
  /** ONCEFLOW_SOURCES: a JSON object that replaces the paths of sources by name. */
  readonly sources: Readonly<Record<string, string>>;
  /** ONCEFLOW_WEBHOOKS: a JSON object of { url, secret } by the names that schedules call. */
  readonly webhooks: Readonly<Record<string, { readonly url: string; readonly secret: string }>>;
  /**
   * ONCEFLOW_BUILD: names the build, so that a run stays with the workers of the build that began
   * it; without it, any worker takes any run.
   */
  readonly build: string | undefined;
  /** ONCEFLOW_KEY: the API key or token with which the CLI asks the HTTP service; none by default. */
  readonly key: string | undefined;
  /** ONCEFLOW_LOG, in any case; warn by default. */
  readonly logLevel: LogLevel;
  /** ONCEFLOW_LOG_FORMAT: what is printed beside the log (serving/telemetry/printed.ts); text by default. */
  readonly logFormat: (typeof logFormats)[number];
  /** ONCEFLOW_LOG_DETAILS: whether log lines may quote requests; false by default. */
  readonly logDetails: boolean;
  /** ONCEFLOW_READY: when the HTTP service is ready; filled by default. */
  readonly readyRule: ReadyRule;
  /** ONCEFLOW_METRICS_PORT: where metrics are served, 0 for any port; none by default. */
  readonly metricsPort: number | undefined;
  /** ONCEFLOW_METRICS_HOST; 127.0.0.1 by default. */
  readonly metricsHost: string;
}

/** The part of the help that server and workers share. */
export const observabilityHelp = `ONCEFLOW_LOG_FORMAT    json: all that they print is JSON, not the log alone (text)
ONCEFLOW_LOG_DETAILS   true: log lines may quote requests, ids among it (false)
ONCEFLOW_METRICS_PORT  port of Prometheus metrics, for server and workers (none)
ONCEFLOW_METRICS_HOST  address that it listens on (127.0.0.1)
OTEL_EXPORTER_OTLP_ENDPOINT  receiver of traces; the other OTEL_ variables hold too (none)`;

/** Names and meanings of the variables, for `--help`. */
export const settingsHelp = `Environment:
  REDIS_URL           Redis (redis://127.0.0.1:6379)
  TEMPORAL_ADDRESS    Temporal server (127.0.0.1:7233)
  TEMPORAL_NAMESPACE  Temporal namespace (default)
  ONCEFLOW_QUEUE      base name of task queues and workflow ids (onceflow)
  ONCEFLOW_PREFIX     beginning of every key in Redis (onceflow)
  ONCEFLOW_DATA       folder that the paths of sources are below (.onceflow/data)
  ONCEFLOW_OFFLINE    root of the offline store (.onceflow/offline)
  ONCEFLOW_SOURCES    JSON object: source name to the path that replaces its own
  ONCEFLOW_WEBHOOKS   JSON object: name to {"url":"https://…","secret":"whsec_…"}, for schedules
  ONCEFLOW_FEATURES   module of the features (features/index.ts or .js of the project)
  ONCEFLOW_BUILD      name of this build: a run stays with workers of the build that began it (none)
  ONCEFLOW_KEY        API key or token for the HTTP service, with --via http (none)
  ONCEFLOW_LOG        log of workers and server: ${logLevels.join(", ")} (warn)
  ${observabilityHelp.replaceAll("\n", "\n  ")}`;

/**
 * Seconds in which a process finishes what it has begun once it is told to end; a server counts
 * from the end of ONCEFLOW_DRAIN_SECONDS. Who kills it must wait longer.
 */
export const endWithinSeconds = { server: 9, worker: 20 } as const;

/**
 * Reads the settings.
 *
 * @throws CONFIG_INVALID naming the variable
 */
export function readSettings(env: NodeJS.ProcessEnv = process.env): Settings {
  const environment = environmentOf(env);
  const { text, whole, oneOf, flag } = environment;
  return {
    redisUrl: text("REDIS_URL", "redis://127.0.0.1:6379"),
    prefix: text("ONCEFLOW_PREFIX", "onceflow"),
    temporalAddress: text("TEMPORAL_ADDRESS", "127.0.0.1:7233"),
    temporalNamespace: text("TEMPORAL_NAMESPACE", "default"),
    queue: text("ONCEFLOW_QUEUE", "onceflow"),
    dataDir: resolve(text("ONCEFLOW_DATA", ".onceflow/data")),
    offlineDir: resolve(text("ONCEFLOW_OFFLINE", ".onceflow/offline")),
    sources: readSources(environment),
    webhooks: readWebhooks(text("ONCEFLOW_WEBHOOKS", "{}")),
    build: readBuild(environment),
    key: readKey(text("ONCEFLOW_KEY", undefined)),
    logLevel: oneOf("ONCEFLOW_LOG", "warn", logLevels),
    logFormat: oneOf("ONCEFLOW_LOG_FORMAT", "text", logFormats),
    logDetails: flag("ONCEFLOW_LOG_DETAILS"),
    readyRule: oneOf("ONCEFLOW_READY", "filled", readyRules),
    metricsPort: whole("ONCEFLOW_METRICS_PORT", undefined, {
      from: 0,
      to: 65_535,
      or: ", 0 for any port, or nothing for no metrics",
    }),
    metricsHost: text("ONCEFLOW_METRICS_HOST", "127.0.0.1"),
  };
}

/** How Temporal knows the workers of this build; undefined where they are not told apart. */
export function deploymentOf({ queue, build }: Pick<Settings, "queue" | "build">) {
  return build === undefined
    ? undefined
    : // Temporal joins the two by one of these characters.
      { deploymentName: queue.replaceAll(/[.:]/g, "-"), buildId: build };
}

/** Options of a worker: with a named build a run stays with it to its end; only pools move on. */
export function versioningOf(settings: Pick<Settings, "queue" | "build">) {
  const version = deploymentOf(settings);
  if (version === undefined) return {};
  return {
    workerDeploymentOptions: {
      useWorkerVersioning: true,
      version,
      defaultVersioningBehavior: "PINNED",
    },
  } as const;
}

function readBuild({ text, refuse }: Environment): string | undefined {
  const build = text("ONCEFLOW_BUILD", undefined);
  if (build === undefined || /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$/.test(build)) return build;
  throw refuse(
    "ONCEFLOW_BUILD",
    'give up to 100 letters, digits, "_", "-" and ".", such as a commit',
  );
}

function readKey(key: string | undefined): string | undefined {
  if (key === undefined || /^[\x21-\x7e]+$/.test(key)) return key;
  throw new OnceflowError(
    "CONFIG_INVALID",
    // What it holds is secret.
    "ONCEFLOW_KEY has a space, a line end or a letter that no key has; set it to the key alone.",
    { name: "ONCEFLOW_KEY" },
  );
}

/** The members of a JSON object; undefined where the text is none. */
function membersOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function readWebhooks(text: string): Settings["webhooks"] {
  const webhooks = membersOf(text);
  const isWebhook = (value: unknown): boolean => {
    const { url, secret } = (value ?? {}) as Readonly<Record<string, unknown>>;
    return (
      typeof url === "string" &&
      /^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : "") &&
      typeof secret === "string" &&
      /^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(secret)
    );
  };
  const wrong = Object.keys(webhooks ?? {}).find((name) => !isWebhook(webhooks?.[name]));
  if (webhooks !== undefined && wrong === undefined) return webhooks as Settings["webhooks"];
  throw new OnceflowError(
    "CONFIG_INVALID",
    // What it holds is secret.
    `ONCEFLOW_WEBHOOKS ${wrong === undefined ? "is no JSON object" : `has a wrong "${wrong}"`}; expected {"oncall":{"url":"https://host/path","secret":"whsec_<base64 of 24 to 64 bytes>"}}.`,
    { name: "ONCEFLOW_WEBHOOKS" },
  );
}

function readSources({ text, refuse }: Environment): Readonly<Record<string, string>> {
  const paths = membersOf(text("ONCEFLOW_SOURCES", "{}"));
  if (paths !== undefined && Object.values(paths).every((path) => typeof path === "string"))
    return paths as Record<string, string>;
  throw refuse(
    "ONCEFLOW_SOURCES",
    'give a JSON object of paths, for example {"absences":"/data/absences.csv"}',
  );
}
