/** A real deployment for a test file: Redis, Temporal, folders, and workers as child processes. */
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { connectRuns, type Runs } from "../../../cli/temporal.ts";
import { startOfflineWorker } from "../../../dev/application.ts";
import type { OwnedProcess } from "../../../dev/processes.ts";
import { silentProgress } from "../../../cli/progress.ts";
import { startTemporal, type TemporalService } from "../../../dev/temporal.ts";
import { readSettings, type Settings } from "../../../settings.ts";
import { dumpStore } from "../redis/dump-store.ts";
import { testRedis } from "../redis/server.ts";

let temporal: Promise<TemporalService> | undefined;

/** The Temporal server that all test files share; the first call starts it. */
export function testTemporal(): Promise<TemporalService> {
  temporal ??= startTemporal({ progress: silentProgress });
  return temporal;
}

/** Stops what the test run has started. */
export async function stopTestTemporal(): Promise<void> {
  await (await temporal)?.stop();
}

/** What a test file works with; names and folders are its own. */
export interface Deployment {
  readonly settings: Settings;
  readonly runs: Runs;
  readonly client: Redis;
  /** Starts one more offline worker; all are stopped with the deployment. */
  readonly startWorker: (settings?: Settings) => Promise<OwnedProcess>;
  /** The same deployment with an empty store under another prefix, and no worker yet. */
  readonly withPrefix: () => Settings;
  /** The store's content under a prefix, comparable whatever publishes have brought it about. */
  readonly dump: (prefix?: string) => Promise<string>;
  readonly stop: () => Promise<void>;
}

/** Starts a deployment without workers. */
export async function startDeployment(): Promise<Deployment> {
  const [redis, server] = await Promise.all([testRedis(), testTemporal()]);
  const folder = mkdtempSync(join(tmpdir(), "onceflow-test-"));
  const settings: Settings = {
    ...readSettings({}),
    redisUrl: redis.url,
    temporalAddress: server.address,
    prefix: redis.prefix,
    queue: redis.prefix,
    dataDir: join(folder, "data"),
    offlineDir: join(folder, "offline"),
  };
  const runs = await connectRuns(settings);
  const client = new Redis(redis.url, { protocol: 2 });
  const workers: OwnedProcess[] = [];
  let variants = 0;
  return {
    settings,
    runs,
    client,
    startWorker: async (own = settings) => {
      const worker = await startOfflineWorker(own, folder);
      workers.push(worker);
      return worker;
    },
    withPrefix: () => {
      const prefix = `${redis.prefix}-${variants++}`;
      return { ...settings, prefix, queue: prefix, offlineDir: join(folder, prefix) };
    },
    dump: (prefix = settings.prefix) => dumpStore(client, prefix, { publishes: false }),
    stop: async () => {
      await Promise.all(workers.map((worker) => worker.stop()));
      await runs.close();
      await client.quit();
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
