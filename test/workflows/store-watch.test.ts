import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { rmSync } from "node:fs";
import { Redis } from "ioredis";
import { connectRuns } from "../../cli/temporal.ts";
import { writeBadges } from "../../dev/example-data.ts";
import type { Settings } from "../../settings.ts";
import { servedBytes } from "../support/redis/served.ts";
import { type RedisServer, startRedis } from "../support/redis/server.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { until } from "../support/until.ts";

const firstDayMs = Date.parse("2026-01-01T00:00:00Z");
const msPerDay = 86_400_000;

/** A worker watches its Redis: what is lost is put back from the offline store, and nobody asks. */
describe("a worker whose Redis has lost what was published", function () {
  this.timeout(180_000);
  let deployment: Deployment;
  let server: RedisServer;
  let settings: Settings;
  let reference: ReadonlyMap<string, string>;

  before(async () => {
    deployment = await startDeployment();
    server = await startRedis();
    settings = { ...deployment.settings, redisUrl: server.url };
    writeBadges(settings.dataDir, firstDayMs, 3);
    await deployment.startWorker(settings);
    await backfill(2);
    await command("save");
    // An older copy, of before the third day.
    await copyFile(join(server.directory, "dump.rdb"), join(server.directory, "older.rdb"));
    await backfill(3);
    reference = await servedBytes(settings, "badges");
    // From here on the offline store alone has what was read.
    rmSync(settings.dataDir, { recursive: true });
  });
  after(async () => {
    await deployment.stop();
    await server.stop();
  });

  async function backfill(days: number): Promise<void> {
    const runs = await connectRuns(settings);
    try {
      const run = await runs.startBackfill({
        view: "badges",
        from: new Date(firstDayMs).toISOString(),
        to: new Date(firstDayMs + days * msPerDay).toISOString(),
      });
      assert.equal((await run.result()).failed, 0);
    } finally {
      await runs.close();
    }
  }

  async function command(name: string, ...args: string[]): Promise<void> {
    const client = new Redis(settings.redisUrl, { protocol: 2 });
    try {
      await client.call(name, ...args);
    } finally {
      client.disconnect();
    }
  }

  const isBack = async () => {
    const now = await servedBytes(settings, "badges");
    return (
      now.size === reference.size && [...reference].every(([key, row]) => now.get(key) === row)
    );
  };

  it("puts it back after Redis was emptied", async () => {
    await command("flushall");
    assert.equal(await isBack(), false);
    await until("all is served again", isBack);
  });

  it("puts it back after an older copy came in its place", async () => {
    await server.kill();
    const { port, directory } = server;
    await copyFile(join(directory, "older.rdb"), join(directory, "dump.rdb"));
    server = await startRedis({ port, args: ["--dir", directory] });
    assert.equal(await isBack(), false);
    await until("all is served again", isBack);
  });
});
