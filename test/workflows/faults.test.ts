import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { withRedis } from "../../cli/context.ts";
import { connectRuns } from "../../cli/temporal.ts";
import { writeBadges } from "../../dev/example-data.ts";
import { silentProgress } from "../../cli/progress.ts";
import { startTemporal } from "../../dev/temporal.ts";
import { loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import type { Settings } from "../../settings.ts";
import { createLedger } from "../../store/ledger.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { dumpStore } from "../support/redis/dump-store.ts";
import { type RedisServer, startRedis } from "../support/redis/server.ts";
import { until } from "../support/until.ts";

const msPerDay = 86_400_000;
const firstDayMs = Date.parse("2026-01-01T00:00:00Z");
const days = 12;
const durable = ["--appendonly", "yes", "--appendfsync", "always"];

describe("A backfill in the middle of which something dies", function () {
  this.timeout(180_000);
  let deployment: Deployment;
  let fingerprint: string;
  /** The store after a backfill in which nothing died. */
  let reference: string;

  before(async () => {
    deployment = await startDeployment();
    const catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    ({ fingerprint } = viewNamed(catalogue, "badges"));
    writeBadges(deployment.settings.dataDir, firstDayMs, days, 2000);
    const settings = deployment.withPrefix();
    const worker = await deployment.startWorker(settings);
    await backfilled(settings, () => Promise.resolve());
    await worker.stop();
    reference = await deployment.dump(settings.prefix);
  });
  after(() => deployment.stop());

  /** Starts the backfill, lets something die once a few days are committed, and sees it through. */
  async function backfilled(settings: Settings, die: () => Promise<void>): Promise<void> {
    const runs = await connectRuns(settings);
    try {
      const run = await runs.startBackfill({
        view: "badges",
        from: new Date(firstDayMs).toISOString(),
        to: new Date(firstDayMs + days * msPerDay).toISOString(),
        maxParallel: 2,
      });
      await until("a few days are committed", async () => (await run.progress()).committed >= 2);
      await die();
      const { committed, covered, failed } = await run.result();
      assert.deepEqual({ done: committed + covered, failed }, { done: days, failed: 0 });
    } finally {
      await runs.close();
    }
  }

  /** Generations of the committed days. */
  async function generations(settings: Settings): Promise<number[]> {
    const { coverage } = await withRedis(settings, "writing", (redis) =>
      createLedger(redis, settings).readLedger("badges", fingerprint),
    );
    return [...coverage.values()].map(({ generation }) => generation);
  }

  async function assertInTheMiddle(settings: Settings): Promise<void> {
    const { length } = await generations(settings);
    assert.ok(length > 0 && length < days, `${length} of ${days} days are committed`);
  }

  it("goes on with another worker, and ends in the same bytes", async () => {
    const settings = deployment.withPrefix();
    const worker = await deployment.startWorker(settings);
    await backfilled(settings, async () => {
      process.kill(-worker.pid, "SIGKILL");
      await worker.exited;
      await assertInTheMiddle(settings);
      await deployment.startWorker(settings);
    });
    assert.deepEqual(await generations(settings), Array<number>(days).fill(1));
    assert.equal(await deployment.dump(settings.prefix), reference);
  });

  it("goes on once Redis is back with its append-only file, and ends in the same bytes", async () => {
    const servers: RedisServer[] = [await startRedis({ args: durable })];
    const [first] = servers;
    assert.ok(first);
    const settings = { ...deployment.withPrefix(), redisUrl: first.url };
    const worker = await deployment.startWorker(settings);
    try {
      await backfilled(settings, async () => {
        await first.kill();
        const { port, directory } = first;
        servers.push(await startRedis({ port, args: [...durable, "--dir", directory] }));
        await assertInTheMiddle(settings);
      });
      assert.deepEqual(await generations(settings), Array<number>(days).fill(1));
      const client = new Redis(settings.redisUrl, { protocol: 2 });
      try {
        assert.equal(await dumpStore(client, settings.prefix, { publishes: false }), reference);
      } finally {
        await client.quit();
      }
    } finally {
      await worker.stop();
      for (const server of servers.reverse()) await server.stop();
    }
  });

  it("goes on once the Temporal server is back on its file, and ends in the same bytes", async function () {
    // A server that someone else runs is not ours to kill, and without /proc none is found.
    if ((process.env["TEMPORAL_ADDRESS"] ?? "") !== "" || !existsSync("/proc/self")) this.skip();
    const dataDir = mkdtempSync(join(tmpdir(), "onceflow-temporal-"));
    const start = () => startTemporal({ progress: silentProgress, dataDir });
    let server = await start();
    const settings = { ...deployment.withPrefix(), temporalAddress: server.address };
    const worker = await deployment.startWorker(settings);
    try {
      await backfilled(settings, async () => {
        const pids = processesNaming(dataDir);
        assert.ok(pids.length > 0, "no server was found");
        for (const pid of pids) process.kill(pid, "SIGKILL");
        await server.stop();
        await assertInTheMiddle(settings);
        server = await start();
        assert.equal(server.address, settings.temporalAddress, "it is back on another port");
      });
      assert.deepEqual(await generations(settings), Array<number>(days).fill(1));
      assert.equal(await deployment.dump(settings.prefix), reference);
    } finally {
      await worker.stop();
      await server.stop();
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
});

/** The processes with a folder on their command lines: a server and its UI. */
function processesNaming(folder: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
    } catch {
      // It has ended meanwhile.
      return false;
    }
  });
}
