import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BackfillRun } from "../../cli/temporal.ts";
import { connectRuns } from "../../cli/temporal.ts";
import { writeBadges } from "../../dev/example-data.ts";
import { type Catalogue, loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import type { Settings } from "../../settings.ts";
import { createLedger, type Ledger } from "../../store/ledger.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import {
  type BackfillInput,
  type BackfillResult,
  idsOf,
  queuesOf,
} from "../../workflows/contract.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { failsWith } from "../support/fails-with.ts";
import { until } from "../support/until.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

const msPerDay = 86_400_000;
const firstDayMs = Date.parse("2026-01-01T00:00:00Z");
const iso = (ms: number) => new Date(ms).toISOString();
const day = (count: number) => iso(firstDayMs + count * msPerDay);

describe("Schedules and backfills", function () {
  this.timeout(180_000);
  let deployment: Deployment;
  let catalogue: Catalogue;
  let redis: RedisConnection;

  before(async () => {
    deployment = await startDeployment();
    catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    redis = connectRedis(deployment.settings.redisUrl, "writing");
    writeBadges(deployment.settings.dataDir, firstDayMs, 12, 40);
  });
  after(async () => {
    await redis.close();
    await deployment.stop();
  });

  const fileOf = (settings: Settings, count: number) =>
    join(settings.dataDir, "badges", `date=${day(count).slice(0, 10)}.parquet`);

  async function backfill(
    settings: Settings,
    input: Partial<BackfillInput> = {},
  ): Promise<BackfillRun> {
    const runs = await connectRuns(settings);
    const run = await runs.startBackfill({ view: "badges", from: day(0), to: day(6), ...input });
    return { ...run, result: () => run.result().finally(() => runs.close()) };
  }

  /** Generations of the committed days, by the number of the day. */
  async function generations(settings: Settings): Promise<Record<number, number>> {
    const ledger: Ledger = createLedger(redis, settings);
    const { fingerprint } = viewNamed(catalogue, "badges");
    const { coverage } = await ledger.readLedger("badges", fingerprint);
    return Object.fromEntries(
      [...coverage].map(([interval, { generation }]) => [
        (Date.parse(interval.split("/")[0] ?? "") - firstDayMs) / msPerDay,
        generation,
      ]),
    );
  }

  it("goes on past an interval that fails, and takes it up again once it is mended", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    const broken = fileOf(settings, 2);
    const bytes = readFileSync(broken);
    writeFileSync(broken, "no parquet");
    try {
      const first = await (await backfill(settings)).result();
      assert.deepEqual(
        { total: first.total, committed: first.committed, failed: first.failed },
        { total: 6, committed: 5, failed: 1 },
      );
      assert.match(first.failures[0]?.interval ?? "", /^2026-01-03/);
      assert.match(first.failures[0]?.reason ?? "", /date=2026-01-03/);

      const again = await (await backfill(settings)).result();
      assert.equal(again.total, 0, "a failed interval is not missing");
    } finally {
      writeFileSync(broken, bytes);
    }
    const mended = await (await backfill(settings, { reprocess: "failed" })).result();
    assert.deepEqual(
      { total: mended.total, committed: mended.committed },
      { total: 1, committed: 1 },
    );
    assert.deepEqual(Object.keys(await generations(settings)).length, 6);

    const all = await (await backfill(settings, { reprocess: "all", to: day(2) })).result();
    assert.equal(all.committed, 2);
    const after = await generations(settings);
    assert.deepEqual([after[0], after[1], after[3]], [2, 2, 1]);
  });

  it("commits each interval once across continue-as-new, the newest first, and joins a twin", async () => {
    const settings = deployment.withPrefix();
    const input = { to: day(12), partitionsPerRun: 3, maxParallel: 2, newestFirst: true };
    const run = await backfill(settings, input);
    const twin = await backfill(settings, input);
    assert.equal(twin.workflowId, run.workflowId);
    await deployment.startWorker(settings);
    const result = await run.result();
    assert.deepEqual(
      { total: result.total, committed: result.committed, covered: result.covered },
      { total: 12, committed: 12, covered: 0 },
    );
    const found = await generations(settings);
    assert.deepEqual(Object.values(found), Array(12).fill(1));

    const handle = deployment.runs.client.workflow.getHandle(run.workflowId);
    const { runId } = await handle.describe();
    assert.notEqual(runId, run.runId, "it did not continue as new");
    const ledger = createLedger(redis, settings);
    const log = await ledger.readRuns("badges", 100);
    const order = log.map(({ interval }) => interval).reverse();
    assert.ok((order[0] ?? "") > (order.at(-1) ?? ""), "the oldest was first");
  });

  it("holds when paused, goes on when resumed, and ends all that is under way when cancelled", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    // A missing file keeps an interval under way for as long as the test wants.
    const own = {
      ...settings,
      sources: { badges: join(settings.dataDir, "later-{date}.parquet") },
    };
    const waiting = deployment.withPrefix();
    await deployment.startWorker({ ...own, ...named(waiting), sources: own.sources });
    const { client, startMaterialize, close } = await connectRuns(waiting);
    const { fingerprint, definition } = viewNamed(catalogue, "badges");
    // One that somebody else runs is joined, and not theirs to cancel.
    const others = await startMaterialize({
      view: "badges",
      start: day(0),
      end: day(1),
      fingerprint,
      definition,
    });
    const run = await backfill(waiting, { maxParallel: 1, partitionsPerRun: 1 });
    await until(
      "one interval is under way",
      async () => (await run.progress()).running.length === 1,
    );
    await run.pause();
    await run.setMaxParallel(3);
    assert.equal((await run.progress()).paused, true);
    assert.equal((await run.progress()).running.length, 1);
    await run.resume();
    await until("three are under way", async () => (await run.progress()).running.length === 3);

    await run.cancel();
    await assert.rejects(run.result());
    const prefix = `${queuesOf(waiting.queue).offline}/materialize/`;
    const openRuns = async () => {
      const open: string[] = [];
      for await (const each of client.workflow.list({ query: 'ExecutionStatus = "Running"' }))
        if (each.workflowId.startsWith(prefix)) open.push(each.workflowId);
      return open;
    };
    await until("none of its runs is left", async () => (await openRuns()).length <= 1);
    assert.deepEqual(await openRuns(), [others.workflowId]);
    await others.cancel();
    await until("no run of an interval is left", async () => (await openRuns()).length === 0);
    await close();
    assert.deepEqual(await generations(waiting), {});
    assert.ok(!existsSync(join(waiting.dataDir, "later-2026-01-01.parquet")));
  });

  it("says what was expected of a wrong input that was typed by hand", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    const { client } = await connectRuns(settings);
    const start = (input: unknown, n: number): Promise<BackfillResult> =>
      client.workflow.execute("backfill", {
        args: [input],
        taskQueue: queuesOf(settings.queue).offline,
        workflowId: `${settings.queue}/by-hand/${n}`,
      });
    const messageOf = async (input: unknown, n: number) => {
      const error = await start(input, n).catch((thrown: unknown) => thrown);
      const texts: string[] = [];
      for (let at: unknown = error; at instanceof Error; at = at.cause) texts.push(at.message);
      return texts.join(" ");
    };
    assert.match(await messageOf({ view: "badges" }, 0), /no usable from.*looks like/);
    assert.match(
      await messageOf({ view: "badges", from: "2026-01-01", to: "2026-01-02", reproces: 1 }, 1),
      /"reproces", which is none of view/,
    );
    assert.match(
      await messageOf({ view: "badges", from: "2026-01-02", to: "2026-01-01" }, 2),
      /a time after from/,
    );
    assert.match(
      await messageOf({ view: "badge", from: "2026-01-01", to: "2026-01-02" }, 3),
      /Did you mean "badges"/,
    );
    const done = await start({ view: "badges", from: "2026-01-01", to: "2026-01-02" }, 4);
    assert.equal(done.committed, 1);
  });

  it("commits an interval once that is asked for two hundred times at once, and by a backfill", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    const { startMaterialize, close } = await connectRuns(settings);
    const { fingerprint, definition } = viewNamed(catalogue, "badges");
    const input = { view: "badges", start: day(0), end: day(1), fingerprint, definition };
    const filling = await backfill(settings, { to: day(2) });
    const asked = await Promise.all(Array.from({ length: 200 }, () => startMaterialize(input)));
    const results = await Promise.all(asked.map((run) => run.result()));
    assert.equal((await filling.result()).failed, 0);
    assert.deepEqual([...new Set(results.map((result) => result.generation))], [1]);
    assert.deepEqual(await generations(settings), { 0: 1, 1: 1 });
    await close();
  });

  it("runs every slot of a schedule's backfill once, with its historical interval", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    const { client } = await connectRuns(settings);
    const { fingerprint, definition } = viewNamed(catalogue, "badges");
    const schedule = await client.schedule.create({
      scheduleId: idsOf(settings.queue).schedule("badges"),
      spec: { intervals: [{ every: "1 day", offset: "2 hours" }] },
      policies: { overlap: "ALLOW_ALL", catchupWindow: "1 minute" },
      action: {
        type: "startWorkflow",
        workflowType: "scheduled",
        workflowId: idsOf(settings.queue).scheduled("badges"),
        taskQueue: queuesOf(settings.queue).offline,
        args: [{ view: "badges", fingerprint, definition }],
      },
      state: { paused: true },
    });
    try {
      const range = {
        start: new Date(firstDayMs + msPerDay),
        end: new Date(firstDayMs + 5 * msPerDay),
        overlap: "ALLOW_ALL",
      } as const;
      const completed = async () => {
        let count = 0;
        const query = `WorkflowType = "scheduled" AND ExecutionStatus = "Completed"`;
        for await (const each of client.workflow.list({ query }))
          if (each.workflowId.startsWith(idsOf(settings.queue).scheduled("badges"))) count++;
        return count;
      };
      await schedule.backfill(range);
      await until("four slots have run", async () => (await completed()) === 4);
      assert.deepEqual(await generations(settings), { 0: 1, 1: 1, 2: 1, 3: 1 });
      await schedule.backfill(range);
      await until("they have run again", async () => (await completed()) === 8);
      assert.deepEqual(await generations(settings), { 0: 1, 1: 1, 2: 1, 3: 1 });
    } finally {
      await schedule.delete();
    }
  });

  it("refuses a backfill of a view that has no schedule", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    const run = await backfill(settings, { view: "absences" });
    await failsWith(run.result(), "INTERVAL_INVALID", /absences/, /schedule: \{ every/);
  });
});

/** What tells one deployment from another. */
function named({ prefix, queue, offlineDir }: Settings) {
  return { prefix, queue, offlineDir };
}
