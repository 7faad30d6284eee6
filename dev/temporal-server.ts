/** Starts a Temporal server and its UI on a file database, from the CLI or from the Go programs. */
import { statSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import type { Detail } from "../cli/progress.ts";
import type { Release } from "./owned.ts";
import { isPortTaken, startProcess, type OwnedProcess } from "./processes.ts";
import { choosePorts } from "./service.ts";
import type { TemporalBinaries } from "./temporal-install.ts";

/** A server whose port is open; its namespace may be missing yet. */
export interface TemporalServer {
  readonly address: string;
  readonly uiUrl?: string;
  /** Why the UI does not run, where it does not. */
  readonly uiFailure?: unknown;
  /** What cannot be done without; a UI that is a process of its own can. */
  readonly processes: readonly OwnedProcess[];
  /** @throws SETUP_FAILED with the tail of the log when it has ended. */
  readonly assertRunning: () => void;
  readonly stop: Release;
}

const host = "127.0.0.1";

/** Starts `temporal server start-dev`, which brings its UI along. */
export async function startFromCli(
  command: string,
  directory: string,
  env: NodeJS.ProcessEnv,
): Promise<TemporalServer> {
  const [port = 0, uiPort = 0] = (await choosePorts(directory, 2)).ports;
  const dynamic = Object.entries(dynamicConfig).map(
    ([name, value]) => `--dynamic-config-value=${name}=${JSON.stringify(value)}`,
  );
  const running = await startProcess({
    name: "temporal server start-dev",
    command,
    args: [
      "server",
      "start-dev",
      "--ip",
      host,
      "--headless=false",
      "--log-level",
      "warn",
      "--port",
      String(port),
      "--ui-port",
      String(uiPort),
      "--db-filename",
      join(directory, "temporal.db"),
      "--namespace",
      "default",
      "--sqlite-pragma",
      "journal_mode=WAL",
      "--sqlite-pragma",
      "synchronous=NORMAL",
      ...dynamic,
    ],
    env: withoutTemporalSettings(env),
    logFile: join(directory, "temporal.log"),
    ready: () => isOpen(port),
  });
  const { assertRunning, stop } = running;
  return {
    address: `${host}:${port}`,
    uiUrl: `http://${host}:${uiPort}`,
    processes: [running],
    assertRunning,
    stop,
  };
}

/** Starts the server program with a configuration of ours, and the UI program beside it. */
export async function startFromBinaries(
  binaries: TemporalBinaries,
  directory: string,
  env: NodeJS.ProcessEnv,
  detail: Detail,
): Promise<TemporalServer> {
  const { ports, moved } = await choosePorts(directory, 10);
  const database = join(directory, "temporal.db");
  if (moved) {
    detail("waiting for the traces of its last run on other ports to expire");
    await waitUntilForgotten(database);
    detail("");
  }
  const port = (at: number) => ports[at] ?? 0;
  const configFile = join(directory, "temporal.yaml");
  const dynamicFile = join(directory, "dynamic.yaml");
  const uiFolder = join(directory, "ui");
  await mkdir(uiFolder, { recursive: true });
  // JSON is YAML.
  await writeFile(dynamicFile, JSON.stringify(asDynamicConfigFile(), null, 2));
  await writeFile(configFile, JSON.stringify(serverConfig(database, dynamicFile, port), null, 2));
  await writeFile(join(uiFolder, "onceflow.yaml"), JSON.stringify(uiConfig(port(9), port(0))));

  const server = await startProcess({
    name: "temporal-server",
    command: binaries.server,
    args: ["--config-file", configFile, "--allow-no-auth", "start"],
    env: withoutTemporalSettings(env),
    logFile: join(directory, "temporal.log"),
    ready: () => isOpen(port(0)),
  });
  const address = `${host}:${port(0)}`;
  const { assertRunning } = server;
  let ui: OwnedProcess;
  try {
    ui = await startProcess({
      name: "temporal-ui",
      command: binaries.ui,
      args: ["--root", directory, "--config", "ui", "--env", "onceflow", "start"],
      env: withoutTemporalSettings(env),
      logFile: join(directory, "temporal-ui.log"),
      // An open port may be a stranger's.
      ready: (log) => log.includes("http server started on"),
      readyTimeoutMs: 20_000,
    });
  } catch (uiFailure) {
    if (isPortTaken(uiFailure)) {
      await server.stop();
      throw uiFailure;
    }
    return { address, uiFailure, processes: [server], assertRunning, stop: server.stop };
  }
  return {
    address,
    uiUrl: `http://${host}:${port(9)}`,
    processes: [server],
    assertRunning,
    async stop() {
      await ui.stop();
      await server.stop();
    },
  };
}

/** Settings that differ from the server's defaults, for one machine and few requests. */
const dynamicConfig = {
  "activity.enableStandalone": true,
  // A pause, and a change of options, of a standalone activity from the UI.
  "history.enableStandaloneActivityOperatorCommands": true,
  // 20 reads a second of each queue are the default: 50 ms between one task and the next.
  "history.transferProcessorMaxPollRPS": 1000,
  "history.timerProcessorMaxPollRPS": 1000,
  "history.visibilityProcessorMaxPollRPS": 1000,
  "matching.numTaskqueueReadPartitions": 1,
  "matching.numTaskqueueWritePartitions": 1,
  // A new namespace or search attribute is known everywhere at once.
  "system.namespaceCacheRefreshInterval": "1s",
  "system.forceSearchAttributesCacheRefreshOnRead": true,
} as const;

function asDynamicConfigFile(): Record<string, readonly { value: unknown }[]> {
  return Object.fromEntries(
    Object.entries(dynamicConfig).map(([name, value]) => [name, [{ value }]]),
  );
}

/** The server's configuration, after its own `development-sqlite-file.yaml`. */
function serverConfig(database: string, dynamicFile: string, port: (at: number) => number) {
  // The stock file ends its only connection after an hour; ours stays.
  const sql = {
    pluginName: "sqlite",
    databaseName: database,
    connectAddr: "localhost",
    connectProtocol: "tcp",
    connectAttributes: {
      cache: "private",
      setup: "true",
      journal_mode: "wal",
      // With the log written ahead, a crash of the process loses nothing.
      synchronous: "1",
    },
    maxConns: 1,
    maxIdleConns: 1,
    maxConnLifetime: "0s",
  };
  const service = (at: number, more: Record<string, unknown> = {}) => ({
    rpc: { grpcPort: port(at), membershipPort: port(at + 1), bindOnLocalHost: true, ...more },
  });
  return {
    log: { stdout: true, level: "warn" },
    persistence: {
      defaultStore: "sqlite",
      visibilityStore: "sqlite",
      numHistoryShards: 1,
      datastores: { sqlite: { sql } },
    },
    global: { membership: { maxJoinDuration: "30s", broadcastAddress: host } },
    services: {
      frontend: service(0, { httpPort: port(8) }),
      matching: service(2),
      history: service(4),
      worker: service(6),
    },
    clusterMetadata: {
      enableGlobalNamespace: false,
      failoverVersionIncrement: 10,
      masterClusterName: "active",
      currentClusterName: "active",
      clusterInformation: {
        active: {
          enabled: true,
          initialFailoverVersion: 1,
          rpcName: "frontend",
          rpcAddress: `${host}:${port(0)}`,
          httpAddress: `${host}:${port(8)}`,
        },
      },
    },
    dcRedirectionPolicy: { policy: "noop" },
    dynamicConfigClient: { filepath: dynamicFile, pollInterval: "60s" },
  };
}

function uiConfig(uiPort: number, serverPort: number) {
  return {
    temporalGrpcAddress: `${host}:${serverPort}`,
    host,
    port: uiPort,
    enableUi: true,
    defaultNamespace: "default",
    disableNewsFetch: true,
    cors: { cookieInsecure: true, allowOrigins: [`http://${host}:${uiPort}`] },
  };
}

/**
 * The services of a server find one another through a table of its database. Entries younger than
 * 20 s count, so on new ports a server waits until those of its last run are older.
 */
async function waitUntilForgotten(database: string): Promise<void> {
  const newestMs = Math.max(
    ...[database, `${database}-wal`].map((file) => {
      return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    }),
  );
  const waitMs = newestMs + 21_000 - Date.now();
  if (waitMs > 0) await pause(waitMs);
}

/** A user's settings for a Temporal client or server must not change the one that we start. */
function withoutTemporalSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("TEMPORAL_")));
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
