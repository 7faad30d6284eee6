/** Starts onceflow's own processes: the offline worker, the online worker and the HTTP service. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Settings } from "../settings.ts";
import type { Release } from "./owned.ts";
import { type OwnedProcess, startProcess } from "./processes.ts";

/** The processes, ready for work. */
export interface Application {
  /** Where the HTTP service listens. */
  readonly httpUrl: string;
  /** The offline worker, the online worker and the HTTP service. */
  readonly processes: readonly OwnedProcess[];
  /** Ends all of them. Safe to call again. */
  readonly stop: Release;
}

const root = fileURLToPath(new URL("../", import.meta.url));
const listening = /onceflow http listening on ([^\s"]+)/;

/** The settings as variables for a child process. */
export function toEnvironment(settings: Settings): NodeJS.ProcessEnv {
  return {
    ...process.env,
    REDIS_URL: settings.redisUrl,
    TEMPORAL_ADDRESS: settings.temporalAddress,
    TEMPORAL_NAMESPACE: settings.temporalNamespace,
    ONCEFLOW_QUEUE: settings.queue,
    ONCEFLOW_PREFIX: settings.prefix,
    ONCEFLOW_DATA: settings.dataDir,
    ONCEFLOW_OFFLINE: settings.offlineDir,
    ONCEFLOW_SOURCES: JSON.stringify(settings.sources),
    ONCEFLOW_WEBHOOKS: JSON.stringify(settings.webhooks),
    ONCEFLOW_BUILD: settings.build ?? "",
  };
}

/** Starts one of the root's programs and waits for the line that says it is ready. */
export function startProgram(
  name: string,
  args: readonly string[],
  settings: Settings,
  logDir: string,
  ready: RegExp,
  env: NodeJS.ProcessEnv = {},
): Promise<OwnedProcess> {
  return startProcess({
    name,
    command: process.execPath,
    args: ["--import", "tsx", ...args],
    cwd: root,
    env: { ...toEnvironment(settings), ...env },
    logFile: join(logDir, `${name.replaceAll(" ", "-")}.log`),
    ready: (log) => ready.test(log),
    readyTimeoutMs: 60_000,
    graceMs: 25_000,
  });
}

/** Starts the offline worker alone. */
export function startOfflineWorker(settings: Settings, logDir: string): Promise<OwnedProcess> {
  return startProgram("offline worker", ["worker.ts"], settings, logDir, /worker polls/);
}

/** Starts both workers and the HTTP service, which takes any free port. */
export async function startApplication(settings: Settings, logDir: string): Promise<Application> {
  const started = await Promise.allSettled([
    startOfflineWorker(settings, logDir),
    startProgram(
      "online worker",
      ["worker.ts", "--queue", "online"],
      settings,
      logDir,
      /worker polls/,
    ),
    startProgram(
      "http service",
      ["server.ts", "--processes", "1"],
      settings,
      logDir,
      listening,
      // Nothing is in front of it that must notice its end.
      { PORT: "0", ONCEFLOW_DRAIN_SECONDS: "0" },
    ),
  ]);
  const processes = started.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const stop = async () => {
    await Promise.all(processes.map((each) => each.stop()));
  };
  for (const each of started)
    if (each.status === "rejected") {
      await stop();
      throw each.reason;
    }
  const [, , http] = processes;
  const httpUrl = listening.exec(http?.tail(50) ?? "")?.[1] ?? "";
  return { httpUrl, processes, stop };
}
