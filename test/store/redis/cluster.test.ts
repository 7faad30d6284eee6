import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { OnceflowError } from "../../../engine/errors.ts";
import { createKeys } from "../../../store/keys.ts";
import { createLedger } from "../../../store/ledger.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import type { RedisConnection, RedisDeadlines, RedisRole } from "../../../store/redis/types.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { hashSlotOf } from "../../../store/redis/hash-slot.ts";
import { isSameRun, readRunId } from "../../../store/redis/run-id.ts";
import { planSweep, sweep } from "../../../store/sweep.ts";
import { dumpStore } from "../../support/redis/dump-store.ts";
import { failsAtOnce, failsWith } from "../../support/fails-with.ts";
import {
  commitDay,
  entities,
  markOf,
  readEntities,
  rowsOf,
  rowsPerBatch,
  set,
  stored,
  writeBatch,
} from "../../support/redis/numbered-writes.ts";
import type { DecodedRow } from "../../support/redis/read-rows.ts";
import type { RedisServer } from "../../support/redis/server.ts";
import { patient, randomPrefix, startRedis } from "../../support/redis/server.ts";
import type { ClusterNode, TestCluster } from "../../support/redis/cluster.ts";
import { startCluster } from "../../support/redis/cluster.ts";
import { startTcpProxy } from "../../support/redis/tcp-proxy.ts";
import { until } from "../../support/until.ts";

/** By the publish, and within one by the event time. */
const isOlder = (a: DecodedRow, b: DecodedRow) =>
  a.generation < b.generation || (a.generation === b.generation && a.eventTimeUs < b.eventTimeUs);

