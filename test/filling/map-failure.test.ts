import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApplicationFailure } from "@temporalio/common";
import { buildCatalogue } from "../../engine/catalogue.ts";
import {
  entity,
  type Expr,
  featureService,
  featureView,
  float64,
  map,
  mean,
  notNull,
  source,
  string,
} from "../../engine/index.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { randomPrefix, type TestRedis, testRedis } from "../support/redis/server.ts";
import { createMaterializer } from "../support/temporal/materializer.ts";

const things = source("things", {
  files: "*.csv",
  entity: entity("thing", { key: "id" }),
  columns: { id: string, x: float64 },
});
const { x } = things.columns;

/** A function that fails for one value, whatever else it is given. */
const fragile = (inputs: Record<string, Expr<"float64">> = {}, wrong?: unknown) =>
  map("fragile", { version: 3 }, { x, ...inputs }, float64, (given): number => {
    const value = (given as { x: number }).x;
    if (value !== 13) return value;
    if (wrong !== undefined) return wrong as number;
    throw new Error("13 is unlucky");
  });

/** How the function comes into a run. */
const ways = {
  "a stored feature": () => {
    const lucky = fragile();
    return { lucky, view: featureView("things", { source: things, stores: [lucky] }) };
  },
  "an aggregate": () => {
    const lucky = fragile();
    const lucky_mean = mean(lucky);
    return { lucky, lucky_mean, view: featureView("things", { source: things, stores: [x] }) };
  },
  "an expectation": () => {
    const lucky = fragile().expect(notNull());
    return { lucky, view: featureView("things", { source: things, stores: [x] }) };
  },
} as const;

describe("A map that fails in a batch", () => {
  let redis: TestRedis;
  let connection: RedisConnection;
  let folder: string;
  before(async () => {
    redis = await testRedis();
    connection = connectRedis(redis.url, "writing");
  });
  after(async () => {
    await connection.close();
    await redis.stop();
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onceflow-map-"));
    writeFileSync(join(folder, "a.csv"), "id,x\none,1\ntwo,2\n");
    writeFileSync(join(folder, "b.csv"), "id,x\nthree,3\nfour,13\nfive,13\n");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function workerOf(features: object) {
    const catalogue = buildCatalogue({ things: { things, ...features } });
    return createMaterializer({
      catalogue,
      redis: connection,
      prefix: randomPrefix(),
      dataDir: folder,
      offlineDir: join(folder, "offline"),
    });
  }

  async function failureOf(work: Promise<unknown>): Promise<ApplicationFailure> {
    try {
      await work;
    } catch (error) {
      if (error instanceof ApplicationFailure) return error;
      throw error;
    }
    throw new Error("nothing failed");
  }

  function assertNamed(failure: ApplicationFailure, problem: RegExp): void {
    const named =
      /features? "lucky"(?:, "lucky_mean")? of view "things", row 2 \(id "four"\) of \S*b\.csv/;
    assert.equal(failure.type, "VALUE_INVALID", failure.message);
    assert.equal(failure.nonRetryable, true);
    assert.match(failure.message, named);
    assert.match(failure.message, problem);
    const [details] = failure.details as [Record<string, unknown>];
    assert.equal((details["features"] as string[])[0], "lucky");
    assert.equal(details["row"], 2);
  }

  for (const [way, features] of Object.entries(ways))
    it(`as ${way}, names feature, row and key`, async () => {
      const worker = workerOf(features());
      assertNamed(
        await failureOf(worker.materialize("things", "1970-01-01", "2026-01-01")),
        /map "fragile" version 3 threw: 13 is unlucky\. Mend/,
      );
    });

  it("as a feature of a training set, names feature, row and key", async () => {
    for (const [wrong, problem] of [
      [undefined, /threw: 13 is unlucky\. Mend/],
      ["text", /returned "text", which is no float64\. Mend/],
    ] as const) {
      const lucky = fragile({}, wrong);
      const worker = workerOf({
        lucky,
        view: featureView("things", { source: things, stores: [x] }),
        service: featureService("service", [lucky]),
      });
      const building = worker.call(worker.activities.buildTrainingSet, { service: "service" });
      assertNamed(await failureOf(building), problem);
    }
  });

  it("leaves the columns of a training set as they are", async () => {
    rmSync(join(folder, "b.csv"));
    const lucky = fragile();
    const worker = workerOf({
      lucky,
      view: featureView("things", { source: things, stores: [x] }),
      service: featureService("service", [lucky]),
    });
    const { path } = await worker.call(worker.activities.buildTrainingSet, { service: "service" });
    assert.equal(readFileSync(join(path, "data.csv"), "utf8"), "id,lucky\none,1.0\ntwo,2.0\n");
  });
});
