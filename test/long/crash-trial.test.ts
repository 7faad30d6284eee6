import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { connectRuns } from "../../cli/temporal.ts";
import type { OwnedProcess } from "../../dev/processes.ts";
import { writeBadges } from "../../dev/example-data.ts";
import type { Settings } from "../../settings.ts";
import { servedBytes } from "../support/redis/served.ts";
import { type RedisServer, startRedis } from "../support/redis/server.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { until } from "../support/until.ts";

const firstDayMs = Date.parse("2026-01-01T00:00:00Z");
const days = 10;
/** One or two rows of a day each. */
const employees = 13_000;
const range = {
  view: "badges",
  from: new Date(firstDayMs).toISOString(),
  to: new Date(firstDayMs + days * 86_400_000).toISOString(),
  reprocess: "all" as const,
};

/** So many deaths of a kind; `CRASHES` sets another number for all. */
const deathsOf = (usual: number) => Number(process.env["CRASHES"] ?? usual);

/**
 * Backfills are run again and again, and something is killed at random. Whenever one says that it is
 * published, what is served must be that of a run in which nothing died.
 */
describe("crash trial", function () {
  this.timeout(4 * 3_600_000);
  let deployment: Deployment;
  let reference: ReadonlyMap<string, string>;

  before(async () => {
    deployment = await startDeployment();
    writeBadges(deployment.settings.dataDir, firstDayMs, days, employees);
    await onRedis([], async (settings, worker) => {
      await worker.start();
      await backfill(settings);
      reference = await servedBytes(settings, "badges");
      assert.ok(reference.size > employees);
    });
  });
  after(() => deployment.stop());

  /** A Redis of its own, which can be killed and comes back with what it kept, and a worker. */
  async function onRedis(
    args: readonly string[],
    run: (
      settings: Settings,
      worker: { readonly start: () => Promise<void>; readonly kill: () => Promise<void> },
      killRedis: () => Promise<void>,
    ) => Promise<void>,
  ): Promise<void> {
    const servers: RedisServer[] = [await startRedis({ args })];
    const { url, port, directory } = servers[0] as RedisServer;
    const settings = { ...deployment.withPrefix(), redisUrl: url };
    let process_: OwnedProcess | undefined;
    const worker = {
      start: async () => {
        process_ = await deployment.startWorker(settings);
      },
      kill: async () => {
        if (process_ === undefined) return;
        process.kill(-process_.pid, "SIGKILL");
        await process_.exited;
      },
    };
    const killRedis = async () => {
      await servers.at(-1)?.kill();
      servers.push(await startRedis({ port, args: [...args, "--dir", directory] }));
    };
    try {
      await run(settings, worker, killRedis);
    } finally {
      await worker.kill();
      for (const server of servers.reverse()) await server.stop();
    }
  }

  /** Kills at random while backfills run, and looks at what is served at the end of each. */
  async function trial(
    settings: Settings,
    deaths: number,
    longestPauseMs: number,
    die: () => Promise<void>,
  ): Promise<void> {
    let [died, runs, lost] = [0, 0, 0];
    while (died < deaths) {
      const running = { isOver: false };
      const run = backfill(settings).finally(() => (running.isOver = true));
      while (!running.isOver && died < deaths) {
        await pause(Math.random() * longestPauseMs);
        if (running.isOver) break;
        await die();
        died++;
      }
      const published = await run;
      runs++;
      const found = await servedBytes(settings, "badges");
      if (!isEqual(found, reference)) {
        lost++;
        // Redis died after the publish, and it did not keep it: that must have been told.
        assert.equal(published.durable, false, `run ${runs} lost what it had published`);
        await until("what was lost is put back", async () =>
          isEqual(await servedBytes(settings, "badges"), reference),
        );
      }
    }
    console.log(JSON.stringify({ deaths: died, runs, lost }));
  }

  async function backfill(settings: Settings) {
    const runs = await connectRuns(settings);
    try {
      const run = await runs.startBackfill({ ...range, maxParallel: 2 });
      const { published, failed, failures } = await run.result();
      assert.equal(failed, 0, JSON.stringify(failures));
      assert.equal(published.end, range.to);
      return published;
    } finally {
      await runs.close();
    }
  }

  it("60 deaths of workers", () =>
    onRedis([], async (settings, worker) => {
      await worker.start();
      await trial(settings, deathsOf(60), 6_000, async () => {
        await worker.kill();
        await worker.start();
      });
    }));

  it("40 deaths of a Redis that appends to a file", () =>
    onRedis(["--appendonly", "yes", "--appendfsync", "everysec"], async (settings, worker, die) => {
      await worker.start();
      await trial(settings, deathsOf(40), 6_000, die);
    }));

  it("40 deaths of a Redis that only writes a snapshot of itself now and then", () =>
    onRedis(["--save", "1 1"], async (settings, worker, die) => {
      await worker.start();
      await trial(settings, deathsOf(40), 6_000, die);
    }));
});

function isEqual(one: ReadonlyMap<string, string>, other: ReadonlyMap<string, string>): boolean {
  return one.size === other.size && [...other].every(([key, value]) => one.get(key) === value);
}
