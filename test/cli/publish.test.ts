/** `publish`, and `apply --fill` over what an older release has committed. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCli } from "../../cli/program.ts";
import { toEnvironment } from "../../dev/application.ts";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import {
  count,
  entity,
  featureView,
  float64,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import { createLookup } from "../../serving/lookup.ts";
import { withRedis } from "../../cli/context.ts";
import { createKeys } from "../../store/keys.ts";
import type { Settings } from "../../settings.ts";
import type { ViewStatus } from "../../status/view-status.ts";
import type { PublishResult } from "../../workflows/contract.ts";
import { scanKeys } from "../support/redis/server.ts";
import { createTerminal } from "../support/run-cli.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { startOwnWorker } from "../support/temporal/own-worker.ts";

const orders = source("orders", {
  files: "orders/{date}.csv",
  entity: entity("thing", { key: "id" }),
  eventTime: "at",
  columns: { id: string, at: timestamp, x: float64 },
});
const catalogue = buildCatalogue({
  orders: {
    orders,
    orders_count: count(orders.columns.x),
    orders_view: featureView("orders", {
      source: orders,
      stores: [orders.columns.x],
      schedule: { every: "1 day", start: "2026-01-01" },
    }),
  },
});
const view = viewNamed(catalogue, "orders");

describe("publish", function () {
  this.timeout(120_000);
  let deployment: Deployment;
  let settings: Settings;
  let stopWorker: () => Promise<void>;
  before(async () => {
    deployment = await startDeployment();
    const own = deployment.withPrefix();
    settings = { ...own, dataDir: join(own.offlineDir, "data") };
    mkdirSync(join(settings.dataDir, "orders"), { recursive: true });
    stopWorker = await startOwnWorker(settings, catalogue);
  });
  after(async () => {
    await stopWorker();
    await deployment.stop();
  });

  async function cli(...argv: string[]) {
    const { terminal, written } = createTerminal();
    const env = toEnvironment(settings);
    const loadCatalogue = () => Promise.resolve(catalogue);
    const code = await runCli(argv, { terminal, env, loadCatalogue });
    return { code, ...written };
  }
  async function publish(...options: string[]) {
    const { code, out, err } = await cli("publish", "orders", ...options, "--json");
    assert.equal(code, 0, `${out}${err}`);
    const { outcome, generation, end, whole, frozen } = JSON.parse(out) as PublishResult;
    return { outcome, generation, end: end?.slice(0, 10) ?? null, whole, frozen };
  }
  async function materialize(day: number, x: string) {
    const [start, end] = [day, day + 1].map((each) => `2026-01-0${each}`);
    const rows = `both,${start}T10:00:00Z,${x}\nof-${day},${start}T11:00:00Z,${x}\n`;
    writeFileSync(join(settings.dataDir, "orders", `${start}.csv`), `id,at,x\n${rows}`);
    const range = ["--start", start ?? "", "--end", end ?? ""];
    const { code, out, err } = await cli("materialize", "orders", ...range, "--reprocess");
    assert.equal(code, 0, err);
    return out;
  }
  /** The values of `both` and of each day's own entity, and how many rows are counted. */
  const served = () =>
    withRedis(settings, "serving", async (redis) => {
      const lookup = createLookup({ catalogue, redis, prefix: settings.prefix });
      try {
        const { results, as_of } = await lookup.answer({
          features: ["orders.x", "orders_count"],
          entities: ["both", "of-1", "of-2", "of-3"].map((id) => ({ id })),
        });
        const values = results.map(({ features }) => features["orders.x"]);
        const counted = results[0]?.features["orders_count"];
        return { as_of: as_of["orders"]?.slice(0, 10), values, counted };
      } finally {
        lookup.close();
      }
    });
  async function problems() {
    const { out } = await cli("status", "orders", "--json");
    const { views } = JSON.parse(out) as { views: ViewStatus[] };
    return views[0]?.problems.map(({ problem }) => problem);
  }

  it("refuses options that contradict each other, and numbers of publishes that are none", async () => {
    for (const [argv, message] of [
      ["publish", /^REQUEST_INVALID missing required argument 'view'/],
      ["publish order", /^UNKNOWN_VIEW .*Did you mean "orders"/],
      ["publish orders --resume --back 1", /^REQUEST_INVALID --resume ends a freeze; --back and/],
      ["publish orders --resume --freeze why", /^REQUEST_INVALID --resume ends a freeze/],
      ["publish orders --back 0", /^REQUEST_INVALID --back is "0"; it is the number of a publish/],
      ["publish orders --back last", /^REQUEST_INVALID --back is "last"/],
      ["publish orders --freeze", /^REQUEST_INVALID option '--freeze <reason>' argument missing/],
    ] as const) {
      const { code, err } = await cli(...argv.split(" "));
      assert.equal(code, err.startsWith("UNKNOWN_VIEW") ? 1 : 2, err);
      assert.match(err, message);
    }
  });

  it("does nothing where nothing is committed, or all of it is published", async () => {
    const { out } = await cli("publish", "orders");
    assert.match(out, /^nothing of orders can be published yet\n/);
    await materialize(1, "1");
    await materialize(2, "2");
    assert.deepEqual(await served(), {
      as_of: "2026-01-03",
      values: [2, 1, 2, null],
      counted: 4,
    });
    assert.deepEqual(await publish(), {
      outcome: "current",
      generation: 2,
      end: "2026-01-03",
      whole: false,
      frozen: null,
    });
  });

  it("writes all anew with --whole", async () => {
    const before = await served();
    const { outcome, generation, whole } = await publish("--whole");
    assert.deepEqual([outcome, generation, whole], ["published", 3, true]);
    assert.deepEqual(await served(), before);
  });

  it("goes back to an earlier publish, rows and aggregates together, and stays there until --resume", async () => {
    // A replaced interval of fewer rows: what it held is withdrawn, and comes back.
    writeFileSync(join(settings.dataDir, "orders", "2026-01-02.csv"), "id,at,x\n");
    const rerun = await cli("rerun", "orders", "--start", "2026-01-02");
    assert.equal(rerun.code, 0, rerun.err);
    const withdrawn = { as_of: "2026-01-03", values: [1, 1, null, null], counted: 2 };
    assert.deepEqual(await served(), withdrawn);

    const back = await publish("--back", "3");
    assert.deepEqual(back, {
      outcome: "published",
      generation: 5,
      end: "2026-01-03",
      whole: back.whole,
      frozen: "went back to publish 3",
    });
    const earlier = { as_of: "2026-01-03", values: [2, 1, 2, null], counted: 4 };
    assert.deepEqual(await served(), earlier);
    assert.deepEqual(await problems(), [
      "what is served is frozen at 2026-01-03 (went back to publish 3): no run moves it",
    ]);
    assert.match(await materialize(3, "3"), /\n {2}frozen +went back to publish 3\n/);
    assert.deepEqual(await served(), earlier);

    const resumed = await publish("--resume");
    assert.deepEqual(
      [resumed.outcome, resumed.end, resumed.frozen],
      ["published", "2026-01-04", null],
    );
    assert.deepEqual(await served(), { as_of: "2026-01-04", values: [3, 1, null, 3], counted: 4 });
    assert.deepEqual(await problems(), []);
  });

  it("keeps what is served with --freeze, and says why", async () => {
    const before = await served();
    const frozen = await publish("--freeze", "wrong prices on 3 May");
    assert.deepEqual([frozen.end, frozen.frozen], ["2026-01-04", "wrong prices on 3 May"]);
    await materialize(2, "7");
    await materialize(4, "4");
    assert.deepEqual(await served(), before);
    assert.deepEqual(await problems(), [
      "what is served is frozen at 2026-01-04 (wrong prices on 3 May): no run moves it",
    ]);
    const wait = await cli("wait", "orders", "--as-of", "2026-01-05");
    assert.equal(wait.code, 3);
    assert.match(wait.out, /is committed, with 2 rows, and not served, since the view is frozen: /);
    await publish("--resume");
    assert.deepEqual((await served()).values, [4, 1, 7, 3]);
    assert.equal((await cli("wait", "orders", "--as-of", "2026-01-05")).code, 0);
  });

  it("waits for an interval that is missing, and says so", async () => {
    await materialize(6, "6");
    const wait = await cli("wait", "orders", "--as-of", "2026-01-07");
    assert.equal(wait.code, 3);
    assert.match(wait.out, /, with 2 rows, and not served, since an interval before it is missing/);
    assert.match(
      await materialize(6, "6"),
      /\n {2}missing +\[2026-01-05, 2026-01-06\); what is committed after it waits for it\n/,
    );
    await materialize(5, "5");
    assert.deepEqual((await served()).values, [6, 1, 7, 3]);
  });

  it("names the publishes that there are, where the one to go back to is none", async () => {
    const { code, err } = await cli("publish", "orders", "--back", "99");
    assert.equal(code, 1);
    assert.match(
      err,
      /REQUEST_INVALID view "orders" has no publish 99 that ended; the newest are 1, 2/,
    );
  });

  it("puts what an older release has committed into the new layout by apply --fill", async () => {
    const before = await served();
    await toOlderRelease(deployment, settings);
    const plan = await cli("plan");
    assert.match(
      plan.out,
      /^! view orders: what is committed is not published yet: .* apply --fill$/m,
    );
    assert.deepEqual((await served()).values, [null, null, null, null]);
    const { code, out } = await cli("apply", "--fill");
    assert.equal(code, 0, out);
    assert.match(out, /Filled: the definitions of this build have all/);
    assert.deepEqual(await served(), before);
    assert.deepEqual(await problems(), []);
    assert.match((await cli("apply", "--fill")).out, /^Nothing to fill/);
  });
});

