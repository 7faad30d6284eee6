/**
 * `backfill`: intervals/s of a backfill over intervals without rows, by the whole commit protocol,
 * against empty child workflows with as many empty activities, at the same parallelism.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { DefaultLogger, NativeConnection, Runtime, Worker } from "@temporalio/worker";
import { createOfflineActivities } from "../activities/offline.ts";
import { connectRuns, type Runs } from "../cli/temporal.ts";
import type { Progress } from "../dev/progress.ts";
import { startServices } from "../dev/services.ts";
import { buildCatalogue } from "../engine/catalogue.ts";
import { count, entity, featureView, int64, source, string, timestamp } from "../engine/index.ts";
import { readSettings, type Settings } from "../settings.ts";
import { createLedger } from "../store/ledger.ts";
import { createOfflineStore } from "../store/offline-store.ts";
import { createOnlineStore } from "../store/online-store.ts";
import { connectRedis } from "../store/redis.ts";
import { idsOf, queuesOf } from "../workflows/contract.ts";
import { type Pair, reportLine } from "./report.ts";

const msPerHour = 3_600_000;
const firstMs = Date.parse("2020-01-01T00:00:00Z");
const maxParallel = 32;

const ticks = source("ticks", {
  files: "ticks.csv",
  entity: entity("clock", { key: "id" }),
  eventTime: "at",
  columns: { id: string, at: timestamp, value: int64 },
});
const catalogue = buildCatalogue({
  ticks: {
    ticks,
    tick_count: count(ticks.columns.value),
    ticks_view: featureView("ticks", {
      source: ticks,
      stores: [ticks.columns.value],
      schedule: { every: "1 hour", start: "2020-01-01" },
    }),
  },
});

/** Runs `pairs` pairs of a backfill and its limit, over `partitions` intervals each. */
export async function benchBackfill(
  { partitions, pairs }: { readonly partitions: number; readonly pairs: number },
  progress: Progress,
): Promise<string> {
  Runtime.install({ logger: new DefaultLogger("ERROR") });
  const folder = mkdtempSync(join(tmpdir(), "onceflow-bench-"));
  const services = await startServices({ progress });
  const settings: Settings = {
    ...readSettings({}),
    redisUrl: services.redisUrl,
    temporalAddress: services.temporalAddress,
    queue: "bench",
    prefix: "bench",
    dataDir: join(folder, "data"),
    offlineDir: join(folder, "offline"),
  };
  mkdirSync(settings.dataDir);
  // One row long ago: every interval of the backfill is empty.
  writeFileSync(join(settings.dataDir, "ticks.csv"), "id,at,value\na,2001-01-01T00:00:00Z,1\n");
  const redis = connectRedis(settings.redisUrl, "writing");
  const connection = await NativeConnection.connect({ address: settings.temporalAddress });
  const worker = await Worker.create({
    connection,
    taskQueue: queuesOf(settings.queue).offline,
    workflowsPath: fileURLToPath(new URL("./workflows/", import.meta.url)),
    activities: {
      ...createOfflineActivities({
        catalogue,
        redis,
        online: createOnlineStore(redis, settings),
        ledger: createLedger(redis, settings),
        offline: createOfflineStore({ root: settings.offlineDir }),
        sources: { dataDir: settings.dataDir },
        tasks: {},
        folders: settings,
        webhooks: settings.webhooks,
      }),
      nothing: () => Promise.resolve(),
    },
  });
  const runs = await connectRuns(settings);
  const running = worker.run();
  try {
    const measured: Pair[] = [];
    let activities = 0;
    let longest: HistorySize = { events: 0, payloadBytes: 0 };
    for (let pair = 0; pair < pairs; pair++) {
      const from = firstMs + pair * partitions * msPerHour;
      await progress.step(`pair ${pair + 1} of ${pairs}`, async (detail) => {
        detail(`backfill of ${partitions} intervals`);
        const { seconds, workflowId } = await backfillSeconds(runs, from, partitions);
        const figure = partitions / seconds;
        longest = await longestHistory(runs, workflowId, longest);
        activities ||= await countActivities(runs, settings, from);
        detail(`${partitions} empty children with ${activities} activities`);
        const limit = partitions / (await limitSeconds(runs, partitions, activities, pair));
        measured.push({ figure, limit });
      });
    }
    return reportLine(
      {
        bench: "backfill",
        case: `${partitions} intervals without rows`,
        unit: "intervals/s",
        target: { min: 0.7 },
        rows: 0,
        config: {
          partitions,
          max_parallel: maxParallel,
          activities_each: activities,
          workers: 1,
          history_events_max: longest.events,
          payload_bytes_max: longest.payloadBytes,
        },
      },
      measured,
    );
  } finally {
    worker.shutdown();
    await running;
    await redis.close();
    await runs.close();
    await connection.close();
    await services.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function backfillSeconds(runs: Runs, fromMs: number, partitions: number) {
  const startedAtMs = performance.now();
  const run = await runs.startBackfill({
    view: "ticks",
    from: new Date(fromMs).toISOString(),
    to: new Date(fromMs + partitions * msPerHour).toISOString(),
    maxParallel,
  });
  const { committed } = await run.result();
  if (committed !== partitions) throw new Error(`${committed} of ${partitions} were committed`);
  return { seconds: (performance.now() - startedAtMs) / 1000, workflowId: run.workflowId };
}

/** The longest history of a backfill's executions, and the largest payload in one. */
interface HistorySize {
  readonly events: number;
  readonly payloadBytes: number;
}

async function longestHistory(
  { client }: Runs,
  id: string,
  known: HistorySize,
): Promise<HistorySize> {
  let { events, payloadBytes } = known;
  for await (const { workflowId, runId } of client.workflow.list({
    query: `WorkflowId = "${id}"`,
  })) {
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    events = Math.max(events, history.events?.length ?? 0);
    for (const event of history.events ?? [])
      payloadBytes = Math.max(payloadBytes, payloadOf(event));
  }
  return { events, payloadBytes };
}

/** Bytes of the largest payload anywhere in an event. */
function payloadOf(part: unknown): number {
  if (part instanceof Uint8Array) return part.byteLength;
  if (typeof part !== "object" || part === null) return 0;
  return Math.max(0, ...Object.values(part).map(payloadOf));
}

async function limitSeconds(runs: Runs, partitions: number, activities: number, pair: number) {
  const startedAtMs = performance.now();
  await runs.client.workflow.execute("emptyChildren", {
    args: [partitions, maxParallel, activities],
    taskQueue: queuesOf("bench").offline,
    workflowId: `bench/limit/${pair}`,
  });
  return (performance.now() - startedAtMs) / 1000;
}

/** Activities of one interval's run, by its history. */
async function countActivities(runs: Runs, { queue }: Settings, startMs: number): Promise<number> {
  const view = catalogue.views.get("ticks");
  const workflowId = idsOf(queue).interval({
    view: "ticks",
    start: new Date(startMs).toISOString(),
    end: new Date(startMs + msPerHour).toISOString(),
    fingerprint: view?.fingerprint ?? "",
    definition: view?.runFingerprint ?? "",
  });
  const { events } = await runs.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).filter((event) => event.activityTaskScheduledEventAttributes).length;
}
