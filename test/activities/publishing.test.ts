import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import type { FeatureView } from "../../engine/language/definitions.ts";
import {
  entity,
  featureView,
  float64,
  mean,
  source,
  string,
  timestamp,
} from "../../engine/index.ts";
import { pointerRequest } from "../../store/ledger.ts";
import { createLookup } from "../../serving/lookup.ts";
import { createLedger } from "../../store/ledger.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { day, iso } from "../support/temporal/dependent-views.ts";
import { createMaterializer } from "../support/temporal/materializer.ts";
import { readPublishes } from "../support/temporal/publishes.ts";
import { patient, randomPrefix, type RedisServer, startRedis } from "../support/redis/server.ts";

/** A daily view from 2026-01-01; with an aggregate over event time a gap holds it back. */
function catalogueOf(options: { aggregate?: boolean; gaps?: "hold" | "serve" } = {}) {
  const things = source("things", {
    files: "things.csv",
    entity: entity("thing", { key: "id" }),
    eventTime: "at",
    columns: { id: string, at: timestamp, x: float64 },
  });
  const { x } = things.columns;
  const { aggregate = true, gaps } = options;
  const view: FeatureView = featureView("things", {
    source: things,
    stores: [x],
    schedule: { every: "1 day", start: day(1) },
    ...(gaps === undefined ? {} : { gaps }),
  });
  return buildCatalogue({ things: { things, ...(aggregate ? { x_mean: mean(x) } : {}), view } });
}

const durable = ["--appendonly", "yes", "--appendfsync", "always"];