/**
 * Makes of a store what an older release leaves: rows under other keys, pointers of other names, a
 * ledger that is the same, and offline rows whose manifests know less. The files of the source are gone.
 */
async function toOlderRelease(
  { client }: Deployment,
  { prefix, offlineDir, dataDir }: Settings,
): Promise<void> {
  const keys = createKeys(prefix);
  const { fingerprint } = view;
  const pointers = keys.pointers("orders");
  for (const key of await scanKeys(client, prefix))
    if (key.includes(":entities:")) await client.rename(key, key.replace(":entities:", ":rows:"));
  const record = (await client.hget(pointers, `table:${fingerprint}`)) ?? "";
  await client.hdel(
    pointers,
    ...["table", "published", "publishing"].map((each) => `${each}:${fingerprint}`),
  );
  await client.hset(pointers, `namespace:${fingerprint}`, record);
  await client.hset(pointers, `head:${fingerprint}`, Buffer.alloc(12, 1));
  const folder = join(offlineDir, "views/orders");
  await rm(join(folder, "revisions"), { recursive: true });
  await rm(join(folder, `fingerprint=${fingerprint}/publishes`), { recursive: true });
  for (const name of await readdir(folder, { recursive: true })) {
    if (!name.endsWith("/_manifest.json")) continue;
    const manifest = JSON.parse(await readFile(join(folder, name), "utf8")) as object;
    const since = ["coverage", "parts", "states"];
    const known = Object.entries(manifest).filter(([member]) => !since.includes(member));
    await writeFile(join(folder, name), JSON.stringify(Object.fromEntries(known)));
  }
  await rm(dataDir, { recursive: true });
}
