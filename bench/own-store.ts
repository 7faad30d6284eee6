/** What benchmarks of materialization share: a Redis of their own, a folder, and direct runs. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MockActivityEnvironment } from "@temporalio/testing";
import { NativeConnection, Worker } from "@temporalio/worker";
import { createOfflineActivities } from "../activities/offline.ts";
import { connectRuns } from "../cli/temporal.ts";
import type { Progress } from "../cli/progress.ts";
import { startRedis } from "../dev/redis.ts";
import { startTemporal } from "../dev/temporal.ts";
import { type Catalogue, viewNamed } from "../engine/catalogue.ts";
import { readSettings, type Settings } from "../settings.ts";
import { createKeys } from "../store/keys.ts";
import { bucketKey } from "../store/namespace.ts";
import { createOnlineStore } from "../store/online-store.ts";
import { connectRedis } from "../store/redis/connection.ts";
import type { RedisConnection } from "../store/redis/types.ts";
import { versionBytes } from "../store/rows/version.ts";
import { queuesOf, type Slice, slicesOf } from "../workflows/contract.ts";

/** Where a benchmark works. */
export interface Environment {
  readonly settings: Settings;
  readonly redis: RedisConnection;
  readonly folder: string;
  readonly stop: () => Promise<void>;
}

/** An environment that names no running Redis and no Temporal. */
export const ownServices: NodeJS.ProcessEnv = {
  ...process.env,
  REDIS_URL: "",
  TEMPORAL_ADDRESS: "",
  TEMPORAL_NAMESPACE: "",
};

/** Starts Redis and makes a folder; `stop` removes both. */
export async function openEnvironment(progress: Progress): Promise<Environment> {
  const folder = mkdtempSync(join(tmpdir(), "onceflow-bench-"));
  // Never one that somebody uses: benchmarks remove every key.
  const service = await startRedis({ progress, env: ownServices });
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

/** Empties both stores: Redis alone would be put back from the offline store. */
export async function emptyStores({
  redis,
  settings,
}: Pick<Environment, "redis" | "settings">): Promise<void> {
  await redis.send(["flushall"]);
  rmSync(settings.offlineDir, { recursive: true, force: true });
}

/** The offline activities over a catalogue, whose sources are read from elsewhere. */
export function activitiesOf(
  { redis, settings }: Pick<Environment, "redis" | "settings">,
  catalogue: Catalogue,
  sources: Readonly<Record<string, string>>,
) {
  return createOfflineActivities({ catalogue, redis, settings: { ...settings, sources } });
}

/** A Temporal of our own with one worker of the offline queue; `stop` ends both. */
export async function startWorker(
  environment: Environment,
  activities: object,
  progress: Progress,
) {
  const temporal = await startTemporal({ progress, env: ownServices });
  const settings = { ...environment.settings, temporalAddress: temporal.address };
  const connection = await NativeConnection.connect({ address: settings.temporalAddress });
  const worker = await Worker.create({
    connection,
    taskQueue: queuesOf(settings.queue).offline,
    workflowsPath: fileURLToPath(new URL("./workflows/", import.meta.url)),
    activities,
    maxConcurrentActivityTaskExecutions: slicesAtOnce,
  });
  const runs = await connectRuns(settings);
  const running = worker.run();
  return {
    settings,
    runs,
    stop: async (): Promise<void> => {
      worker.shutdown();
      await running;
      await runs.close();
      await connection.close();
      await temporal.stop();
    },
  };
}

/** What a direct run and its publish wrote, and how long both took. */
export interface DirectRun {
  /** Entities. */
  readonly written: number;
  readonly seconds: number;
}

/** Activities that a worker runs at once, as worker.ts has it. */
const slicesAtOnce = 2;

type Activities = ReturnType<typeof activitiesOf>;

/** Begins a run that nobody has done, and says in which slices of files. */
export async function planRun(
  activities: Activities,
  catalogue: Catalogue,
  { view: name, end }: { readonly view: string; readonly end: string },
) {
  const view = viewNamed(catalogue, name);
  const request = {
    view: name,
    start: "",
    end,
    fingerprint: view.fingerprint,
    definition: view.definition,
    // A run of its own: one that came back would go on with the files of before.
    runId: randomUUID(),
    reprocess: false,
    sensed: true,
  };
  const plan = await call(() => activities.planRun(request));
  if (plan.due !== "rows") throw new Error(`${name} has ${plan.due} to do, not rows`);
  return { run: { ...request, generation: plan.generation }, slices: slicesOf(plan.files) };
}

/** Calls activities as a worker does. */
export function call<R>(work: () => Promise<R>): Promise<R> {
  return new MockActivityEnvironment().run<[], R, () => Promise<R>>(work);
}

/** Works on slices as a worker does, two at a time. */
async function atOnce(slices: readonly Slice[], work: (slice: Slice) => Promise<void>) {
  const left = slices.values();
  const lane = async () => {
    for (const slice of left) await work(slice);
  };
  await Promise.all(Array.from({ length: slicesAtOnce }, lane));
}

/** Calls the activities of `materialize` and `publish` in their order, without Temporal. */
export async function materializeDirectly(
  environment: Pick<Environment, "redis" | "settings">,
  catalogue: Catalogue,
  sources: Readonly<Record<string, string>>,
  request: { readonly view: string; readonly end: string },
): Promise<DirectRun> {
  const activities = activitiesOf(environment, catalogue, sources);
  const startedAtMs = performance.now();
  const { run, slices } = await planRun(activities, catalogue, request);
  let rows = 0;
  await atOnce(slices, async (slice) => {
    rows += (await call(() => activities.readSlice(run, slice))).rows;
  });
  await call(() => activities.validateRun(run));
  await call(() => activities.commitRun(run));
  await call(() => activities.recordCommit(run, { rows, warnings: [] }));
  const { written } = await call(() => activities.publishView(run));
  return { written, seconds: (performance.now() - startedAtMs) / 1000 };
}

/** Mean bytes of a view's values in the store, versions among them. */
export async function valueBytes(
  { redis, settings }: Pick<Environment, "redis" | "settings">,
  view: string,
): Promise<number> {
  const [namespace] = await createOnlineStore(redis, settings).listNamespaces(view);
  if (namespace === undefined) throw new Error(`nothing of ${view} is stored`);
  const keys = createKeys(settings.prefix);
  const sample = Array.from({ length: Math.min(namespace.buckets, 16) }, (_, bucket) => bucket);
  const replies = await redis.pipeline(
    sample.map((bucket) => ["hvals", bucketKey(keys, namespace, bucket)]),
  );
  const sizes = (replies as (readonly Buffer[])[])
    .flat()
    .map((value) => value.length)
    // Less has the epoch alone.
    .filter((size) => size >= versionBytes);
  return Math.round(sizes.reduce((sum, size) => sum + size, 0) / sizes.length);
}
