/** Finds a Temporal server, or starts one, and makes it ready for onceflow. */
import { basename } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

import { Connection, isGrpcServiceError } from "@temporalio/client";
import { msToTs } from "@temporalio/common/lib/time.js";

import { openProgress, type Detail, type Progress } from "../cli/progress.ts";
import {
  attributeNames,
  knowsSearchAttributes,
  registerSearchAttributes,
} from "../cli/search-attributes.ts";
import { messageOf, OnceflowError, reasonOf } from "../engine/errors.ts";
import { readSettings } from "../settings.ts";
import { isStopping, type Release } from "./owned.ts";
import { findOnPath, type OwnedProcess, retryPorts } from "./processes.ts";
import { openServiceDirectory, type ServiceOptions } from "./service.ts";
import { buildTemporalBinaries, findTemporalBinaries } from "./temporal-install.ts";
import { startFromBinaries, startFromCli, type TemporalServer } from "./temporal-server.ts";

/** A Temporal server that answers, with the namespace of the settings and our search attributes. */
export interface TemporalService {
  /** Host and port. */
  readonly address: string;
  /** Where its UI is, when this process started it. */
  readonly uiUrl?: string;
  /** Whether it can run an activity without a workflow. */
  readonly standaloneActivities: boolean;
  /** Those that this process started and needs for it; none where it was given. */
  readonly processes: readonly OwnedProcess[];
  /** Stops it if this process started it. */
  readonly stop: Release;
}

const retention = "3 days";
/** The number of the workflow kind in TaskQueueType. */
const workflowTaskQueue = 1;
const grpc = { deadlineExceeded: 4, notFound: 5, alreadyExists: 6 } as const;

/**
 * Takes the server of `TEMPORAL_ADDRESS`; else starts `temporal` of the PATH; else the server that
 * an earlier run built; else builds it with Go first.
 *
 * @throws SETUP_FAILED where none can be had.
 */
export async function startTemporal(options: ServiceOptions = {}): Promise<TemporalService> {
  const { progress = openProgress(), env = process.env } = options;
  const given = env["TEMPORAL_ADDRESS"] ?? "";
  const { temporalNamespace: namespace } = readSettings(env);
  if (given !== "") {
    const prepared = await progress.step(
      `Temporal: asking the server of TEMPORAL_ADDRESS, ${given}`,
      () => prepare({ address: given, namespace }, 10_000),
      () => `Temporal: using the server of TEMPORAL_ADDRESS, ${given}`,
    );
    tell(prepared, given, progress);
    const { standaloneActivities } = prepared;
    return { address: given, standaloneActivities, processes: [], stop: () => Promise.resolve() };
  }
  const launcher = await findLauncher(progress, env);
  const { service, prepared, server } = await progress.step(
    `Temporal: starting ${basename(launcher.command)}`,
    (detail) => retryPorts(() => launch(launcher, namespace, options.dataDir, detail)),
    (started) => `Temporal: started ${launcher.command}, ${started.service.address}`,
  );
  if (server.uiFailure !== undefined) {
    progress.say(`! Temporal: the UI does not run. ${messageOf(server.uiFailure)}`);
  }
  tell(prepared, service.address, progress);
  return service;
}

/** Whether the server can run an activity without a workflow, as the namespace says; one call. */
export async function supportsStandaloneActivities(
  connection: Connection,
  namespace: string,
): Promise<boolean> {
  const { namespaceInfo } = await connection.workflowService.describeNamespace({ namespace });
  return namespaceInfo?.capabilities?.standaloneActivities === true;
}

/**
 * Makes sure that `startTemporal` finds a server at once: builds it where it must be built.
 *
 * @throws SETUP_FAILED where none can be had.
 */
export async function findTemporal(
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  if ((env["TEMPORAL_ADDRESS"] ?? "") === "") await findLauncher(progress, env);
}

interface Launcher {
  readonly command: string;
  readonly start: (directory: string, detail: Detail) => Promise<TemporalServer>;
}

interface Prepared {
  readonly standaloneActivities: boolean;
  /** Why the search attributes are missing, where they are. */
  readonly refusal: string | undefined;
}

