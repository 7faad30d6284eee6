import assert from "node:assert/strict";
import { createKeys } from "../../store/keys.ts";
import { hashSlotOf } from "../../store/redis/hash-slot.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { failsWith } from "../support/fails-with.ts";
import { startRedis } from "../support/redis/server.ts";
import type { ClusterNode } from "../support/redis/cluster.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { startSentinelSet } from "../support/redis/sentinel.ts";
import { until } from "../support/until.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

/** The deadline of a command of the serving role, and what it may take beyond. */
const limitMs = 500 + 50;

/** The strict bounds: for a machine that does nothing else. */
describe("the deadlines of Redis", function () {
  this.timeout(120_000);
  const stops: (() => unknown)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  });

  async function connect(url: string, role: "serving" | "writing" = "serving") {
    const redis = connectRedis(url, role);
    stops.push(redis.close);
    await redis.ready();
    return redis;
  }
  async function assertFailsIn(boundMs: number, send: () => Promise<unknown>): Promise<void> {
    const startMs = performance.now();
    await failsWith(send(), "STORE_UNAVAILABLE");
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs <= boundMs, `${tookMs} ms`);
  }
  const read = (redis: RedisConnection, key = "x") => redis.send(["get", key]);

  it("are kept while Redis hangs", async () => {
    const server = await startRedis();
    stops.push(server.stop);
    const serving = await connect(server.url);
    server.signal("SIGSTOP");
    stops.push(() => server.signal("SIGCONT"));
    await assertFailsIn(limitMs, () => read(serving));
  });

  it("are not waited for once Redis is dead, whatever the role", async () => {
    const server = await startRedis();
    stops.push(server.stop);
    const both = [await connect(server.url), await connect(server.url, "writing")];
    await server.kill();
    for (const redis of both) await assertFailsIn(limitMs, () => read(redis));
  });

  it("are kept while a master of a Cluster hangs, and while a slot is half moved", async () => {
    const cluster = await startCluster();
    stops.push(cluster.stop);
    const serving = await connect(cluster.url);
    const keys = createKeys();
    const [first, second] = [keys.pointers("users"), keys.snapshots("users")];
    const slot = hashSlotOf(first);
    const from = await cluster.ownerOf(slot);
    const [to] = cluster.nodes.filter((node) => node !== from) as [ClusterNode];
    for (const key of [first, second]) await from.client.hset(key, "field", "value");
    const during = async (_: number, moved: number) => {
      if (moved !== 1) return;
      await assertFailsIn(limitMs, () => serving.send(["readHashes", 2, first, second]));
    };
    await cluster.moveSlots([slot], { from, to, during });
    to.signal("SIGSTOP");
    stops.push(() => to.signal("SIGCONT"));
    await assertFailsIn(limitMs, () => read(serving, first));
  });

  it("are met again 10 s after a failover that was asked for", async () => {
    const set = await startSentinelSet();
    stops.push(set.stop);
    const both = [await connect(set.url), await connect(set.url, "writing")];
    const old = await set.master();
    const startMs = performance.now();
    await set.failOver();
    await until("the master is another", async () => (await set.master()) !== old);
    const client = set.clientOf(await set.master());
    for (const redis of both)
      await until("it writes to the new master", async () => {
        await redis.send(["set", "x", "1"]).catch(() => undefined);
        return (await client.getdel("x")) === "1";
      });
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs <= 10_000, `${tookMs} ms`);
  });
});
