import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCli } from "../../cli/program.ts";
import { startProgram, toEnvironment } from "../../dev/application.ts";
import { writeAbsences, writeBadges } from "../../dev/example-data.ts";
import type { OwnedProcess } from "../../dev/processes.ts";
import { loadCatalogue } from "../../engine/catalogue.ts";
import type { FeatureAnswer } from "../../serving/answer.ts";
import type { Settings } from "../../settings.ts";
import type { PublishResult } from "../../workflows/contract.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { cli, cliJson, createTerminal } from "../support/run-cli.ts";
import { until } from "../support/until.ts";
import { withoutAges } from "../support/http/without-ages.ts";

interface Ran {
  readonly outcome: string;
  readonly rows: number;
  readonly published: PublishResult | null;
  readonly workflow_id: string;
  readonly path: string;
}

describe("runs by the CLI", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    deployment = await startDeployment();
    env = toEnvironment(deployment.settings);
    writeAbsences(deployment.settings.dataDir, 300);
    writeBadges(deployment.settings.dataDir, Date.parse("2026-01-01T00:00:00Z"), 2);
    await deployment.startWorker();
  });
  after(() => deployment.stop());

  /** A command line that waits, and Ctrl-C for it. */
  function startCli(settings: Settings, argv: readonly string[]) {
    const { terminal, written, interrupt } = createTerminal();
    const code = runCli(argv, {
      terminal,
      env: toEnvironment(settings),
      loadCatalogue: () => loadCatalogue(() => import("../../features/index.ts")),
    });
    return { code, written, interrupt };
  }

  it("materializes a full refresh, and says in words what it did", async () => {
    const { code, out, err } = await cli(["materialize", "absences", "--end", "2026-02-01"], env);
    assert.equal(code, 0, err);
    assert.match(err, /✓ materialize absences \[1970-01-01, 2026-02-01\)/);
    assert.match(
      out,
      /^committed absences \[1970-01-01, 2026-02-01\)\n {2}rows +300\n {2}published +up to 2026-02-01, as publish 1\n {2}entities +\d+ written, all anew\n/,
    );
    assert.match(out, /snapshot +[0-9a-f]+\n/);
    assert.match(out, /rows\/s +\d+\n/);
    const again = await cli(["materialize", "absences", "--end", "2026-02-01"], env);
    assert.match(
      again.out,
      /was committed before, as generation 1: nothing to do\. Add --reprocess/,
    );
    assert.match(again.out, /\n {2}published +up to 2026-02-01, as publish 1, already\n/);
    assert.equal((await cli(["status", "absences"], env)).code, 0);
  });

  it("materializes intervals, with one JSON document and no progress", async () => {
    const argv = "materialize badges --start 2026-01-01 --end 2026-01-02 --json".split(" ");
    const { code, out, err } = await cli(argv, env);
    assert.equal(code, 0, err);
    assert.equal(err, "");
    const ran = JSON.parse(out) as Ran;
    assert.equal(ran.outcome, "committed");
    assert.deepEqual(
      [ran.published?.outcome, ran.published?.end, ran.published?.whole],
      ["published", "2026-01-02T00:00:00.000Z", true],
    );
    assert.match(ran.workflow_id, /\/materialize\/badges\/2026-01-01T00:00:00\.000Z\//);
    assert.equal((await cliJson<Ran>(argv.slice(0, -1), env)).outcome, "covered");
    const redone = await cliJson<Ran>([...argv.slice(0, -1), "--reprocess"], env);
    assert.equal(redone.outcome, "committed");
    assert.deepEqual([redone.published?.outcome, redone.published?.generation], ["published", 2]);
  });

  it("returns once the run has started with --no-wait", async () => {
    const argv = "materialize badges --start 2026-01-02 --end 2026-01-03".split(" ");
    const { code, out } = await cli([...argv, "--no-wait"], env);
    assert.equal(code, 0);
    assert.match(
      out,
      /^started badges \[2026-01-02, 2026-01-03\)\n {2}workflow .*\n {2}follow it /,
    );
    const joined = await cliJson<Ran>(argv, env);
    assert.ok(["committed", "covered"].includes(joined.outcome));
  });

  it("writes a training set and says where it is", async () => {
    const { code, out, err } = await cli(["training-set", "absenteeism_training"], env);
    assert.equal(code, 0, err);
    const path = /path +(\S+)\n/.exec(out)?.[1] ?? "";
    assert.match(readFileSync(join(path, "manifest.json"), "utf8"), /absenteeism_training/);
    const unknown = await cli(["training-set", "absenteeism_training", "--snapshot", "0"], env);
    assert.equal(unknown.code, 1);
    assert.match(unknown.err, /\nUNKNOWN_SNAPSHOT |^UNKNOWN_SNAPSHOT /);
  });

  it("gives the worker's error by its code, and shows it in the status", async () => {
    const settings = deployment.withPrefix();
    const folder = join(settings.offlineDir, "data");
    const worker = await deployment.startWorker({ ...settings, dataDir: folder });
    try {
      writeAbsences(folder, 5);
      const file = join(folder, "absences.csv");
      writeFileSync(file, "id;oops\n1;2\n");
      const own = toEnvironment(settings);
      const { code, out, err } = await cli(["materialize", "absences", "--json"], own);
      assert.equal(code, 1, out);
      assert.match(err, /^SCHEMA_MISMATCH .*\n$/);
      assert.match(out, /^\{"error":\{"code":"SCHEMA_MISMATCH"/);
      const status = await cli(["status", "absences"], own);
      assert.equal(status.code, 3);
      assert.match(status.out, /the last run of .* failed: /);
    } finally {
      await worker.stop();
    }
  });

  it("shows why a run is tried again while it waits", async () => {
    const settings = deployment.withPrefix();
    const folder = join(settings.offlineDir, "data");
    const worker = await deployment.startWorker({ ...settings, dataDir: folder });
    try {
      const waiting = startCli(settings, ["materialize", "absences"]);
      await until("the reason shows", () =>
        /attempt \d+, after SOURCE_MISSING /.test(waiting.written.err),
      );
      writeAbsences(folder, 300);
      assert.equal(await waiting.code, 0, waiting.written.err);
    } finally {
      await worker.stop();
    }
  });

  it("leaves the run going on Ctrl-C, joins it again, and cancels it", async () => {
    // No worker polls this queue, so the run waits.
    const settings = deployment.withPrefix();
    const own = toEnvironment(settings);
    const argv = ["materialize", "absences", "--end", "2026-02-01"];
    const waiting = startCli(settings, argv);
    await until("the wait began", () => waiting.written.err.includes("… materialize absences"));
    await until("a hint shows", () =>
      waiting.written.err.includes("no worker polls the task queue"),
    );
    waiting.interrupt();
    assert.equal(await waiting.code, 130);
    const { err, out } = waiting.written;
    assert.match(err, /✓ materialize absences \[.*\): the run goes on/);
    assert.match(out, /follow it +npm .* materialize absences --end 2026-02-01\n/);
    const id = /cancel it +.* cancel (\S+)\n/.exec(out)?.[1] ?? "";
    const joined = await cliJson<Ran>([...argv, "--no-wait"], own);
    assert.equal(joined.workflow_id, id);

    const cancelled = await cli(["cancel", id], own);
    assert.equal(cancelled.out, `asked ${id} to end\n`);
    const unknown = await cli(["cancel", "nothing"], own);
    assert.equal(unknown.code, 1);
    assert.match(unknown.err, /^REQUEST_INVALID no run that is under way has the id "nothing"/);
    // It ends once a worker hears of it.
    const waitAgain = cli(argv, own);
    const worker = await deployment.startWorker(settings);
    try {
      const ended = await waitAgain;
      assert.equal(ended.code, 1);
      assert.match(ended.err, /\nRUN_FAILED .*cancell?ed/);
    } finally {
      await worker.stop();
    }
  });

  it("gets features by way of the online activity", async () => {
    const { settings } = deployment;
    const log = /worker polls/;
    const worker: OwnedProcess = await startProgram(
      "online worker",
      ["worker.ts", "--queue", "online"],
      settings,
      settings.offlineDir,
      log,
    );
    try {
      const argv = ["get", "--service", "model_x", "--entity", "id=11"];
      const byStore = await cliJson<FeatureAnswer>(argv, env);
      const byTemporal = await cliJson<FeatureAnswer>([...argv, "--via", "temporal"], env);
      assert.deepEqual(withoutAges(byTemporal), withoutAges(byStore));
      const wrong = await cli(["get", "--service", "model_y", "--via", "temporal"], env);
      assert.equal(wrong.code, 1);
      assert.match(wrong.err, /^UNKNOWN_SERVICE /);
    } finally {
      await worker.stop();
    }
  });
});