async function findLauncher(progress: Progress, env: NodeJS.ProcessEnv): Promise<Launcher> {
  const cli = findOnPath("temporal", env);
  if (cli !== undefined) {
    return { command: cli, start: (directory) => startFromCli(cli, directory, env) };
  }
  const go = findOnPath("go", env);
  const binaries =
    findTemporalBinaries(env) ??
    (go === undefined ? undefined : await buildTemporalBinaries(go, env, progress));
  if (binaries !== undefined) {
    return {
      command: binaries.server,
      start: (directory, detail) => startFromBinaries(binaries, directory, env, detail),
    };
  }
  throw new OnceflowError(
    "SETUP_FAILED",
    "Temporal: TEMPORAL_ADDRESS is not set, and neither temporal nor go is on the PATH. Ways out:\n" +
      "  - install the CLI, 1.7 or later: brew install temporal, or https://docs.temporal.io/cli\n" +
      "  - install Go, https://go.dev/dl, and start again: it builds a server once\n" +
      "  - docker compose up -d --wait, then export TEMPORAL_ADDRESS=127.0.0.1:7233\n" +
      "  - export TEMPORAL_ADDRESS=host:7233 of a server that you have",
  );
}

async function launch(
  launcher: Launcher,
  namespace: string,
  dataDir: string | undefined,
  detail: Detail,
) {
  const { path: directory, release } = await openServiceDirectory("temporal", dataDir);
  let server: TemporalServer | undefined;
  const stop = async () => {
    await server?.stop();
    await release();
  };
  try {
    server = await launcher.start(directory, detail);
    const prepared = await prepare(
      { address: server.address, namespace },
      60_000,
      server.assertRunning,
    );
    // Or else a stranger on the same port has answered.
    server.assertRunning();
    const service: TemporalService = {
      address: server.address,
      ...(server.uiUrl === undefined ? {} : { uiUrl: server.uiUrl }),
      standaloneActivities: prepared.standaloneActivities,
      processes: server.processes,
      stop,
    };
    return { service, prepared, server };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Makes sure of the namespace and the search attributes, again until the server can do it. */
async function prepare(
  { address, namespace }: { readonly address: string; readonly namespace: string },
  timeoutMs: number,
  assertRunning: () => void = () => undefined,
): Promise<Prepared> {
  const connection = Connection.lazy({ address, connectTimeout: timeoutMs });
  const deadlineMs = Date.now() + timeoutMs;
  try {
    for (;;) {
      try {
        return await connection.withDeadline(
          Math.min(deadlineMs, Date.now() + 10_000),
          async () => {
            await ensureNamespace(connection, namespace);
            const refusal = await ensureSearchAttributes(connection, namespace);
            // The last part to come up is the one that hands out tasks.
            await connection.workflowService.describeTaskQueue({
              namespace,
              taskQueue: { name: "onceflow-start" },
              taskQueueType: workflowTaskQueue,
            });
            return {
              standaloneActivities: await supportsStandaloneActivities(connection, namespace),
              refusal,
            };
          },
        );
      } catch (error) {
        assertRunning();
        if (Date.now() < deadlineMs && !isStopping()) {
          await pause(100);
          continue;
        }
        const why =
          codeOf(error) === grpc.deadlineExceeded
            ? `no answer within ${timeoutMs / 1000} s`
            : reasonOf(error);
        throw new OnceflowError(
          "SETUP_FAILED",
          `The Temporal server at ${address} cannot be used: ${why}. ` +
            "If TEMPORAL_ADDRESS names it, start it, correct the address, or unset it to have one " +
            "started.",
          {},
          error,
        );
      }
    }
  } finally {
    await connection.close();
  }
}

async function ensureNamespace(connection: Connection, namespace: string): Promise<void> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
  } catch (error) {
    if (codeOf(error) !== grpc.notFound) throw error;
    try {
      await connection.workflowService.registerNamespace({
        namespace,
        workflowExecutionRetentionPeriod: msToTs(retention),
      });
    } catch (refused) {
      if (codeOf(refused) !== grpc.alreadyExists) throw refused;
    }
  }
}

/** Registers what is missing, and sees that a query may use it; returns a refusal's reason. */
async function ensureSearchAttributes(
  connection: Connection,
  namespace: string,
): Promise<string | undefined> {
  const { refusal } = await registerSearchAttributes({ connection, namespace });
  if (refusal !== null) return refusal;
  if (!(await knowsSearchAttributes({ connection, namespace })))
    throw new Error(`the server does not know the search attributes ${attributeNames} yet`);
  return undefined;
}

function tell(prepared: Prepared, address: string, progress: Progress): void {
  if (prepared.refusal !== undefined) {
    progress.say(
      `! Temporal: ${address} refuses to register the search attributes ` +
        `${attributeNames} (Keyword). Runs need them: have its operator add them. ` +
        `It said: ${prepared.refusal}`,
    );
  }
  if (!prepared.standaloneActivities) {
    progress.say(
      `! Temporal: ${address} has no Standalone Activities (server 1.30 or later, CLI 1.7 or ` +
        "later). All else works; an activity then needs a workflow around it.",
    );
  }
}

function codeOf(error: unknown): number {
  return isGrpcServiceError(error) ? error.code : -1;
}
