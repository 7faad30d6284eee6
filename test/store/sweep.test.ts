import assert from "node:assert/strict";
import { createKeys, pointerFields } from "../../store/keys.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { planSweep } from "../../store/sweep.ts";
import { testRedis, type TestRedis } from "../support/redis/server.ts";
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
    const ours = pointerFields.namespace("ab");
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
});
