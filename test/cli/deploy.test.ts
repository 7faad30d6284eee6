import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasPolled } from "../../cli/worker-versions.ts";
import { withRedis } from "../../cli/context.ts";
import { runCli } from "../../cli/program.ts";
import { toEnvironment } from "../../dev/application.ts";
import { buildCatalogue, type Catalogue, viewNamed } from "../../engine/catalogue.ts";
import {
  entity,
  featureService,
  featureView,
  float64,
  mean,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import type { Breaking } from "../../engine/registry.ts";
import { createLookup } from "../../serving/lookup.ts";
import { deploymentOf, type Settings } from "../../settings.ts";
import { idsOf, type ScheduledInput } from "../../workflows/contract.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { startOwnWorker } from "../support/temporal/own-worker.ts";
import { createTerminal } from "../support/run-cli.ts";
import { until } from "../support/until.ts";

/** Two builds of one view: the second stores `doubled` as well, and lost `tripled`. */
function buildOf(build: "a" | "b"): Catalogue {
  const orders = source("orders", {
    files: "orders/{date}.csv",
    entity: entity("thing", { key: "id" }),
    eventTime: "at",
    columns: { id: string, at: timestamp, x: float64 },
  });
  const { x } = orders.columns;
  const doubled = x.mul(2);
  const tripled = x.mul(3);
  const x_mean = mean(x);
  return buildCatalogue({
    orders: {
      orders,
      doubled,
      x_mean,
      ...(build === "a" ? { tripled } : {}),
      orders_view: featureView("orders", {
        source: orders,
        stores: build === "a" ? [x] : [x, doubled],
        schedule: { every: "1 day", start: "2026-01-01" },
      }),
      service: featureService("ranking", build === "a" ? [doubled, tripled] : [doubled, x_mean]),
    },
  });
}

interface PlanData {
  readonly refusals: readonly { code: string; first: string | null }[];
  readonly apply: string | null;
  readonly changes: readonly { kind: string; name: string; breaking?: readonly Breaking[] }[];
  readonly unfilled: readonly { view: string; intervals: number }[];
}

describe("A new build of the definitions", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let settings: Settings;
  const stops: (() => Promise<void>)[] = [];
  const catalogues = { a: buildOf("a"), b: buildOf("b") };

  before(async () => {
    deployment = await startDeployment();
    settings = deployment.withPrefix();
    settings = { ...settings, dataDir: join(settings.offlineDir, "data") };
    mkdirSync(join(settings.dataDir, "orders"), { recursive: true });
    for (const day of ["2026-01-01", "2026-01-02", "2026-01-03"])
      writeFileSync(
        join(settings.dataDir, "orders", `${day}.csv`),
        `id,at,x\none,${day}T10:00:00Z,1.5\n${day},${day}T11:00:00Z,2.5\n`,
      );
  });
  after(async () => {
    for (const stop of stops) await stop();
    await deployment.stop();
  });

  async function cli(build: "a" | "b", ...argv: string[]) {
    const { terminal, written } = createTerminal();
    const env = toEnvironment({ ...settings, build });
    const code = await runCli(argv, {
      terminal,
      env,
      loadCatalogue: () => Promise.resolve(catalogues[build]),
    });
    return { code, ...written };
  }

  async function startWorker(build: "a" | "b") {
    stops.push(await startOwnWorker({ ...settings, build }, catalogues[build]));
  }

  /** The status of a feature of an entity, as a service of that build sees it. */
  const served = (build: "a" | "b", id: string) =>
    withRedis(settings, "serving", async (redis) => {
      const lookup = createLookup({ catalogue: catalogues[build], redis, prefix: settings.prefix });
      try {
        const answer = await lookup.answer({ features: ["doubled"], entities: [{ id }] });
        return answer.results[0]?.statuses["doubled"];
      } finally {
        lookup.close();
      }
    });

  async function scheduledFingerprint() {
    const { action } = await deployment.runs.client.schedule
      .getHandle(idsOf(settings.queue).schedule("orders"))
      .describe();
    const [input] = action.args as [ScheduledInput];
    return input.fingerprint;
  }

  const fingerprintOf = (build: "a" | "b") => viewNamed(catalogues[build], "orders").fingerprint;

  it("is refused as long as no worker of it polls", async () => {
    const { code, err } = await cli("a", "apply");
    assert.equal(code, 1);
    assert.match(
      err,
      /^BUILD_UNKNOWN no worker of build "a" .*Start one with ONCEFLOW_BUILD=a first/,
    );
    const planned = await cli("a", "plan");
    assert.equal(planned.code, 2);
    assert.match(planned.out, /✗ apply would refuse: BUILD_UNKNOWN no worker of build "a"/);
    assert.match(
      planned.out,
      /changes\. Make them: ONCEFLOW_BUILD=a npm run worker\n {2}then: npm run --silent cli -- apply$/m,
    );
  });

  it("is all new at first, and nothing is left to do once it is applied", async () => {
    await startWorker("a");
    const { code, out } = await cli("a", "plan");
    assert.equal(code, 2);
    assert.match(
      out,
      /^\+ build a: new runs go to its workers\n\+ view orders\n\+ service ranking\n\+ schedule/,
    );
    const applied = await cli("a", "apply");
    assert.deepEqual([applied.code, applied.err], [0, ""]);
    assert.match((await cli("a", "plan")).out, /^Nothing to do/);
    const filled = await cli(
      "a",
      "backfill",
      "orders",
      "--from",
      "2026-01-01",
      "--to",
      "2026-01-04",
    );
    assert.equal(filled.code, 0, filled.err);
    assert.equal(await served("a", "one"), "PRESENT");
  });

  it("shows what it changes, what breaks for whom, and what is not filled", async () => {
    await startWorker("b");
    const { code, out } = await cli("b", "plan");
    assert.equal(code, 2);
    assert.match(out, /^~ build b: new runs go to its workers, no longer to a;/);
    assert.match(
      out,
      /~ view orders: storage fingerprint \w+ → \w+: its rows lie beside the old ones/,
    );
    assert.match(out, /breaking: tripled is gone; used by service ranking/);
    assert.match(out, /breaking: tripled is gone; used by callers of service ranking/);
    assert.match(
      out,
      /! view orders: 3 intervals in \[2026-01-01, 2026-01-04\) are committed under/,
    );
    const { changes, unfilled, refusals, apply } = JSON.parse(
      (await cli("b", "plan", "--json")).out,
    ) as PlanData;
    assert.deepEqual(
      changes.map(({ kind }) => kind),
      ["build", "view", "service", "schedule"],
    );
    assert.deepEqual(changes[1]?.breaking, [
      { what: "tripled is gone", consumers: ["service ranking"] },
    ]);
    assert.deepEqual(
      unfilled.map(({ view, intervals }) => [view, intervals]),
      [["orders", 3]],
    );
    assert.match(out, /✗ apply would refuse: BREAKING_CHANGE tripled is gone \(service ranking\)/);
    assert.deepEqual(
      refusals.map(({ code, first }) => [code, first]),
      [["BREAKING_CHANGE", null]],
    );
    assert.equal(apply, "npm run --silent cli -- apply --allow-breaking");
    assert.ok(out.endsWith(`Make them: ${apply}\n`), out);
  });

  it("is filled beside the old one, which goes on being served and scheduled", async () => {
    const filled = await cli("b", "apply", "--fill");
    assert.equal(filled.code, 0, filled.err);
    assert.match(filled.out, /Filled: the definitions of this build have all/);
    assert.equal(await served("a", "one"), "PRESENT");
    assert.equal(await served("b", "one"), "PRESENT");
    assert.equal(await scheduledFingerprint(), fingerprintOf("a"));
    assert.deepEqual((JSON.parse((await cli("b", "plan", "--json")).out) as PlanData).unfilled, []);
    assert.match((await cli("b", "apply", "--fill")).out, /^Nothing to fill/);
  });

  it("is outdated where the old one computes changed files again, and is filled once more", async () => {
    const file = join(settings.dataDir, "orders", "2026-01-02.csv");
    writeFileSync(file, "id,at,x\none,2026-01-02T10:00:00Z,7\n");
    const rerun = await cli("a", "rerun", "orders", "--start", "2026-01-02");
    assert.equal(rerun.code, 0, rerun.err);
    const { code, out } = await cli("b", "plan");
    assert.equal(code, 2);
    assert.match(
      out,
      /! view orders: 1 interval in \[2026-01-02, 2026-01-03\) is .*missing or older/,
    );
    assert.equal((await cli("b", "apply", "--fill")).code, 0);
    assert.deepEqual((JSON.parse((await cli("b", "plan", "--json")).out) as PlanData).unfilled, []);
    // The old one has read the same files, so it is not behind.
    assert.deepEqual((JSON.parse((await cli("a", "plan", "--json")).out) as PlanData).unfilled, []);
  });

  it("takes over with apply, and the old one stays for the roll-back", async () => {
    const refused = await cli("b", "apply");
    assert.equal(refused.code, 1);
    assert.match(
      refused.err,
      /^BREAKING_CHANGE tripled is gone \(service ranking\); .*--allow-breaking/,
    );
    assert.equal(await scheduledFingerprint(), fingerprintOf("a"));
    assert.equal((await cli("b", "apply", "--allow-breaking")).code, 0);
    assert.equal(await scheduledFingerprint(), fingerprintOf("b"));
    assert.equal((await cli("b", "plan")).code, 0);
    assert.equal(await served("a", "one"), "PRESENT");
    assert.equal((await cli("a", "apply", "--allow-breaking")).code, 0);
    assert.equal(await scheduledFingerprint(), fingerprintOf("a"));
    assert.equal((await cli("b", "apply", "--allow-breaking")).code, 0);
  });

  it("gives way where another is applied at the same time", async () => {
    const [a, b] = await Promise.all(
      (["a", "b"] as const).map((build) => cli(build, "apply", "--allow-breaking")),
    );
    for (const each of [a, b])
      if (each?.code !== 0) assert.match(each?.err ?? "", /^APPLY_CONFLICT /);
    assert.equal((await cli("b", "apply", "--allow-breaking")).code, 0);
    assert.ok(a?.code === 0 || b?.code === 0);
    assert.equal((await cli("b", "plan")).code, 0);
  });

  it("is left by apply from a build without a name", async () => {
    const { terminal, written } = createTerminal();
    const env = toEnvironment({ ...settings, build: undefined });
    const loadCatalogue = () => Promise.resolve(catalogues.b);
    assert.equal(await runCli(["plan"], { terminal, env, loadCatalogue }), 2);
    assert.match(written.out, /^- build b: new runs go to workers without an ONCEFLOW_BUILD/);
    assert.equal(await runCli(["apply"], { terminal, env, loadCatalogue }), 0, written.err);
    assert.equal(await runCli(["plan"], { terminal, env, loadCatalogue }), 0);
    assert.equal((await cli("b", "apply")).code, 0);
  });

  it("is alone once the old one is swept, which a dry sweep told", async () => {
    // The old worker reads the ledger now, and must not trust what it remembers after the sweep.
    const first = ["--start", "2026-01-01", "--end", "2026-01-02"];
    assert.match((await cli("a", "materialize", "orders", ...first)).out, /was committed before/);
    const before = await deployment.dump(settings.prefix);
    const young = await cli("b", "sweep");
    assert.match(young.out, /^Nothing to sweep\.\n\nleft alone, since a run ended within 7 days/);
    const all = ["sweep", "--older-than", "0"];
    const dry = await cli("b", ...all);
    assert.match(dry.out, new RegExp(`orders +${fingerprintOf("a").slice(0, 12)} +3 +2026-01-04`));
    assert.match(dry.out, /Nothing was removed/);
    assert.equal(await deployment.dump(settings.prefix), before);
    // From the old build nothing is to be removed: it is in use, and the new one was applied.
    assert.match((await cli("a", ...all)).out, /^Nothing to sweep/);

    assert.match((await cli("b", ...all, "--yes")).out, /Removed\.$/m);
    const after = await deployment.dump(settings.prefix);
    assert.ok(!after.includes(`entities:{orders/${fingerprintOf("a")}`));
    assert.ok(!after.includes(`coverage:${fingerprintOf("a")}`));
    const left = before.split("\n").filter((line) => line.includes(fingerprintOf("b")));
    for (const line of left) assert.ok(after.includes(line), line);
    assert.equal(await served("b", "one"), "PRESENT");
    assert.equal(await served("a", "one"), "NOT_FOUND");
    assert.match((await cli("b", ...all)).out, /^Nothing to sweep/);
  });

  it("is filled again after the sweep by a worker that remembers what was swept", async () => {
    const { unfilled } = JSON.parse((await cli("a", "plan", "--json")).out) as PlanData;
    assert.equal(unfilled[0]?.intervals, 3);
    const filled = await cli("a", "apply", "--fill");
    assert.equal(filled.code, 0, filled.out);
    assert.equal(await served("a", "one"), "PRESENT");
    const { generation } = JSON.parse(
      (
        await cli(
          "a",
          "materialize",
          "orders",
          "--start",
          "2026-01-01",
          "--end",
          "2026-01-02",
          "--json",
        )
      ).out,
    ) as { generation: number };
    assert.ok(generation > 1, "a generation was given out twice");
  });

  it("is refused where nothing was ever applied, since nobody can tell what is in use", async () => {
    const { terminal, written } = createTerminal();
    const env = toEnvironment({ ...settings, prefix: `${settings.prefix}-new`, build: "b" });
    const loadCatalogue = () => Promise.resolve(catalogues.b);
    assert.equal(await runCli(["sweep", "--yes"], { terminal, env, loadCatalogue }), 2);
    assert.match(written.err, /nothing was applied here yet/);
  });

  it("gets runs as soon as a worker of it has polled, though Temporal knows it later", async () => {
    // The first may be lucky.
    for (const build of ["c", "d", "e"]) {
      const own = { ...settings, build };
      stops.push(await startOwnWorker(own, catalogues.b));
      const { client } = deployment.runs;
      const name = deploymentOf(own);
      assert.ok(name !== undefined);
      await until("it has polled", () => hasPolled(client, settings.temporalNamespace, name));
      const { terminal, written } = createTerminal();
      const env = toEnvironment(own);
      const loadCatalogue = () => Promise.resolve(catalogues.b);
      const argv = ["rerun", "orders", "--start", "2026-01-01", "--no-wait"];
      assert.equal(await runCli(argv, { terminal, env, loadCatalogue }), 0, written.err);
    }
  });

  it("cannot be given runs before a worker of it polls, which the error says", async () => {
    const { terminal, written } = createTerminal();
    const env = toEnvironment({ ...settings, build: "nobody" });
    const loadCatalogue = () => Promise.resolve(catalogues.b);
    const argv = ["rerun", "orders", "--start", "2026-01-01", "--no-wait"];
    assert.equal(await runCli(argv, { terminal, env, loadCatalogue }), 1);
    assert.match(written.err, /^BUILD_UNKNOWN /);
  });
});
