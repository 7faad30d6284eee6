import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Run } from "../../cli/temporal.ts";
import { writeAbsences, writeBadges } from "../../dev/example-data.ts";
import { type Catalogue, loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import type { PublishPlan } from "../../filling/publish/plan.ts";
import { pointerRequest } from "../../store/ledger.ts";
import { createLookup } from "../../serving/lookup.ts";
import type { Settings } from "../../settings.ts";
import { createLedger } from "../../store/ledger.ts";
import type { Published } from "../../store/published.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import type { MaterializeResult } from "../../workflows/contract.ts";
import { connectRuns } from "../../cli/temporal.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { readPublishes } from "../support/temporal/publishes.ts";
import { failsWith } from "../support/fails-with.ts";
import { patient } from "../support/redis/server.ts";
import { until } from "../support/until.ts";

const firstDayMs = Date.parse("2026-01-01T00:00:00Z");
const msPerDay = 86_400_000;
const iso = (ms: number) => new Date(ms).toISOString();

describe("The materialize workflow", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let catalogue: Catalogue;

  before(async () => {
    deployment = await startDeployment();
    catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    writeAbsences(deployment.settings.dataDir, 300);
    // Enough employees that a publish takes a while, so that it can be killed in the middle.
    writeBadges(deployment.settings.dataDir, firstDayMs, 3, 15_000);
  });
  after(() => deployment.stop());

  async function start(
    settings: Settings,
    view: string,
    startMs: number,
    endMs: number,
    reprocess = false,
  ): Promise<Run<MaterializeResult>> {
    const runs = await connectRuns(settings);
    const { fingerprint, definition } = viewNamed(catalogue, view);
    const run = await runs.startMaterialize({
      view,
      start: iso(startMs),
      end: iso(endMs),
      fingerprint,
      definition,
      reprocess,
    });
    return { ...run, result: () => run.result().finally(() => runs.close()) };
  }

  /** Entities, coverage, states and pointers: everything but the counters of runs. */
  async function written(prefix: string): Promise<string[]> {
    const lines = (await deployment.dump(prefix)).split("\n");
    return lines.filter((line) => /^(entities|\S*coverage|\S*states|\S*snapshots)/.test(line));
  }

  /** What is published of the badges; null where nothing is. */
  async function published(settings: Settings): Promise<Published | null> {
    const redis = connectRedis(settings.redisUrl, "writing");
    const request = pointerRequest(viewNamed(catalogue, "badges"));
    const [pointers] = await createLedger(redis, settings).readPointers([request]);
    await redis.close();
    return pointers?.published ?? null;
  }

  /** The publish of all three days, once it has begun. */
  async function publishOfAll(settings: Settings): Promise<PublishPlan> {
    let begun: PublishPlan | undefined;
    await until("the publish has begun", async () => {
      begun = (await readPublishes(settings, viewNamed(catalogue, "badges"))).at(-1);
      return Object.keys(begun?.intervals ?? {}).length === 3;
    });
    assert.ok(begun);
    return begun;
  }

  it("writes a full refresh once, and does nothing when asked again", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    const endMs = firstDayMs;
    const first = await (await start(settings, "absences", 0, endMs)).result();
    assert.equal(first.outcome, "committed");
    assert.equal(first.rows, 300);
    assert.equal(first.published?.outcome, "published");
    assert.equal(first.published.end, iso(endMs));
    assert.equal(first.generation, 1);
    assert.ok(first.published.snapshot);

    const before = await deployment.dump(settings.prefix);
    const again = await (await start(settings, "absences", 0, endMs)).result();
    assert.deepEqual(
      { outcome: again.outcome, rows: again.rows, published: again.published?.outcome },
      { outcome: "covered", rows: 300, published: "current" },
    );
    assert.equal(await deployment.dump(settings.prefix), before);

    const redis = connectRedis(settings.redisUrl, "serving", patient);
    const lookup = createLookup({ catalogue, redis, prefix: settings.prefix });
    const known = readFileSync(join(settings.dataDir, "absences.csv"), "utf8").split("\n")[1];
    const id = known?.split(";")[0] ?? "";
    const answer = await lookup.answer({
      service: "model_x",
      entities: [{ id }, { id: "nobody" }],
    });
    assert.equal(answer.snapshot["absences"], first.published.snapshot);
    assert.equal(answer.results[0]?.statuses["has_pet"], "PRESENT");
    assert.equal(answer.results[1]?.statuses["has_pet"], "NOT_FOUND");
    const reason = await createLedger(redis, settings).readRuns("absences", 1);
    assert.equal(reason[0]?.outcome, "committed");
    lookup.close();
    await redis.close();
  });

  it("hides what a later full refresh no longer contains", async () => {
    const settings = deployment.withPrefix();
    const path = join(settings.dataDir, "gone.csv");
    const lines = readFileSync(join(settings.dataDir, "absences.csv"), "utf8").split("\n");
    const own = { ...settings, sources: { absences: path } };
    await deployment.startWorker(own);
    writeFileSync(path, lines.join("\n"));
    await (await start(own, "absences", 0, firstDayMs)).result();
    const id = lines[1]?.split(";")[0] ?? "";
    writeFileSync(path, lines.filter((line) => !line.startsWith(`${id};`)).join("\n"));
    await (await start(own, "absences", 0, firstDayMs + 1000)).result();

    const redis = connectRedis(settings.redisUrl, "serving", patient);
    const lookup = createLookup({ catalogue, redis, prefix: settings.prefix });
    const other = lines.find((line) => !line.startsWith(`${id};`) && /^\d/.test(line)) ?? "";
    const answer = await lookup.answer({
      features: ["has_pet"],
      entities: [{ id }, { id: other.split(";")[0] ?? "" }],
    });
    assert.deepEqual(
      answer.results.map((result) => result.statuses["has_pet"]),
      ["NOT_FOUND", "PRESENT"],
    );
    lookup.close();
    await redis.close();
  });

  it("ends in the same store for any order of intervals, each run twice, one worker killed", async () => {
    const orders = [
      { days: [0, 1, 2], kill: undefined },
      { days: [2, 0, 1], kill: undefined },
      { days: [0, 2, 1], kill: 2 },
    ];
    const dumps: string[] = [];
    for (const { days, kill } of orders) {
      const settings = deployment.withPrefix();
      let worker = await deployment.startWorker(settings);
      for (const [place, day] of [...days, ...days].entries()) {
        const startMs = firstDayMs + day * msPerDay;
        const run = await start(settings, "badges", startMs, startMs + msPerDay, true);
        if (place === kill) {
          const { generation } = await publishOfAll(settings);
          // It writes nothing more from here on, so that it is killed in the middle.
          await deployment.client.call("CLIENT", "PAUSE", 60_000, "WRITE");
          process.kill(-worker.pid, "SIGKILL");
          await worker.exited;
          await deployment.client.call("CLIENT", "UNPAUSE");
          const before = await published(settings);
          assert.ok((before?.generation ?? 0) < generation, "it was killed too late");
          assert.equal(before?.covered, false, "the day in between is not served yet");
          worker = await deployment.startWorker(settings);
        }
        const result = await run.result();
        assert.equal(result.outcome, "committed");
      }
      const { endMs, covered } = (await published(settings)) ?? {};
      assert.deepEqual([endMs, covered], [firstDayMs + 3 * msPerDay, true]);
      await worker.stop();
      dumps.push(await deployment.dump(settings.prefix));
    }
    assert.ok((dumps[0]?.length ?? 0) > 1000, "the store is empty");
    assert.equal(dumps[1], dumps[0]);
    assert.equal(dumps[2], dumps[0]);
  });

  it("refuses an interval that cuts a committed one, whose rows would count twice", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    await (await start(settings, "badges", firstDayMs, firstDayMs + msPerDay)).result();
    const before = await deployment.dump(settings.prefix);
    const run = await start(settings, "badges", firstDayMs, firstDayMs + 2 * msPerDay);
    await failsWith(run.result(), "INTERVAL_INVALID", /2026-01-01.*cuts/, /twice/);
    assert.equal(await deployment.dump(settings.prefix), before);
  });

  it("writes no row when an expectation fails, and says which feature, file and row", async () => {
    const settings = deployment.withPrefix();
    const path = join(settings.dataDir, "old.csv");
    const lines = readFileSync(join(settings.dataDir, "absences.csv"), "utf8").split("\n");
    const cells = lines[200]?.split(";") ?? [];
    cells[8] = "90";
    lines[200] = cells.join(";");
    writeFileSync(path, lines.join("\n"));
    const own = { ...settings, sources: { absences: path } };
    await deployment.startWorker(own);
    const run = await start(own, "absences", 0, firstDayMs);
    await failsWith(
      run.result(),
      "EXPECTATION_FAILED",
      /age_zero_mean_unit_variance/,
      /row 200 of .*old\.csv/,
    );
    assert.deepEqual(await written(settings.prefix), []);
    const redis = connectRedis(settings.redisUrl, "writing");
    const [logged] = await createLedger(redis, settings).readRuns("absences", 1);
    assert.equal(logged?.outcome, "failed");
    await redis.close();
  });

  it("writes no row when a value late in the file does not parse", async () => {
    const settings = deployment.withPrefix();
    const path = join(settings.dataDir, "late.csv");
    const lines = readFileSync(join(settings.dataDir, "absences.csv"), "utf8").split("\n");
    lines[290] = (lines[290] ?? "").replace(/;\d+$/, ";oops");
    writeFileSync(path, lines.join("\n"));
    const own = { ...settings, sources: { absences: path } };
    await deployment.startWorker(own);
    const run = await start(own, "absences", 0, firstDayMs);
    await failsWith(run.result(), "VALUE_UNPARSABLE", /absenteeism_time_in_hours/, /oops/, /290/);
    assert.deepEqual(await written(settings.prefix), []);
  });

  it("waits for a worker that was built with the fingerprint of the run", async () => {
    const settings = deployment.withPrefix();
    await deployment.startWorker(settings);
    const runs = await connectRuns(settings);
    const run = await runs.startMaterialize({
      view: "absences",
      start: iso(0),
      end: iso(firstDayMs),
      fingerprint: "0".repeat(32),
      definition: "0".repeat(32),
    });
    const handle = runs.client.workflow.getHandle(run.workflowId);
    await until("the first attempt has failed", async () => {
      const { raw } = await handle.describe();
      return /built with fingerprint/.test(raw.pendingActivities?.[0]?.lastFailure?.message ?? "");
    });
    await handle.terminate("the test has seen it");
    await runs.close();
  });
});