describe("redis cluster", function () {
  // A node writes its configuration to disk for every few slots that move, and waits for the disk.
  this.timeout(900_000);

  let cluster: TestCluster;
  let single: RedisServer;
  let singleClient: Redis;
  const connections: RedisConnection[] = [];
  const connect = (
    role: RedisRole = "writing",
    url = cluster.url,
    deadlines: Partial<RedisDeadlines> = patient,
  ) => {
    const connection = connectRedis(url, role, deadlines);
    connections.push(connection);
    return connection;
  };
  /** With the deadlines that it has in service. */
  const connectService = () =>
    connect("serving", cluster.url, { connectTimeoutMs: patient.connectTimeoutMs });
  let prefix: string;

  before(async () => {
    [cluster, single] = await Promise.all([startCluster(), startRedis()]);
    singleClient = new Redis(single.url, { protocol: 2 });
  });
  beforeEach(() => {
    prefix = randomPrefix();
  });
  afterEach(() => Promise.all(connections.splice(0).map((connection) => connection.close())));
  after(async () => {
    singleClient.disconnect();
    await Promise.all([cluster.stop(), single.stop()]);
  });

  const open = (redis: RedisConnection, buckets: number) =>
    createOnlineStore(redis, { prefix }).openNamespace(stored, { buckets });
  /** What one Redis holds after the same writes and commits, in their order. */
  async function dumpOfOne(batches: readonly number[], days: number, buckets: number) {
    const redis = connect("writing", single.url);
    const namespace = await open(redis, buckets);
    for (const batch of batches) await writeBatch(redis, prefix, namespace, batch);
    for (let n = 0; n < days; n++) await commitDay(redis, prefix, n);
    return dumpStore(singleClient, prefix);
  }

  it("knows the slot of every key as Redis does", async () => {
    const [{ client }] = cluster.nodes as [ClusterNode];
    const keys = [
      "",
      "{}",
      "{}{a}",
      "{a}b",
      "b{a}",
      "{a",
      "a}",
      "}{a}",
      "{{a}}",
      "{a}{b}",
      "é{😀}",
    ];
    for (let i = 0; i < 200; i++) keys.push(createKeys().bucket("users", "ab12", i, i + 7));
    for (const key of keys)
      assert.equal(hashSlotOf(key), await client.cluster("KEYSLOT", key), key);
  });

  it("holds rows and ledger as one Redis does, and gives them back", async () => {
    const [writing, serving] = [connect(), connect("serving")];
    const namespace = await open(writing, 2048);
    const batches = Array.from({ length: 20 }, (_, i) => i);
    for (const batch of batches) {
      // No node may rely on a script that it was given before.
      if (batch === 10) for (const { client } of cluster.nodes) await client.script("FLUSH");
      await writeBatch(writing, prefix, namespace, batch);
    }
    for (let n = 0; n < 3; n++) await commitDay(writing, prefix, n);

    await serving.ready();
    const found = (
      await Promise.all(
        Array.from({ length: entities / 50 }, (_, i) =>
          readEntities(serving, prefix, namespace, i * 50),
        ),
      )
    ).flat();
    const newest = new Map<string, string>();
    const rank = (batch: number, { eventTimeUs, ordinal }: ReturnType<typeof rowsOf>[number]) =>
      markOf(batch).generation * 1_000 + eventTimeUs * 10 + ordinal;
    const best = new Map<string, number>();
    for (const batch of batches)
      for (const row of rowsOf(batch)) {
        const held = best.get(row.entity) ?? -1;
        if (rank(batch, row) < held) continue;
        // Of a full tie the bytes decide, which the comparison with one Redis covers.
        if (rank(batch, row) === held) newest.delete(row.entity);
        else newest.set(row.entity, row.text);
        best.set(row.entity, rank(batch, row));
      }
    assert.ok(newest.size > 2_000, "too few rows are certain");
    for (const [entity, text] of newest)
      assert.equal(found[Number(entity.slice(5))]?.values[0], text, entity);
    const [pointers] = await createLedger(serving, { prefix }).readPointers([
      { ...stored, aggregatesFingerprint: set },
    ]);
    assert.equal(pointers?.latest?.body, '{"n":2}');

    const report = await createOnlineStore(writing, { prefix }).verifyNamespace(namespace, {
      memory: true,
    });
    assert.deepEqual([report.present, report.missing, report.rows], [2048, 0, best.size]);
    for (const { client } of cluster.nodes) {
      const [, keys] = await client.scan("0", "MATCH", `${prefix}:entities:*`, "COUNT", 100_000);
      assert.ok(keys.length > 300, "a master has too few buckets");
    }
    assert.equal(await cluster.dump(prefix), await dumpOfOne(batches, 3, 2048));
  });

  it("shows no error while thousands of slots move, some to a new master, and loses nothing", async () => {
    const setup = connect();
    let joins = 0;
    setup.onReconnect(() => joins++);
    const namespace = await open(setup, 2048);
    await writeBatch(setup, prefix, namespace, 0, entities * 3);
    await commitDay(setup, prefix, 0);
    const keys = createKeys(prefix);
    const ledgerSlot = hashSlotOf(keys.pointers(stored.view));
    const bucketSlots = new Set(
      Array.from({ length: 1024 }, (_, i) => hashSlotOf(keys.shard("users", "ab12", i))),
    );
    const from = await cluster.ownerOf(ledgerSlot);
    const [near] = cluster.nodes.filter((node) => node !== from) as [ClusterNode];
    const runId = await readRunId(setup);

    const control = { isMoving: true };
    const batches: number[] = [0];
    let days = 1;
    let reads = 0;
    let nextBatch = 1;
    const writer = async () => {
      const redis = connect();
      while (control.isMoving) {
        const batch = nextBatch++;
        batches.push(batch);
        await writeBatch(redis, prefix, namespace, batch);
      }
    };
    const reader = async () => {
      const redis = connect("serving");
      await redis.ready();
      const seen = new Map<number, DecodedRow>();
      for (let at = 0; control.isMoving; at = (at + 50) % entities) {
        const rows = await readEntities(redis, prefix, namespace, at);
        rows.forEach((row, i) => {
          const place = (at + i) % entities;
          const before = seen.get(place);
          if (before !== undefined) assert.ok(row && !isOlder(row, before), `user-${place}`);
          if (row) seen.set(place, row);
        });
        reads++;
      }
    };
    // Unlike rows, a count tells what was carried out twice.
    const counters = Array.from({ length: 200 }, (_, i) => `${prefix}-count:${i}`);
    let counts = 0;
    const counter = async () => {
      const redis = connect();
      for (; control.isMoving; counts++)
        await redis.pipeline(counters.map((key) => ["incr", key] as const));
    };
    const committer = async () => {
      const redis = connect();
      while (control.isMoving) await commitDay(redis, prefix, days++);
    };
    /** Holds a slot half moved until a node has refused a command for it. */
    const awaitRefusal = async (error: "ASK" | "TRYAGAIN") => {
      const before = await cluster.refusals(error);
      await until(`a node says ${error}`, async () => (await cluster.refusals(error)) > before);
    };
    const mover = async () => {
      try {
        const joined = await cluster.join();
        const slots = (await cluster.slotsOf(from)).filter((slot) => slot !== ledgerSlot);
        slots.splice(3_000);
        slots.splice(1_000, 0, ledgerSlot);
        const held = new Set(slots.filter((slot) => bucketSlots.has(slot)).slice(0, 4));
        const during = async (slot: number, moved: number) => {
          if (slot === ledgerSlot && moved === 2) await awaitRefusal("TRYAGAIN");
          if (held.has(slot) && moved === 1) await awaitRefusal("ASK");
        };
        for (let i = 0; i < slots.length; i += 200)
          await Promise.all([
            cluster.moveSlots(slots.slice(i, i + 100), { from, to: near, during }),
            cluster.moveSlots(slots.slice(i + 100, i + 200), { from, to: joined, during }),
          ]);
        assert.ok(slots.filter((slot) => bucketSlots.has(slot)).length > 100, "few buckets moved");
      } finally {
        control.isMoving = false;
      }
    };
    await Promise.all([mover(), committer(), counter(), reader(), writer(), writer()]);

    for (const error of ["MOVED", "ASK", "TRYAGAIN"] as const)
      assert.ok((await cluster.refusals(error)) > 0, `no node said ${error}`);
    assert.ok(batches.length > 20 && days > 5 && reads > 20, "little was done meanwhile");
    assert.ok(!isSameRun(runId, await readRunId(setup)), "the new master is not asked");
    assert.equal(joins, 1);
    const counted = await setup.pipeline(counters.map((key) => ["get", key] as const));
    assert.deepEqual(new Set(counted.map(String)), new Set([`${counts}`]));
    assert.notEqual(await cluster.ownerOf(ledgerSlot), from);
    const [big, ...small] = batches;
    assert.equal(big, 0);
    const redis = connect("writing", single.url);
    const alone = await open(redis, 2048);
    await writeBatch(redis, prefix, alone, 0, entities * 3);
    assert.equal(await cluster.dump(prefix), await dumpOfOne(small, days, 2048));
  });

  it("begins a namespace anew whose slot is moving, and reads and writes it meanwhile", async () => {
    const redis = connect();
    const store = createOnlineStore(redis, { prefix });
    const old = await open(redis, 1);
    await writeBatch(redis, prefix, old, 1);
    const slot = hashSlotOf(createKeys(prefix).shard("users", "ab12", 0));
    const from = await cluster.ownerOf(slot);
    const [to] = cluster.nodes.filter((node) => node !== from) as [ClusterNode];
    // The connection has used its scripts there.
    await createOnlineStore(redis, { prefix }).openNamespace(
      { ...stored, fingerprint: "cd34" },
      { buckets: 64 },
    );
    const during = async (_: number, moved: number) => {
      if (moved > 0) return;
      await to.client.script("FLUSH");
      const reset = { buckets: 1, aggregates: [], aggregatesFingerprint: set };
      const fresh = await store.resetNamespace(stored, reset);
      await writeBatch(redis, prefix, fresh, 2);
      await failsWith(writeBatch(redis, prefix, old, 3), "STORE_LOST");
      const found = await readEntities(redis, prefix, fresh);
      assert.notEqual(found.filter((row) => row !== null).length, 0);
    };
    await cluster.moveSlots([slot], { from, to, during });
    assert.equal((await store.verifyNamespace(await open(redis, 1))).rows, rowsPerBatch);
  });

  it("learns of all slots that have moved from one that has", async () => {
    const redis = connect("serving");
    await redis.ready();
    const from = cluster.nodes[2] as ClusterNode;
    // No request may be refused since the connection to a new node is not there yet.
    const to = await cluster.join();
    const slots = (await cluster.slotsOf(from)).slice(0, 1_000);
    const moved = new Set(slots);
    await cluster.moveSlots(slots, { from, to });
    const keys = Array.from({ length: 2_000 }, (_, i) => `${prefix}:${i}`).filter((key) =>
      moved.has(hashSlotOf(key)),
    );
    const before = await cluster.refusals("MOVED");
    await until("a command is not refused", async () => {
      const refusals = await cluster.refusals("MOVED");
      await redis.send(["get", keys.pop() ?? assert.fail("each slot was refused once")]);
      return (await cluster.refusals("MOVED")) === refusals;
    });
    assert.notEqual(await cluster.refusals("MOVED"), before);
  });

  it("waits for a slot that has no node, and gives one up that stays half moved", async () => {
    const [redis, serving] = [connect(), connectService()];
    await serving.ready();
    await open(redis, 1);
    await commitDay(redis, prefix, 0);
    const keys = createKeys(prefix);
    const slot = hashSlotOf(keys.pointers("users"));
    const from = await cluster.ownerOf(slot);
    const [to] = cluster.nodes.filter((node) => node !== from) as [ClusterNode];
    const hashes = [keys.pointers("users"), keys.snapshots("users")];
    const during = async (_: number, moved: number) => {
      if (moved !== 3) return;
      const all = [keys.coverage("users", "ab12"), keys.generations("users", "ab12")];
      all.push(keys.begun("users", "ab12"), keys.states("users", "aa"));
      const read = () => serving.send(["readHashes", 2 + all.length, ...hashes, ...all]);
      // The deadline may end it before a last refusal has come.
      await until("it says why", async () =>
        /TRYAGAIN.*Cluster is moving/.test((await failsWith(read(), "STORE_UNAVAILABLE")).message),
      );
    };
    await cluster.moveSlots([slot], { from, to, during });

    await to.client.cluster("DELSLOTS", slot);
    const refused = await cluster.refusals("CLUSTERDOWN");
    const committed = commitDay(redis, prefix, 1);
    await until("a node is down", async () => (await cluster.refusals("CLUSTERDOWN")) > refused);
    await to.client.cluster("ADDSLOTS", slot);
    await committed;
    await cluster.untilOk();
  });

  it("asks every master what names no key", async () => {
    const redis = connect();
    await redis.assertNoEviction();
    await redis.assertClock();
    const evicting = cluster.nodes[2] as ClusterNode;
    await evicting.client.config("SET", "maxmemory-policy", "allkeys-lru");
    await failsWith(
      redis.assertNoEviction(),
      "STORE_EVICTS",
      new RegExp(`127.0.0.1:${evicting.port} has maxmemory-policy allkeys-lru`),
    );
    await evicting.client.config("SET", "maxmemory-policy", "noeviction");
    const { now } = Date;
    try {
      Date.now = () => now() + 300_000;
      await failsWith(redis.assertClock(), "CLOCK_SKEW");
    } finally {
      Date.now = now;
    }
    await failsWith(redis.send(["ping"]), "INTERNAL", /masters\(\)/);
    await failsWith(redis.send(["info", "server"]), "INTERNAL", /masters\(\)/);
  });

  it("sweeps the rows of all masters", async () => {
    const redis = connect();
    const namespace = await open(redis, 256);
    await writeBatch(redis, prefix, namespace, 1);
    await commitDay(redis, prefix, 0);
    const plan = await planSweep(
      redis,
      { kept: [], olderThanMs: 0, nowMs: Date.now() },
      { prefix },
    );
    assert.equal(plan.leftovers[0]?.rows, rowsPerBatch);
    await sweep(redis, plan, { prefix });
    const left = (await cluster.dump(prefix)).match(/^\S+/gm);
    assert.deepEqual(left, ["{users}:generations:ab12", "{users}:pointers"]);
  });

  it("notices a master that restarts, and no other change of the slots", async () => {
    const redis = connect();
    let reconnects = 0;
    redis.onReconnect(() => reconnects++);
    const namespace = await open(redis, 256);
    const before = await readRunId(redis);
    const slot = hashSlotOf(createKeys(prefix).shard("users", "ab12", 0));
    const from = await cluster.ownerOf(slot);
    const [to] = cluster.nodes.filter((node) => node !== from) as [ClusterNode];
    await cluster.moveSlots([slot], { from, to });
    assert.equal(await readRunId(redis), before);
    assert.equal(isSameRun(before, before.split(",").slice(1).join(",")), true);
    await to.restart();
    await until("the connection is back", () => reconnects > 0);
    assert.equal(isSameRun(before, await readRunId(redis)), false);
    await failsWith(writeBatch(redis, prefix, namespace, 1), "STORE_LOST");
  });

  it("answers within the deadline while a master hangs, and recovers", async () => {
    const serving = connectService();
    await serving.ready();
    const hung = cluster.nodes[1] as ClusterNode;
    const key = await keyOf(hung);
    await hung.client.set(key, "1");
    hung.signal("SIGSTOP");
    // By its own deadline, before the silence of the node is noticed.
    await failsWith(serving.send(["get", key]), "STORE_UNAVAILABLE", /Command timed out/);
    hung.signal("SIGCONT");
    const isBack = () =>
      serving.send(["get", key]).then(
        (reply) => String(reply) === "1",
        () => false,
      );
    await until("it answers again", isBack);
  });

  /** A key whose slot a node has. */
  async function keyOf(node: ClusterNode): Promise<string> {
    for (let i = 0; ; i++) {
      const key = `${prefix}:${i}`;
      if ((await cluster.ownerOf(hashSlotOf(key))) === node) return key;
    }
  }

  it("says CONFIG_INVALID for a URL of the wrong kind or form, and never shows a password", async () => {
    const [first] = cluster.nodes as [ClusterNode];
    const asOne = connect("serving", `redis://127.0.0.1:${first.port}`);
    await failsWith(asOne.ready(), "CONFIG_INVALID", /node of a Cluster.*redis\+cluster:\/\//);
    const [, other] = cluster.nodes as [ClusterNode, ClusterNode];
    const key = await keyOf(other);
    await failsWith(asOne.send(["get", key]), "CONFIG_INVALID", /MOVED.*redis\+cluster:\/\//);
    const asMany = connect("writing", single.url.replace("redis:", "redis+cluster:"));
    for (const failed of [asMany.ready(), asMany.send(["get", key]), asMany.masters()])
      await failsWith(failed, "CONFIG_INVALID", /no Cluster.*redis:\/\/host/);

    const wrong = cluster.url.replace("//", "//someone:hunter2@");
    for (const role of ["serving", "writing"] as const) {
      const error = await connect(role, wrong)
        .ready()
        .catch((thrown: unknown) => thrown);
      assert.ok(error instanceof OnceflowError, String(error));
      assert.equal(error.code, "CONFIG_INVALID");
      assert.match(error.message, /WRONGPASS/);
      assert.doesNotMatch(JSON.stringify(error) + error.stack, /hunter2/);
    }
    for (const url of [
      "redis+cluster://",
      "redis+cluster://u:hunter2@",
      "redis+cluster://u:hunter2@a:1,b:x",
      "redis+cluster://u:hunter2@a:1/2",
      "redis+cluster://u:hunter2@a:1,,b:2",
      "redis+sentinel://u:hunter2@a:1",
      "redis://u:hunter2@a:1,b:2",
    ])
      assert.throws(
        () => connectRedis(url, "serving"),
        (error: OnceflowError) =>
          error.code === "CONFIG_INVALID" && !error.message.includes("hunter2"),
        url,
      );
  });

  it("connects with a user and password, by any node that answers", async () => {
    for (const { client } of cluster.nodes)
      await client.acl("SETUSER", "app", "on", ">s@cret", "~*", "+@all");
    const closed = await startRedis();
    await closed.stop();
    const url = cluster.url.replace("//", `//app:s%40cret@127.0.0.1:${closed.port},`);
    for (const role of ["serving", "writing"] as const) {
      const redis = connect(role, url);
      await redis.ready();
      const keys = Array.from({ length: 100 }, (_, i) => `${prefix}:${i}`);
      await redis.pipeline(keys.map((key, i) => ["set", key, i] as const));
      const replies = await redis.pipeline(keys.map((key) => ["get", key] as const));
      assert.deepEqual(
        replies.map(String),
        keys.map((_, i) => `${i}`),
      );
    }
  });

  it("opens no connection once it is closed, whatever is under way", async () => {
    // Its own name is not the one that the Cluster has for it, so it goes once the table is read.
    const proxy = await startTcpProxy(cluster.nodes[0]?.port ?? 0);
    const url = `redis+cluster://127.0.0.1:${proxy.port}`;
    const { connectTimeoutMs } = patient;
    const serving = connectRedis(url, "serving", { connectTimeoutMs });
    await serving.ready();
    assert.equal(proxy.made(), 1);
    for (const node of cluster.nodes) node.signal("SIGSTOP");
    try {
      const asked = serving.masters();
      await Promise.all([failsWith(asked, "STORE_UNAVAILABLE"), serving.close()]);
    } finally {
      for (const node of cluster.nodes) node.signal("SIGCONT");
    }
    assert.equal(proxy.made(), 1);
    await proxy.stop();
    await cluster.untilOk();
  });

  it("says STORE_UNAVAILABLE where no node listens", async () => {
    const closed = await startRedis();
    await closed.stop();
    const serving = connect("serving", `redis+cluster://127.0.0.1:${closed.port}`, {});
    await failsAtOnce(serving.send(["get", "x"]), "STORE_UNAVAILABLE");
    await failsWith(serving.ready(), "STORE_UNAVAILABLE", /ECONNREFUSED/);
  });
});
