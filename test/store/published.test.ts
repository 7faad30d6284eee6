import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { interval } from "../../engine/calendar/interval.ts";
import type { ErrorCode } from "../../engine/errors.ts";
import { createKeys, pointerFields } from "../../store/keys.ts";
import { createLedger, type Ledger } from "../../store/ledger.ts";
import type { Namespace } from "../../store/namespace.ts";
import { createOnlineStore, type OnlineStore } from "../../store/online-store.ts";
import type { PublishCommit } from "../../store/published.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { readRunId } from "../../store/redis/run-id.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { failsWith } from "../support/fails-with.ts";
import { readHash } from "../support/redis/dump-store.ts";
import { patient, randomPrefix, type RedisServer, startRedis } from "../support/redis/server.ts";

const view = "users";
const fingerprint = "ab12";
const set = "5e";
const { endMs } = interval("2026-01-01", "2026-01-02");

describe("what is published", () => {
  let server: RedisServer;
  let client: Redis;
  let connection: RedisConnection;
  let redisRunId: string;
  before(async () => {
    server = await startRedis();
    client = new Redis(server.url, { protocol: 2 });
    connection = connectRedis(server.url, "writing", patient);
    redisRunId = await readRunId(connection);
  });
  after(async () => {
    await connection.close();
    client.disconnect();
    await server.stop();
  });

  let prefix: string;
  let ledger: Ledger;
  let store: OnlineStore;
  let namespace: Namespace;
  const table = { view, kind: "entities", fingerprint, columns: [] } as const;
  beforeEach(async () => {
    prefix = randomPrefix();
    ledger = createLedger(connection, { prefix });
    store = createOnlineStore(connection, { prefix });
    namespace = await store.openNamespace(table, { buckets: 1 });
  });

  const begin = (least = 1) => ledger.beginPublish(view, fingerprint, least);
  const commitOf = (generation: number, given: Partial<PublishCommit> = {}): PublishCommit => ({
    namespace,
    redisRunId,
    published: {
      generation,
      endMs,
      whole: { generation, endMs },
      covered: true,
      frozen: null,
    },
    snapshot: {
      id: `s${generation}`,
      aggregatesFingerprint: set,
      asOfMs: endMs,
      body: `{"n": ${generation}}`,
    },
    ...given,
  });
  async function pointers(aggregatesFingerprint = set) {
    const [found] = await ledger.readPointers([{ view, fingerprint, aggregatesFingerprint }]);
    assert.ok(found);
    return found;
  }
  /** The bytes of pointers and snapshots, both of which a publish moves. */
  async function bytes() {
    const keys = createKeys(prefix);
    const hashes = [keys.pointers(view), keys.snapshots(view)];
    return Promise.all(hashes.map((key) => readHash(client, key)));
  }
  /** A commit that fails, and moves nothing by it. */
  async function refused(commit: PublishCommit, code: ErrorCode, message: RegExp): Promise<void> {
    const before = await bytes();
    const error = await failsWith(ledger.commitPublish(commit), code, message);
    assert.match(error.message, /view "users"/);
    assert.deepEqual(await bytes(), before);
  }

  it("begins under a generation of its own, above all that are known", async () => {
    assert.deepEqual([await begin(), await begin(), await begin(7), await begin(3)], [1, 2, 7, 8]);
    const at = Promise.all(Array.from({ length: 20 }, () => begin()));
    assert.equal(new Set(await at).size, 20);
    assert.equal(await ledger.beginPublish(view, "cd", 1), 1);
  });

  it("moves entities and aggregates at once", async () => {
    const published = {
      generation: await begin(),
      endMs,
      whole: { generation: 0, endMs: -1 },
      covered: false,
      frozen: 'a "reason", é',
    };
    const body = '{ "id" : "s1", "é": 1 }';
    const snapshot = { id: "s1", aggregatesFingerprint: set, asOfMs: endMs, body };
    await ledger.commitPublish({ namespace, redisRunId, published, snapshot });
    const latest = { id: "s1", asOfMs: endMs, body };
    assert.deepEqual(await pointers(), { namespace, published, latest, revision: "0" });
    assert.equal(await ledger.readSnapshot(view, "s1"), body);
    assert.deepEqual((await ledger.readLedger(view, fingerprint)).published, published);
  });

  it("may go back to an earlier end, with the aggregates of then", async () => {
    await ledger.commitPublish(commitOf(await begin()));
    const before = commitOf(await begin());
    const published = { ...before.published, endMs: endMs - 1000 };
    const snapshot = before.snapshot && { ...before.snapshot, asOfMs: endMs - 1000 };
    await ledger.commitPublish({ ...before, published, snapshot });
    const found = await pointers();
    assert.deepEqual([found.published?.endMs, found.latest?.id], [endMs - 1000, "s2"]);
  });

  it("leaves the snapshot of before where it has none, and those of other sets", async () => {
    await ledger.commitPublish(commitOf(await begin()));
    await ledger.commitPublish(commitOf(await begin(), { snapshot: undefined }));
    const found = await pointers();
    assert.deepEqual([found.published?.generation, found.latest?.id], [2, "s1"]);
    const { snapshot, ...other } = commitOf(await begin());
    const own = snapshot && { ...snapshot, aggregatesFingerprint: "5f" };
    await ledger.commitPublish({ ...other, snapshot: own });
    assert.equal((await pointers()).latest?.id, "s1");
    assert.equal((await pointers("5f")).latest?.id, "s3");
  });

  it("may be repeated, to the same bytes", async () => {
    const commit = commitOf(await begin());
    await ledger.commitPublish(commit);
    const before = await bytes();
    await ledger.commitPublish(commit);
    assert.deepEqual(await bytes(), before);
  });

  it("does not move for a publish after which another has begun", async () => {
    const older = commitOf(await begin());
    const newer = commitOf(await begin());
    await refused(older, "FENCED", /publish 1: a later publish has begun/);
    await ledger.commitPublish(newer);
    await refused(older, "FENCED", /publish 1/);
    assert.equal((await pointers()).published?.generation, 2);
    // Another definition of the view fences nobody.
    await ledger.beginPublish(view, "cd", 9);
    await ledger.commitPublish(newer);
  });

  it("does not move where Redis knows nothing of the publish", async () => {
    const commit = commitOf(await begin());
    const keys = createKeys(prefix);
    await client.hdel(keys.pointers(view), pointerFields.publishing(fingerprint));
    await refused(commit, "STORE_LOST", /publish 1: Redis does not know of it/);
    // A copy from before is behind.
    await begin();
    await refused(commitOf(2), "STORE_LOST", /publish 2/);
  });

  it("does not move for entities of a table that began anew, or is not ready", async () => {
    const commit = commitOf(await begin());
    await store.renewNamespace(table, { buckets: 1 });
    await refused(commit, "STORE_LOST", /does not know of it/);
    [namespace] = (await store.listNamespaces(view)) as [Namespace];
    const field = pointerFields.table(fingerprint);
    await client.hset(createKeys(prefix).pointers(view), field, `1 ${namespace.epoch} new`);
    await refused(commitOf(1), "STORE_LOST", /does not know of it/);
  });

  it("never overwrites a snapshot", async () => {
    const { snapshot, ...first } = commitOf(await begin());
    await ledger.commitPublish({ ...first, snapshot });
    const next = commitOf(await begin());
    const other = { ...next, snapshot: snapshot && { ...snapshot, body: "other" } };
    await refused(other, "INTERNAL", /snapshot s1 exists with another body/);
    await ledger.commitPublish({ ...next, snapshot });
    assert.equal((await pointers()).published?.generation, 2);
  });

  it("refuses a snapshot that could not be read back", async () => {
    const { snapshot, ...commit } = commitOf(await begin());
    assert.ok(snapshot);
    for (const wrong of [{ id: "" }, { id: "a b" }, { asOfMs: 0.5 }])
      await failsWith(
        ledger.commitPublish({ ...commit, snapshot: { ...snapshot, ...wrong } }),
        "INTERNAL",
      );
    assert.equal((await pointers()).published, null);
  });

  it("is STORE_LOST where it is malformed", async () => {
    const field = pointerFields.published(fingerprint);
    for (const text of ["", "{}", "5", "[1,"]) {
      await client.hset(createKeys(prefix).pointers(view), field, text);
      await failsWith(pointers(), "STORE_LOST", /view "users": .* malformed/);
    }
  });

  it("does not move for entities that another process of Redis was given", async () => {
    const commit = commitOf(await begin());
    const other = "0".repeat(40);
    await refused({ ...commit, redisRunId: other }, "STORE_RESTARTED", /publish 1.* restarted/);
    // Of a Cluster, one of the masters.
    await ledger.commitPublish({ ...commit, redisRunId: `${other},${redisRunId}` });
  });

  it("does not move where Redis restarted in between, though it lost nothing", async () => {
    const args = ["--appendonly", "yes", "--appendfsync", "always"];
    const first = await startRedis({ args });
    const own = connectRedis(first.url, "writing", patient);
    let second: RedisServer | undefined;
    try {
      namespace = await createOnlineStore(own, { prefix }).openNamespace(table, { buckets: 1 });
      const durable = createLedger(own, { prefix });
      const generation = await durable.beginPublish(view, fingerprint, 1);
      const commit = commitOf(generation, { redisRunId: await readRunId(own) });
      await first.kill();
      second = await startRedis({ port: first.port, args: [...args, "--dir", first.directory] });
      await failsWith(durable.commitPublish(commit), "STORE_RESTARTED", /publish 1/);
      const entry = await durable.readLedger(view, fingerprint);
      assert.deepEqual([entry.namespace, entry.published], [namespace, null]);
      await durable.commitPublish({ ...commit, redisRunId: await readRunId(own) });
      assert.equal((await durable.readLedger(view, fingerprint)).published?.generation, 1);
    } finally {
      await own.close();
      await second?.stop();
      await first.stop();
    }
  });
});
