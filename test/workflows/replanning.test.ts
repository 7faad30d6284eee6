import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createOfflineActivities } from "../../activities/offline.ts";
import { connectRuns } from "../../cli/temporal.ts";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { entity, featureView, float64, mean, source, string } from "../../engine/index.ts";
import type { Settings } from "../../settings.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOfflineStore } from "../../store/offline/offline-store.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import type { MaterializeInput } from "../../workflows/contract.ts";
import { failsWith } from "../support/fails-with.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { startOwnWorker } from "../support/temporal/own-worker.ts";

const things = source("things", {
  files: "things.csv",
  entity: entity("thing", { key: "id" }),
  columns: { id: string, x: float64 },
});
const { x } = things.columns;
const catalogue = buildCatalogue({
  things: {
    things,
    x_mean: mean(x),
    view: featureView("things", { source: things, stores: [x] }),
  },
});
const view = viewNamed(catalogue, "things");
const interval = { startMs: 0, endMs: Date.parse("2026-02-01T00:00:00Z") };

describe("A run whose plan does not hold any more", function () {
  this.timeout(60_000);
  let deployment: Deployment;
  let redis: RedisConnection;
  before(async () => {
    deployment = await startDeployment();
    redis = connectRedis(deployment.settings.redisUrl, "writing");
    mkdirSync(deployment.settings.dataDir, { recursive: true });
  });
  after(async () => {
    await redis.close();
    await deployment.stop();
  });

  /** Runs the interval with a worker to whose activities something happens once they have ended. */
  async function runWith(
    settings: Settings,
    happens: (activity: string, times: number) => void,
    terms: Partial<MaterializeInput> = {},
  ) {
    const times = new Map<string, number>();
    const own = createOfflineActivities({ catalogue, redis, settings });
    const activities = Object.fromEntries(
      Object.entries(own as Record<string, (...args: never[]) => Promise<unknown>>).map(
        ([name, activity]) => [
          name,
          async (...args: never[]) => {
            const result = await activity(...args);
            times.set(name, (times.get(name) ?? 0) + 1);
            happens(name, times.get(name) ?? 0);
            return result;
          },
        ],
      ),
    );
    const stop = await startOwnWorker(settings, catalogue, {}, { activities });
    const runs = await connectRuns(settings);
    try {
      const { fingerprint, definition } = view;
      const run = await runs.startMaterialize({
        view: "things",
        start: "1970-01-01T00:00:00Z",
        end: "2026-02-01T00:00:00Z",
        fingerprint,
        definition,
        ...terms,
      });
      return await run.result();
    } finally {
      await runs.close();
      await stop();
    }
  }

  function put({ dataDir }: Settings, x: number): void {
    writeFileSync(join(dataDir, "next.csv"), `id,x\na,${x}\n`);
    renameSync(join(dataDir, "next.csv"), join(dataDir, "things.csv"));
  }

  async function committed(settings: Settings) {
    const ledger = createLedger(redis, settings);
    const { name, fingerprint, aggregatesFingerprint } = view;
    const [pointers] = await ledger.readPointers([
      { view: name, fingerprint, aggregatesFingerprint },
    ]);
    const { values = {} } = JSON.parse(pointers?.latest?.body ?? "{}") as {
      values?: Record<string, number>;
    };
    const offline = createOfflineStore({ root: settings.offlineDir });
    const ref = { view: name, fingerprint, interval };
    return {
      mean: Object.values(values)[0],
      outcomes: (await ledger.readRuns(name, 10)).map(({ outcome }) => outcome),
      generations: await offline.listGenerations(ref),
    };
  }

  it("since its source file was replaced, plans again with the new one", async () => {
    const settings = deployment.withPrefix();
    put(settings, 1);
    const result = await runWith(settings, (activity, times) => {
      if (activity === "planRun" && times <= 2) put(settings, 10 ** times);
    });
    assert.deepEqual([result.outcome, result.generation, result.rows], ["committed", 3, 1]);
    assert.deepEqual(await committed(settings), {
      mean: 100,
      outcomes: ["committed"],
      generations: [3],
    });
  });

  it("since its source file is replaced again and again, fails after as many plans as it may", async () => {
    const settings = deployment.withPrefix();
    put(settings, 1);
    const retry = { attempts: 3, initialMs: 10, maxMs: 10 };
    const running = runWith(
      settings,
      (activity, times) => {
        if (activity === "planRun") put(settings, 10 ** times);
      },
      { retry },
    );
    await failsWith(running, "SOURCE_CHANGED", /things\.csv changed/);
    const { outcomes, generations } = await committed(settings);
    assert.deepEqual([outcomes, generations], [["failed"], []]);
  });

  it("since the offline store has lost what it had read, reads it again", async () => {
    const settings = deployment.withPrefix();
    put(settings, 1);
    const result = await runWith(
      settings,
      (activity, times) => {
        if (activity === "validateRun" && times === 1)
          rmSync(settings.offlineDir, { recursive: true });
      },
      { retry: { attempts: 8, initialMs: 10, maxMs: 10 } },
    );
    assert.deepEqual([result.outcome, result.generation], ["committed", 2]);
    assert.deepEqual(await committed(settings), {
      mean: 1,
      outcomes: ["committed"],
      generations: [2],
    });
  });

  it("of an end ahead of the clock, as typed in the Temporal UI, is refused for good", async () => {
    const settings = deployment.withPrefix();
    put(settings, 1);
    const end = new Date(Date.now() + 120_000).toISOString();
    await failsWith(
      runWith(settings, () => undefined, { end }),
      "INTERVAL_INVALID",
      /ahead of the clock/,
    );
    assert.deepEqual((await committed(settings)).generations, []);
  });
});
