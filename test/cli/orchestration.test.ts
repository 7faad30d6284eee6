import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { toEnvironment } from "../../dev/application.ts";
import { writeBadges } from "../../dev/example-data.ts";
import { runCli } from "../../cli/program.ts";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { featureView } from "../../engine/index.ts";
import { invocation } from "../../engine/invocation.ts";
import * as badges from "../../features/badges.ts";
import type { FeatureAnswer } from "../../serving/answer.ts";
import { type BackfillInput, idsOf } from "../../workflows/contract.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { cli, cliJson, createTerminal } from "../support/run-cli.ts";
import { until } from "../support/until.ts";

/** What is served of some employees, and the values of aggregates. */
async function served(env: NodeJS.ProcessEnv) {
  const ids = Array.from({ length: 40 }, (_, i) => ["--entity", `id=${i}`]);
  const features = "minutes_inside_mean,badge_events,left_late,badges.minutes_inside";
  const argv = ["get", "--features", features, ...ids.flat()];
  const { results, as_of } = await cliJson<FeatureAnswer>(argv, env);
  return { as_of, rows: results.map(({ features, event_times }) => ({ features, event_times })) };
}

interface Grid {
  readonly counts: Readonly<Record<string, number>>;
  readonly gaps: readonly unknown[];
}

