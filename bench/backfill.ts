/**
 * `backfill`: intervals/s of a backfill over intervals without rows, by the whole commit protocol,
 * against empty child workflows with as many empty activities, at the same parallelism.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Runs } from "../cli/temporal.ts";
import type { Progress } from "../cli/progress.ts";
import { buildCatalogue } from "../engine/catalogue.ts";
import { count, entity, featureView, int64, source, string, timestamp } from "../engine/index.ts";
import type { Settings } from "../settings.ts";
import { idsOf, queuesOf } from "../workflows/contract.ts";
import { activitiesOf, type Environment, startWorker } from "./own-store.ts";
import { type BenchOptions, measurePairs } from "./pairs.ts";
import { type Line, lineOf } from "./report.ts";

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

/** Backfills 2000 intervals at full scale. */
export async function* benchBackfill(
  environment: Environment,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const partitions = Math.floor(2000 / scale);
  const activities = {
    ...activitiesOf(environment, catalogue, {}),
    nothing: () => Promise.resolve(),
  };
  const { dataDir } = environment.settings;
  mkdirSync(dataDir);
  // One row long ago: every interval of the backfill is empty.
  writeFileSync(join(dataDir, "ticks.csv"), "id,at,value\na,2001-01-01T00:00:00Z,1\n");
  const { settings, runs, stop } = await startWorker(environment, activities, progress);
  try {
    let next = 0;
    let limits = 0;
    let activitiesEach = 0;
    let longest: HistorySize = { events: 0, payloadBytes: 0 };
    const measured = await progress.step(`backfills of ${partitions} intervals`, (detail) =>
      measurePairs(
        pairs,
        detail,
        {
          async figure() {
            const from = firstMs + next++ * partitions * msPerHour;
            const { seconds, workflowId } = await backfillSeconds(runs, from, partitions);
            longest = await longestHistory(runs, workflowId, longest);
            activitiesEach = await countActivities(runs, settings, from);
            return partitions / seconds;
          },
          limit: async () =>
            partitions / (await limitSeconds(runs, partitions, activitiesEach, limits++)),
        },
        { warmUp: false },
      ),
    );
    yield lineOf(
      {
        bench: "backfill",
        case: `${partitions} intervals without rows`,
        unit: "intervals/s",
        target: { min: 0.7 },
        rows: 0,
        config: {
          partitions,
          max_parallel: maxParallel,
          activities_each: activitiesEach,
          workers: 1,
          history_events_max: longest.events,
          payload_bytes_max: longest.payloadBytes,
        },
      },
      measured,
    );
  } finally {
    await stop();
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

async function limitSeconds(runs: Runs, partitions: number, activities: number, run: number) {
  const startedAtMs = performance.now();
  await runs.client.workflow.execute("emptyChildren", {
    args: [partitions, maxParallel, activities],
    taskQueue: queuesOf("bench").offline,
    workflowId: `bench/limit/${run}`,
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
    definition: view?.definition ?? "",
  });
  const { events } = await runs.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).filter((event) => event.activityTaskScheduledEventAttributes).length;
}
