import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { RedisConnection, RedisDeadlines, RedisRole } from "../../../store/redis/types.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { parseRedisUrl } from "../../../store/redis/url.ts";
import { failsWith } from "../../support/fails-with.ts";
import { readEntities, stored, writeBatch } from "../../support/redis/numbered-writes.ts";
import type { RedisServer } from "../../support/redis/server.ts";
import { freePort, patient, randomPrefix, startRedis } from "../../support/redis/server.ts";
import type { SentinelSet } from "../../support/redis/sentinel.ts";
import { startSentinelSet } from "../../support/redis/sentinel.ts";
import { startTcpProxy } from "../../support/redis/tcp-proxy.ts";
import { until } from "../../support/until.ts";

/** How soon a failover is over is for test/long: most of it is up to the Sentinels. */
describe("redis sentinel", function () {
  this.timeout(240_000);
  let set: SentinelSet;
  const connections: RedisConnection[] = [];
  const connect = (
    role: RedisRole,
    url = set.url,
    deadlines: Partial<RedisDeadlines> = patient,
  ) => {
    const connection = connectRedis(url, role, deadlines);
    connections.push(connection);
    return connection;
  };
  before(async () => {
    set = await startSentinelSet();
  });
  afterEach(() => Promise.all(connections.splice(0).map((connection) => connection.close())));
  after(() => set.stop());

  const sends = (redis: RedisConnection) =>
    redis.send(["set", "x", "1"]).then(
      () => true,
      () => false,
    );
  /** A connection of each role writes again after what happens to the master, and loses nothing. */
  async function assertFollows(happens: (master: RedisServer) => unknown): Promise<void> {
    const both = [connect("serving"), connect("writing")];
    await Promise.all(both.map((redis) => redis.ready()));
    let reconnects = 0;
    for (const redis of both) redis.onReconnect(() => reconnects++);
    const old = await set.master();
    await happens(old);
    await until("the master is another", async () => (await set.master()) !== old);
    const client = set.clientOf(await set.master());
    // Until it is demoted, the old master takes writes too, and they are lost.
    for (const redis of both) {
      await client.del("x");
      await until("it writes to the new master", async () => {
        return (await sends(redis)) && (await client.get("x")) === "1";
      });
    }
    await until("those who listen are told", () => reconnects >= 2);
    for (const redis of both) {
      const keys = Array.from({ length: 50 }, randomPrefix);
      await redis.pipeline(keys.map((key) => ["set", key, key] as const));
      assert.deepEqual(await client.mget(keys), keys);
    }
  }

  it("holds rows at the master that the Sentinels name, and never asks a replica", async () => {
    const [writing, serving] = [connect("writing"), connect("serving")];
    const prefix = randomPrefix();
    const namespace = await createOnlineStore(writing, { prefix }).openNamespace(stored, {
      buckets: 64,
    });
    await writeBatch(writing, prefix, namespace, 0);
    await serving.ready();
    const rows = await readEntities(serving, prefix, namespace, 0);
    assert.ok(rows.some((row) => row !== null));
    const { port } = await set.master();
    assert.deepEqual(
      (await serving.masters()).map(({ address }) => address),
      [`127.0.0.1:${port}`],
    );
    await writing.assertNoEviction();
  });

  it("follows a failover that is asked for while the old master lives", async () => {
    await assertFollows(() => set.failOver());
    await set.untilOk();
  });

  it("follows a failover from a master that hangs, and gives up what waits for it", async () => {
    let hung: RedisServer | undefined;
    let waited: Promise<unknown> | undefined;
    await assertFollows(async (master) => {
      const writing = connect("writing");
      const serving = connect("serving", set.url, { connectTimeoutMs: patient.connectTimeoutMs });
      await Promise.all([writing.ready(), serving.ready()]);
      hung = master;
      master.signal("SIGSTOP");
      waited = failsWith(writing.send(["get", "x"]), "STORE_UNAVAILABLE", /Connection is closed/);
      await failsWith(serving.send(["get", "x"]), "STORE_UNAVAILABLE", /Command timed out/);
    });
    await waited;
    hung?.signal("SIGCONT");
    await set.untilOk();
  });

  it("serves on while every Sentinel is down, and asks them again once they are back", async () => {
    const serving = connect("serving");
    await serving.ready();
    await set.killSentinels();
    for (let i = 0; i < 20; i++) assert.equal(await sends(serving), true);
    const late = connect("serving");
    await failsWith(
      late.ready(),
      "STORE_UNAVAILABLE",
      /^Redis at 127\.0\.0\.1:\d+ failed at connect: connect ECONNREFUSED/,
    );
    await set.startSentinels();
    await until("the late one is ready", () =>
      late.ready().then(
        () => true,
        () => false,
      ),
    );
    const old = await set.master();
    await set.failOver();
    await until("the master is another", async () => (await set.master()) !== old);
    const { port } = await set.master();
    await until(
      "it has followed",
      async () => (await serving.masters())[0]?.address === `127.0.0.1:${port}`,
    );
    await set.untilOk();
  });

  it("follows a failover from a master that was killed", async () => {
    await assertFollows((master) => master.kill());
  });

  /** Has every Sentinel know one more master, meanwhile. */
  async function withMaster(name: string, port: number, run: (url: string) => Promise<unknown>) {
    const sentinels = set.sentinelPorts.map((each) => new Redis(each, { protocol: 2 }));
    const tell = (...words: string[]) =>
      Promise.all(sentinels.map((sentinel) => sentinel.call("sentinel", words)));
    await tell("MONITOR", name, "127.0.0.1", `${port}`, "2");
    try {
      await run(set.url.replace(/[^/]*$/, name));
    } finally {
      await tell("REMOVE", name);
      for (const sentinel of sentinels) sentinel.disconnect();
    }
  }

  it("reads where the master is though that is what the master is called", async () => {
    const { port } = await set.master();
    for (const name of ["ip", "port", "config-epoch"])
      await withMaster(name, port, async (url) => {
        const serving = connect("serving", url);
        await serving.ready();
        const [master] = await serving.masters();
        assert.equal(master?.address, `127.0.0.1:${port}`);
      });
  });

  it("leaves no connection behind where it is closed while a master is being tried", async () => {
    const master = await set.master();
    const proxy = await startTcpProxy(master.port, 500);
    const client = set.clientOf(master);
    const isThere = async () =>
      String(await client.client("LIST")).includes("name=onceflow-writing ");
    await until("those of before are gone", async () => !(await isThere()));
    await withMaster("slow", proxy.port, async (url) => {
      const writing = connectRedis(url, "writing");
      await until("it tries the master", isThere);
      await writing.close();
      await until("its connection is gone", async () => !(await isThere()));
    });
    await proxy.stop();
  });

  it("says which name or address is wrong", async () => {
    const [port] = set.sentinelPorts;
    await failsWith(
      connect("serving", `redis+sentinel://127.0.0.1:${port}/nobody`).ready(),
      "CONFIG_INVALID",
      /No such master with that name\. Correct the name of the master that ends REDIS_URL\.$/,
    );
    const plain = await startRedis();
    await failsWith(
      connect("serving", `redis+sentinel://127.0.0.1:${plain.port}/x`).ready(),
      "CONFIG_INVALID",
      /It is no Sentinel: write redis:\/\/host:port\.$/,
    );
    await plain.stop();
    await failsWith(
      connect("writing", `redis+sentinel://127.0.0.1:${await freePort()}/x`).send(["get", "x"]),
      "STORE_UNAVAILABLE",
      /ECONNREFUSED/,
    );
  });

  it("reads its URL exactly", () => {
    assert.deepEqual(parseRedisUrl("rediss+sentinel://u:p%40@a,b:2/my%20m/3?sentinel=s:q"), {
      kind: "sentinel",
      name: "my m",
      urlStart: "rediss://u:p%40@",
      urlEnd: "/3",
      sentinelUrlStart: "rediss://s:q@",
      sentinels: ["a:26379", "b:2"],
    });
    const name = /which ends with the master's name/;
    for (const [url, message] of [
      ["redis+sentinel://u:hunter2@a:1", name],
      ["redis+sentinel://u:hunter2@a:1/", name],
      ["redis+sentinel://u:hunter2@a:1/m/x", name],
      ["redis+sentinel://u:hunter2@a:1/m?db=1", name],
      ["redis+sentinel://u:hunter2@a:1,,b:2/m", /host that is empty/],
      ["redis+sentinel://u:hunter2@a:x/m", /cannot be parsed/],
      ["redis+sentinel://u:hunter2@a:1/%ZZ", /a master's name that is not percent-encoded/],
    ] as const)
      assert.throws(
        () => parseRedisUrl(url),
        ({ code, message: text }: { code: string; message: string }) =>
          code === "CONFIG_INVALID" && message.test(text) && !text.includes("hunter2"),
        url,
      );
  });
});