describe("The CLI over schedules", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    deployment = await startDeployment();
    env = toEnvironment(deployment.settings);
    writeBadges(deployment.settings.dataDir, Date.parse("2026-01-01"), 5, 30);
    await deployment.startWorker();
  });
  after(() => deployment.stop());

  const range = ["--from", "2026-01-01", "--to", "2026-01-06"];

  it("shows what is to be done, does it once, also for many at once, and keeps a pause", async () => {
    const before = await cli(["plan"], env);
    assert.equal(before.code, 2);
    assert.match(before.out, /^\+ schedule \S+\/badges/m);
    const applied = await Promise.all(Array.from({ length: 20 }, () => cli(["apply"], env)));
    assert.deepEqual([...new Set(applied.map(({ code }) => code))], [0], applied[0]?.err ?? "");
    const after = await cli(["plan"], env);
    assert.deepEqual([after.code, after.err], [0, ""]);

    const made = await deployment.runs.client.schedule
      .getHandle(idsOf(deployment.settings.queue).schedule("badges"))
      .describe();
    assert.match(made.state.note ?? "", /a range of firings, not of intervals/);

    const why = ["--reason", "the source is moved"];
    assert.equal((await cli(["pause", "badges", ...why], env)).code, 0);
    const handle = deployment.runs.client.schedule.getHandle(
      idsOf(deployment.settings.queue).schedule("badges"),
    );
    await handle.update((held) => ({
      ...held,
      action: { ...held.action, args: [{ view: "badges" }] },
    }));
    const drifted = await cli(["plan"], env);
    assert.match(drifted.out, /^~ schedule \S+\/badges.*options changed.*storage fingerprint/m);
    assert.equal((await cli(["apply"], env)).code, 0);
    assert.equal((await cli(["plan"], env)).code, 0);
    const { state, policies } = await handle.describe();
    assert.equal(state.paused, true);
    assert.equal(state.note, "the source is moved");
    assert.equal(policies.overlap, "ALLOW_ALL");
  });

  it("starts one backfill, of its own definitions, for a new schedule that is to catch up", async () => {
    const settings = deployment.withPrefix();
    const own = toEnvironment(settings);
    const catalogue = buildCatalogue({
      badges: {
        ...badges,
        badges_view: featureView("badges", {
          source: badges.badges,
          stores: badges.badges_view.stores as Parameters<typeof featureView>[1]["stores"],
          schedule: { every: "1 day", start: "2026-01-01", catchup: true },
        }),
      },
    });
    const view = viewNamed(catalogue, "badges");
    const apply = async () => {
      const { terminal, written } = createTerminal();
      const loadCatalogue = () => Promise.resolve(catalogue);
      await runCli(["apply", "--json"], { terminal, env: own, loadCatalogue });
      return (JSON.parse(written.out) as { backfills: string[] }).backfills;
    };
    const ids = (await Promise.all([apply(), apply(), apply()])).flat();
    assert.equal(new Set(ids).size, 1);
    const handle = deployment.runs.client.workflow.getHandle(ids[0] ?? "");
    const { events } = await handle.fetchHistory();
    const started =
      events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    const input = JSON.parse(Buffer.from(started ?? []).toString()) as BackfillInput;
    assert.equal(input.fingerprint, view.fingerprint);
    assert.equal(input.definition, view.definition);
    assert.deepEqual(await apply(), []);
    await handle.terminate("the test has seen it");
    await deployment.runs.client.schedule
      .getHandle(idsOf(settings.queue).schedule("badges"))
      .delete();
  });

  it("deletes the schedule of a view that is gone", async () => {
    const { client } = deployment.runs;
    const gone = idsOf(deployment.settings.queue).schedule("gone");
    await client.schedule.create({
      scheduleId: gone,
      spec: { intervals: [{ every: "1 day" }] },
      state: { paused: true },
      action: { type: "startWorkflow", workflowType: "scheduled", taskQueue: "none", args: [] },
    });
    await until("the list shows it", async () =>
      (await cli(["plan"], env)).out.includes("the view is gone"),
    );
    await cli(["apply"], env);
    await assert.rejects(client.schedule.getHandle(gone).describe());
  });

  it("fills a range, which the dry run told and the grid shows", async () => {
    const dry = await cli(["backfill", "badges", ...range, "--dry-run"], env);
    assert.match(dry.out, /\[2026-01-01, 2026-01-02\) +missing +yes +never committed/);
    assert.match(dry.out, /5 of 5 complete intervals would be run\. Nothing was started\./);

    const filled = await cli(["backfill", "badges", ...range, "--json"], env);
    assert.equal(filled.code, 0, filled.err);
    assert.equal((JSON.parse(filled.out) as { committed: number }).committed, 5);
    assert.match(filled.err, /^\{"event":"progress"/);
    const again = await cli(["backfill", "badges", ...range], env);
    assert.match(again.out, /nothing is due/);

    const grid = await cliJson<Grid>(["partitions", "badges", "--to", "2026-01-06"], env);
    assert.deepEqual(grid.counts, {
      done: 5,
      running: 0,
      stale: 0,
      missing: 0,
      failed: 0,
      cancelled: 0,
      blocked: 0,
    });
    const wider = await cli(["partitions", "badges", "--to", "2026-01-08"], env);
    assert.equal(wider.code, 3);
    assert.match(wider.out, /█████··/);
    assert.match(wider.out, /fix: .* backfill badges --from 2026-01-06 --to 2026-01-08/);

    const rerun = await cliJson<{ generation: number }>(
      ["rerun", "badges", "--start", "2026-01-05"],
      env,
    );
    assert.equal(rerun.generation, 2);
    const off = await cli(["rerun", "badges", "--start", "2026-01-05T01:00Z"], env);
    assert.match(off.err, /^INTERVAL_INVALID no complete interval of view "badges" begins at/);
    const there = await cli(["wait", "badges", "--as-of", "2026-01-06T05:00Z"], env);
    assert.equal(there.code, 0);
    assert.match(
      there.out,
      /badges \[2026-01-05, 2026-01-06\) is committed, with \d+ rows, and served\n/,
    );
    const late = await cli(["wait", "badges", "--as-of", "2026-01-08", "--timeout", "1 s"], env);
    assert.equal(late.code, 3);
    assert.match(late.out, /\[2026-01-07, 2026-01-08\) is not committed yet/);

    const runs = await cli(["runs", "badges", "--kind", "materialize"], env);
    assert.equal(runs.out.split("\n").filter((line) => line.includes("completed")).length, 6);
  });

  it("puts back a Redis that was emptied by what the status prints, with the files of the source gone", async () => {
    const empty = deployment.withPrefix();
    await cp(deployment.settings.offlineDir, empty.offlineDir, { recursive: true });
    const settings = { ...empty, dataDir: join(empty.offlineDir, "no-data") };
    const own = toEnvironment(settings);
    type Status = { views: { problems: { fix: string }[] }[] };
    const fixes = async () =>
      (await cliJson<Status>(["status", "badges"], own)).views[0]?.problems.map(({ fix }) => fix);
    const [fix = "", ...others] = (await fixes()) ?? [];
    assert.deepEqual(others, []);
    assert.match(fix, / publish badges$/);
    const worker = await deployment.startWorker(settings);
    try {
      const filled = await cli(fix.slice(`${invocation} `.length).split(" "), own);
      assert.equal(filled.code, 0, filled.err);
      assert.deepEqual(await fixes(), []);
      assert.deepEqual(await served(own), await served(env));
    } finally {
      await worker.stop();
    }
  });

  it("shows what is under way, and why it is tried again", async () => {
    const run = ["--start", "2026-01-06", "--end", "2026-01-07"];
    const { workflow_id: id } = await cliJson<{ workflow_id: string }>(
      ["materialize", "badges", ...run, "--no-wait"],
      env,
    );
    const tried = async () => (await cli(["status", "badges"], env)).out;
    await until("it is tried again", async () => (await tried()).includes("SOURCE_MISSING"));
    assert.match(
      await tried(),
      /under way: 1 run\n.*\n +2026-01-06.*attempt \d+, after SOURCE_MISSING/,
    );
    const shown = async () => (await cli(["partitions", "badges", "--to", "2026-01-07"], env)).out;
    assert.match(await shown(), /5 done, 1 running/);
    assert.equal((await cli(["cancel", id], env)).code, 0);
    await until("it is over", async () => /5 done, 1 cancelled/.test(await shown()));
    assert.doesNotMatch(await tried(), /under way/);
  });

  it("says what a view without a schedule lacks", async () => {
    for (const argv of [
      ["partitions", "absences"],
      ["backfill", "absences", ...range],
    ]) {
      const { code, err } = await cli(argv, env);
      assert.equal(code, 1);
      assert.match(err, /^INTERVAL_INVALID view "absences" has no schedule.*schedule: \{ every/);
    }
    assert.match((await cli(["trigger", "absences"], env)).err, /Declare one beside view/);
  });
});
