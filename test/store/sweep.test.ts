import assert from "node:assert/strict";
import type { RegisteredView } from "../../engine/registry.ts";
import { createKeys, pointerFields } from "../../store/keys.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { planSweep, sweep } from "../../store/sweep.ts";
import { randomPrefix, testRedis, type TestRedis } from "../support/redis/server.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

describe("a sweep", () => {
  let redis: TestRedis;
  let connection: RedisConnection;
  before(async () => {
    redis = await testRedis();
    connection = connectRedis(redis.url, "writing");
  });
  after(async () => {
    await connection.close();
    await redis.stop();
  });

  it("leaves alone what no kind of ours is spelled as, which a newer version wrote", async () => {
    const { prefix } = redis;
    const keys = createKeys(prefix);
    const pointers = keys.pointers("users");
    const ours = pointerFields.table("ab");
    for (const field of [ours, "tiles:ab", pointerFields.revision])
      await connection.send(["hset", pointers, field, "1"]);
    const tiles = [`${prefix}:{users}:tiles:ab`, `${prefix}:tiles:{users/ab:0}:0`];
    const bucket = keys.bucket("users", "ab", 0, 0);
    for (const key of [
      ...tiles,
      keys.begun("users", "ab"),
      keys.generations("users", "ab"),
      bucket,
    ])
      await connection.send(["hset", key, "", "1"]);
    const rule = { kept: [], olderThanMs: 0, nowMs: Date.now() };
    const { views } = await planSweep(connection, rule, { prefix });
    assert.deepEqual(views, [
      {
        view: "users",
        buckets: [bucket],
        keys: [keys.begun("users", "ab")],
        generations: [],
        fields: [ours],
      },
    ]);
  });

  it("takes the layout before publishes once its definition is published", async () => {
    const prefix = randomPrefix();
    const keys = createKeys(prefix);
    const pointers = keys.pointers("users");
    const older = ["namespace:ab", "head:ab"];
    const rows = [`${prefix}:rows:{users/ab:0}`, `${prefix}:rows:{users/ab:0}:0`];
    const newer = [pointerFields.table("ab"), pointerFields.publishing("ab")];
    const entities = [keys.shard("users", "ab", 0), keys.bucket("users", "ab", 0, 0)];
    const ledger = [keys.coverage("users", "ab"), keys.generations("users", "ab")];
    for (const field of [...older, ...newer, pointerFields.revision])
      await connection.send(["hset", pointers, field, "1"]);
    for (const key of [...rows, ...entities, ...ledger])
      await connection.send(["hset", key, "", `{}`]);
    const users: RegisteredView = {
      fingerprint: "ab",
      definition: "d",
      aggregates: [],
      aggregatesFingerprint: "5e",
      entity: ["id"],
      columns: {},
      dependsOn: [],
    };
    const kept = [{ views: { users }, services: {} }];
    const plan = () =>
      planSweep(connection, { kept, olderThanMs: 0, nowMs: Date.now() }, { prefix });
    const left = async () =>
      ((await connection.send(["keys", `${prefix}:*`])) as Buffer[]).map(String).sort();
    const fields = async () =>
      ((await connection.send(["hkeys", pointers])) as Buffer[]).map(String).sort();

    // Its entities are there, and processes of the older release serve the rows still.
    assert.deepEqual(await plan(), { leftovers: [], recent: [], views: [] });
    // Another definition of the view counts for nothing.
    await connection.send(["hset", pointers, pointerFields.published("cd"), "[]"]);
    const [other] = (await plan()).views;
    assert.deepEqual([other?.buckets, other?.fields], [[], [pointerFields.published("cd")]]);
    await connection.send(["hdel", pointers, pointerFields.published("cd")]);

    const published = pointerFields.published("ab");
    await connection.send(["hset", pointers, published, "[]"]);
    const found = await plan();
    assert.deepEqual(found, {
      leftovers: [],
      recent: [],
      views: [{ view: "users", buckets: rows, keys: [], generations: [], fields: older }],
    });
    await sweep(connection, found, { prefix });
    assert.deepEqual(await left(), [...entities, ...ledger, pointers].sort());
    assert.deepEqual(await fields(), [...newer, published, "revision"].sort());
    assert.deepEqual((await plan()).views, []);
  });

  it("takes the layout before publishes with a definition that nobody uses", async () => {
    const prefix = randomPrefix();
    const pointers = createKeys(prefix).pointers("users");
    const bucket = `${prefix}:rows:{users/ab:0}:0`;
    for (const field of ["namespace:ab", "head:ab", pointerFields.publishing("ab")])
      await connection.send(["hset", pointers, field, "1"]);
    await connection.send(["hset", bucket, "", "1"]);
    const rule = { kept: [], olderThanMs: 0, nowMs: Date.now() };
    const [found] = (await planSweep(connection, rule, { prefix })).views;
    assert.deepEqual(found?.buckets, [bucket]);
    // No generation of a publish is given out twice.
    assert.deepEqual(found?.fields, ["namespace:ab", "head:ab"]);
  });
});