describe("A publish", () => {
  let server: RedisServer;
  let gone: RedisServer[];
  let redis: RedisConnection;
  let folder: string;
  let prefix: string;

  beforeEach(async () => {
    server = await startRedis({ args: durable });
    gone = [];
    redis = connectRedis(server.url, "writing");
    folder = mkdtempSync(join(tmpdir(), "onceflow-test-"));
    prefix = randomPrefix();
    // Of a each day has a row, of b the second alone.
    const rows = [1, 2, 3, 4].map((date) => `a,${day(date)}T10:00:00Z,${date}`);
    put([...rows, `b,${day(2)}T11:00:00Z,20`]);
  });
  afterEach(async () => {
    await redis.close();
    for (const each of [server, ...gone]) await each.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  function put(rows: readonly string[]): void {
    writeFileSync(join(folder, "things.csv"), `id,at,x\n${rows.join("\n")}\n`);
  }

  /** A worker, whose Redis may be another connection. */
  function build(catalogue = catalogueOf(), connection = redis) {
    const offlineDir = join(folder, "offline");
    const view = viewNamed(catalogue, "things");
    const ledger = createLedger(redis, { prefix });
    const worker = createMaterializer({
      catalogue,
      redis: connection,
      prefix,
      dataDir: folder,
      offlineDir,
    });
    return {
      commit: (date: number) => worker.commit("things", day(date), day(date + 1)),
      publish: (how: Parameters<typeof worker.publish>[1] = {}) => worker.publish("things", how),
      pointers: async () => (await ledger.readPointers([pointerRequest(view)]))[0],
      plans: () => readPublishes({ offlineDir }, view),
      /** What is served of a and b, the aggregate, and as of when. */
      async served() {
        const serving = connectRedis(server.url, "serving", patient);
        const lookup = createLookup({ catalogue, redis: serving, prefix });
        try {
          const features = ["things.x", ...(view.aggregates.length > 0 ? ["x_mean"] : [])];
          const entities = [{ id: "a" }, { id: "b" }];
          const { results, as_of, ...head } = await lookup.answer({ features, entities });
          return {
            rows: results.map(({ features: values }) => values["things.x"]),
            mean: results[0]?.features["x_mean"],
            asOf: as_of["things"],
            uncovered: "uncovered" in head ? head.uncovered : undefined,
          };
        } finally {
          lookup.close();
          await serving.close();
        }
      },
    };
  }

  /** Kills Redis, and starts another in its place, with or without what it had written down. */
  async function restart(args: readonly string[]): Promise<void> {
    await server.kill();
    gone.push(server);
    server = await startRedis({ port: server.port, args });
  }

  /** The connection, with something that happens once before the first command of a name. */
  function interrupted(command: string, happens: () => Promise<void>): RedisConnection {
    let isDue = true;
    return {
      ...redis,
      async send(sent) {
        if (isDue && sent[0] === command) {
          isDue = false;
          await happens();
        }
        return redis.send(sent);
      },
    };
  }

  it("holds what is committed after a gap, where an aggregate would lack a day", async () => {
    const { commit, publish, served, pointers } = build();
    await commit(2);
    const nothing = await publish();
    assert.deepEqual(
      [nothing.outcome, nothing.missing],
      ["nothing", { start: iso(1), end: iso(2) }],
    );
    assert.equal((await pointers())?.published, null);
    await commit(1);
    await commit(4);
    const held = await publish();
    assert.deepEqual(
      [held.outcome, held.end, held.covered, held.missing],
      ["published", iso(3), true, { start: iso(3), end: iso(4) }],
    );
    assert.deepEqual(await served(), {
      rows: [2, 20],
      mean: 23 / 3,
      asOf: iso(3),
      uncovered: undefined,
    });
    await commit(3);
    assert.equal((await publish()).end, iso(5));
    assert.deepEqual((await served()).rows, [4, 20]);
  });

  it("goes past a gap where the view says so, or has rows alone; answers name the view", async () => {
    for (const options of [{ aggregate: false }, { gaps: "serve" }] as const) {
      prefix = randomPrefix();
      rmSync(join(folder, "offline"), { recursive: true, force: true });
      const { commit, publish, served } = build(catalogueOf(options));
      await commit(1);
      await commit(3);
      const past = await publish();
      assert.deepEqual(
        [past.outcome, past.end, past.covered, past.missing],
        ["published", iso(4), false, { start: iso(2), end: iso(3) }],
      );
      const { rows, asOf, uncovered } = await served();
      assert.deepEqual([rows, asOf, uncovered], [[3, null], iso(4), ["things"]]);
      await commit(2);
      await publish();
      const whole = await served();
      assert.deepEqual([whole.rows, whole.uncovered], [[3, 20], undefined]);
    }
  });

  it("does nothing where what is committed is published, and all of it anew where it is asked to", async () => {
    const { commit, publish, plans } = build();
    await commit(1);
    assert.equal((await publish()).outcome, "published");
    assert.equal((await publish()).outcome, "current");
    const anew = await publish({ whole: true });
    assert.deepEqual([anew.outcome, anew.whole, anew.generation], ["published", true, 2]);
    assert.deepEqual(
      (await plans()).map(({ publishedAt }) => publishedAt !== null),
      [true, true],
    );
  });

  it("takes back what a corrected interval has no more", async () => {
    const { commit, publish, served } = build();
    for (const date of [1, 2, 3]) await commit(date);
    await publish();
    put([1, 3, 4].map((date) => `a,${day(date)}T10:00:00Z,${date}`));
    await commit(2);
    assert.deepEqual((await served()).rows, [3, 20], "nothing is taken back before the publish");
    const { withdrawn, whole } = await publish();
    assert.deepEqual(await served(), {
      rows: [3, null],
      mean: 2,
      asOf: iso(4),
      uncovered: undefined,
    });
    assert.ok(withdrawn === 1 || whole);
  });

  it("goes back to an earlier one and stays there, until it is resumed", async () => {
    const { commit, publish, served } = build();
    await commit(1);
    await publish();
    await commit(2);
    await publish();
    const back = await publish({ backTo: 1 });
    assert.deepEqual([back.outcome, back.generation, back.end], ["published", 3, iso(2)]);
    assert.deepEqual(await served(), {
      rows: [1, null],
      mean: 1,
      asOf: iso(2),
      uncovered: undefined,
    });
    await commit(3);
    const frozen = await publish();
    assert.deepEqual([frozen.outcome, frozen.end], ["frozen", iso(2)]);
    assert.match(frozen.frozen ?? "", /went back to publish 1/);
    const resumed = await publish({ resume: true });
    assert.deepEqual([resumed.outcome, resumed.frozen, resumed.end], ["published", null, iso(4)]);
    assert.deepEqual((await served()).rows, [3, 20]);
  });

  it("keeps what is served for a reason, also of an interval that is computed again", async () => {
    const { commit, publish, served } = build();
    await commit(1);
    await commit(2);
    await publish();
    await publish({ freeze: "wrong prices" });
    put([`a,${day(1)}T10:00:00Z,100`]);
    await commit(1);
    await commit(2);
    const kept = await publish();
    assert.deepEqual([kept.outcome, kept.frozen], ["frozen", "wrong prices"]);
    assert.deepEqual((await served()).rows, [2, 20]);
    await publish({ resume: true });
    assert.deepEqual((await served()).rows, [100, null]);
  });

  it("moves no pointer where a later one has begun meanwhile", async () => {
    const { commit, publish } = build();
    await commit(1);
    let later: Awaited<ReturnType<typeof publish>> | undefined;
    const overtaken = build(
      catalogueOf(),
      interrupted("commitPublish", async () => {
        later = await publish();
      }),
    );
    // It looks again, and finds that all is done.
    const { outcome, generation } = await overtaken.publish();
    assert.deepEqual([outcome, generation, later?.generation], ["current", 2, 2]);
    assert.equal((await overtaken.pointers())?.published?.generation, 2);
    assert.deepEqual(
      (await overtaken.plans()).map(({ publishedAt }) => publishedAt !== null),
      [false, true],
    );
  });

  it("is taken up by the next attempt where its worker died before its pointers moved", async () => {
    const { commit, publish, served, plans } = build();
    await commit(1);
    await publish();
    await commit(2);
    const killed = build(
      catalogueOf(),
      interrupted("commitPublish", () => Promise.reject(new Error("the worker dies"))),
    );
    await assert.rejects(killed.publish());
    assert.equal((await served()).asOf, iso(2));
    // What is committed has changed since, so that the rows of the first attempt are those of nothing.
    put([1, 3].map((date) => `a,${day(date)}T10:00:00Z,${date}`));
    await commit(2);
    assert.equal((await publish()).outcome, "published");
    assert.deepEqual(await served(), {
      rows: [1, null],
      mean: 1,
      asOf: iso(3),
      uncovered: undefined,
    });
    assert.deepEqual(
      (await plans()).map(({ publishedAt }) => publishedAt !== null),
      [true, false, true],
    );
  });

  it("writes all of it again where Redis restarts in the middle of it", async () => {
    const { commit, publish, served } = build();
    await commit(1);
    await publish();
    await commit(2);
    const { directory } = server;
    const during = build(
      catalogueOf(),
      interrupted("commitPublish", () => restart([...durable, "--dir", directory])),
    );
    const { outcome, whole, generation, written } = await during.publish();
    assert.deepEqual([outcome, whole, generation, written], ["published", true, 3, 2]);
    assert.deepEqual(await served(), {
      rows: [2, 20],
      mean: 23 / 3,
      asOf: iso(3),
      uncovered: undefined,
    });
  });

  it("makes ledger and table again from the offline store where Redis lost all in the middle of it", async () => {
    const { commit, publish, served } = build();
    await commit(1);
    await publish();
    await commit(2);
    const during = build(
      catalogueOf(),
      interrupted("commitPublish", () => restart([])),
    );
    const { outcome, whole, durable: isDurable } = await during.publish();
    assert.deepEqual([outcome, whole, isDurable], ["published", true, false]);
    const expected = { rows: [2, 20], mean: 23 / 3, asOf: iso(3), uncovered: undefined };
    assert.deepEqual(await served(), expected);
    // And where it was emptied while nobody published; the raw rows are gone by then.
    rmSync(join(folder, "things.csv"));
    await restart([]);
    assert.equal((await build().publish()).outcome, "published");
    assert.deepEqual(await served(), expected);
  });
});
