/** What the CLI says of runs that no worker takes, and of workers that are silent. */
import assert from "node:assert/strict";
import { toEnvironment } from "../../dev/application.ts";
import { writeBadges } from "../../dev/example-data.ts";
import { runCli } from "../../cli/program.ts";
import { finished } from "../../cli/commands/backfill.ts";
import type { Workers } from "../../cli/workers.ts";
import { loadCatalogue } from "../../engine/catalogue.ts";
import type { RunLine } from "../../status/under-way.ts";
import type { PublishResult } from "../../workflows/contract.ts";
import { cli, cliJson, createTerminal } from "../support/run-cli.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { until } from "../support/until.ts";

interface Listed {
  readonly runs: readonly RunLine[];
  readonly has_more: boolean;
  readonly workers: Workers;
}

describe("runs and their workers", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    deployment = await startDeployment();
    env = toEnvironment(deployment.settings);
    writeBadges(deployment.settings.dataDir, Date.parse("2026-01-01"), 1, 400_000);
  });
  after(() => deployment.stop());

  const run = ["materialize", "badges", "--start", "2026-01-01", "--end", "2026-01-02"];
  const start = "Start one: npm run worker";

  it("say that no worker polls the queue: in runs, in status, and while one is waited for", async () => {
    const { queue } = deployment.settings;
    const nobody = `no worker polls the task queue "${queue}", so nothing runs. ${start}`;
    for (const argv of [["runs"], ["status"]]) {
      const { out } = await cli(argv, env);
      assert.ok(out.startsWith(`! ${nobody}\n`), out);
    }
    const { workers } = await cliJson<Listed>(["runs"], env);
    assert.deepEqual(workers, {
      task_queue: queue,
      build: null,
      polling: 0,
      last_poll_at: null,
    });
    const { out } = await cli(["runs"], { ...env, ONCEFLOW_BUILD: "next" });
    assert.match(
      out,
      /^! no worker of build "next" polls .*: ONCEFLOW_BUILD=next npm run worker$/m,
    );

    const { terminal, written, interrupt } = createTerminal();
    const code = runCli(run, {
      terminal,
      env,
      loadCatalogue: () => loadCatalogue(() => import("../../features/index.ts")),
    });
    await until("it says so", () => written.err.includes(nobody));
    interrupt();
    assert.equal(await code, 130);
  });

  it("say since when a step waits for a worker", async () => {
    await until("it has waited", async () => {
      const { out } = await cli(["runs"], env);
      return / running, no worker has taken it for \d+ s/.test(out);
    });
    const { runs } = await cliJson<Listed>(["runs"], env);
    assert.ok(Date.parse(runs[0]?.unclaimed_since ?? "") <= Date.now());
    assert.match(
      (await cli(["status", "badges"], env)).out,
      /under way: 1 run\n.*\n.*has taken it/,
    );
  });

  it("say that there are more runs than are listed", async () => {
    const [waiting] = (await cliJson<Listed>(["runs"], env)).runs;
    await cli(["cancel", waiting?.workflow_id ?? "", "--force"], env);
    await cli([...run, "--no-wait"], env);
    await until(
      "both are listed",
      async () => (await cliJson<Listed>(["runs"], env)).runs.length > 1,
    );
    const { out } = await cli(["runs", "--limit", "1"], env);
    assert.match(out, /\n\(the newest 1, and there are more: --limit shows them\)\n$/);
    const { runs, has_more } = await cliJson<Listed>(["runs", "--limit", "1"], env);
    assert.deepEqual([runs.length, has_more], [1, true]);
    assert.equal((await cliJson<Listed>(["runs"], env)).has_more, false);
  });

  const nothing: PublishResult = {
    view: "badges",
    outcome: "nothing",
    generation: null,
    end: null,
    covered: true,
    whole: false,
    written: 0,
    withdrawn: 0,
    snapshot: null,
    frozen: null,
    missing: { start: "2026-01-01T00:00:00.000Z", end: "2026-01-02T00:00:00.000Z" },
    durable: true,
    revision: 1,
  };

  it("say that what a backfill has committed is held back by an interval that is missing", () => {
    const counts = { total: 1, committed: 1, covered: 0, failed: 0, rows: 7 };
    const result = { view: "badges", ...counts, failures: [], maxParallel: 8, startedAtMs: 0 };
    const { text } = finished({ ...result, published: nothing }, { workflowId: "id" }, 1);
    assert.match(
      text(),
      /\n {2}published +nothing\n.*\n {2}missing +\[2026-01-01, 2026-01-02\); what is committed after it waits for it\n/,
    );
  });

  it("say how many failures of a backfill are not listed, and what lists them", () => {
    const failures = Array.from({ length: 20 }, (_, i) => ({ interval: `${i}`, reason: "why" }));
    const counts = { total: 24, committed: 0, covered: 0, failed: 24, rows: 0 };
    const result = { view: "badges", ...counts, failures, maxParallel: 8, startedAtMs: 0 };
    const { text } = finished({ ...result, published: nothing }, { workflowId: "id" }, 1);
    assert.match(text(), /✗ 19: why\n {2}and 4 more: npm run --silent cli -- partitions badges\n/);
  });
});
