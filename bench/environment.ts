/** What benchmarks of materialization share: a Redis of their own, a folder, and direct runs. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MockActivityEnvironment } from "@temporalio/testing";
import { createOfflineActivities } from "../activities/offline.ts";
import type { Progress } from "../dev/progress.ts";
import { startRedis } from "../dev/redis.ts";
import { type Catalogue, viewNamed } from "../engine/catalogue.ts";
import { readSettings, type Settings } from "../settings.ts";
import { createLedger } from "../store/ledger.ts";
import { createOfflineStore } from "../store/offline-store.ts";
import { createOnlineStore } from "../store/online-store.ts";
import { connectRedis, type RedisConnection } from "../store/redis.ts";
import {
  type OpenedStore,
  type RowsRead,
  type RowsWritten,
  type RunPlan,
  slicesOf,
  type Waiting,
} from "../workflows/contract.ts";

/** Where a benchmark works. */
export interface Environment {
  readonly settings: Settings;
  readonly redis: RedisConnection;
  readonly folder: string;
  readonly stop: () => Promise<void>;
}

/** Starts Redis and makes a folder; `stop` removes both. */
export async function openEnvironment(progress: Progress): Promise<Environment> {
  const folder = mkdtempSync(join(tmpdir(), "onceflow-bench-"));
  const service = await startRedis({ progress });
  const redis = connectRedis(service.url, "writing");
  return {
    folder,
    redis,
    settings: {
      ...readSettings({}),
      redisUrl: service.url,
      queue: "bench",
      prefix: "bench",
      dataDir: join(folder, "data"),
      offlineDir: join(folder, "offline"),
    },
    async stop() {
      await redis.close();
      await service.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The offline activities over a catalogue, whose sources are read from elsewhere. */
export function activitiesOf(
  { redis, settings }: Pick<Environment, "redis" | "settings">,
  catalogue: Catalogue,
  sources: Readonly<Record<string, string>>,
) {
  return createOfflineActivities({
    catalogue,
    redis,
    online: createOnlineStore(redis, settings),
    ledger: createLedger(redis, settings),
    offline: createOfflineStore({ root: settings.offlineDir }),
    sources: { dataDir: settings.dataDir, overrides: sources },
    tasks: {},
    folders: settings,
    webhooks: settings.webhooks,
  });
}

/** What a direct run took, in seconds. */
export interface DirectRun extends RowsWritten {
  readonly passOneSeconds: number;
  readonly passTwoSeconds: number;
  readonly seconds: number;
}

/** Calls the activities of `materialize` in their order, without Temporal. */
export async function materializeDirectly(
  environment: Pick<Environment, "redis" | "settings">,
  catalogue: Catalogue,
  sources: Readonly<Record<string, string>>,
  {
    view: name,
    start = "",
    end,
  }: { readonly view: string; readonly start?: string; readonly end: string },
): Promise<DirectRun> {
  const activities = activitiesOf(environment, catalogue, sources);
  const view = viewNamed(catalogue, name);
  const attempt = new MockActivityEnvironment();
  const request = {
    view: name,
    start,
    end,
    fingerprint: view.fingerprint,
    definition: view.runFingerprint,
    runId: `direct-${end}`,
    reprocess: false,
    sensed: true,
  };
  const startedAtMs = performance.now();
  const plan = (await attempt.run(activities.planRun, request)) as RunPlan | Waiting;
  if (plan.due !== "rows") throw new Error(`${name} has ${plan.due} to do, not rows`);
  const run = { ...request, generation: plan.generation };
  const slices = slicesOf(plan.files);
  let rows = 0;
  for (const slice of slices)
    rows += ((await attempt.run(activities.readSlice, run, slice)) as RowsRead).rows;
  await attempt.run(activities.validateRun, run);
  const passOneAtMs = performance.now();
  const store = (await attempt.run(activities.openStore, run, rows)) as OpenedStore;
  const counts = { read: 0, written: 0, superseded: 0 };
  for (const slice of slices) {
    const done = (await attempt.run(activities.writeSlice, run, slice, store)) as RowsWritten;
    counts.read += done.read;
    counts.written += done.written;
    counts.superseded += done.superseded;
  }
  await attempt.run(activities.commitRun, run, store);
  const passTwoAtMs = performance.now();
  await attempt.run(activities.publishRun, run, true, {
    rows,
    written: counts.written,
    superseded: counts.superseded,
    warnings: [],
  });
  return {
    ...counts,
    passOneSeconds: (passOneAtMs - startedAtMs) / 1000,
    passTwoSeconds: (passTwoAtMs - passOneAtMs) / 1000,
    seconds: (performance.now() - startedAtMs) / 1000,
  };
}
