import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { interval } from "../../engine/calendar/interval.ts";
import type { Value } from "../../engine/language/dtypes.ts";
import type { StoredTable } from "../../store/namespace.ts";
import type { Column } from "../../store/rows/column-data.ts";
import { columnsOfRows, utf8OfTexts } from "../../store/rows/column-data.ts";
import { encodeEntityKey } from "../../store/rows/entity-key.ts";
import { createKeys } from "../../store/keys.ts";
import { createLedger } from "../../store/ledger.ts";
import type { Namespace } from "../../store/namespace.ts";
import { chooseBuckets } from "../../store/namespace.ts";
import type { OnlineStore } from "../../store/online-store.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { readRunId } from "../../store/redis/run-id.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { createRowCodec } from "../../store/rows/codec.ts";
import type { WriteCounts } from "../../store/rows/writer.ts";
import { type Mark, type Version, versionBytes } from "../../store/rows/version.ts";
import type { TestRedis } from "../support/redis/server.ts";
import { randomPrefix, scanKeys, testRedis } from "../support/redis/server.ts";
import { readDecoded } from "../support/redis/read-rows.ts";

const columns: Column[] = [
  { name: "text", dtype: "string" },
  { name: "n", dtype: "int64" },
];
const codec = createRowCodec(columns);
const readAll = codec.decoder(["text", "n"]);
/** A first publish. */
const first = { generation: 1, endMs: 0 };

describe("online store", () => {
  let redis: TestRedis;
  let client: Redis;
  let connection: RedisConnection;
  let store: OnlineStore;
  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url, { protocol: 2 });
    connection = connectRedis(redis.url, "writing");
    store = createOnlineStore(connection, { prefix: redis.prefix });
  });
  after(async () => {
    await connection.close();
    await client.quit();
    await redis.stop();
  });

  let views = 0;
  const newView = (): StoredTable => ({
    view: `view_${++views}`,
    kind: "entities",
    fingerprint: "ab12",
    columns,
  });
  const open = (buckets = 4) => store.openNamespace(newView(), { buckets });

  interface Row extends Version {
    readonly key: readonly string[];
    readonly values: readonly Value[];
  }
  function write(namespace: Namespace, rows: readonly Row[], into = store): Promise<WriteCounts> {
    return into.writeRows(namespace, {
      codec,
      count: rows.length,
      keys: (rows[0]?.key ?? [""]).map((_, i) => rows.map(({ key }) => key[i] ?? "")),
      columns: columnsOfRows(
        columns,
        rows.map(({ values }) => values),
      ),
      eventTimesUs: (row) => rows[row]?.eventTimeUs ?? 0,
      mark: rows[0] ?? { generation: 0, endMs: 0 },
      ordinals: (row) => rows[row]?.ordinal ?? 0,
    });
  }
  async function read(namespace: Namespace, keys: readonly (readonly string[])[], least?: Mark) {
    const { rows } = await readDecoded(store, [
      { namespace, keys: keys.map(encodeEntityKey), decode: readAll, least },
    ]);
    return rows[0];
  }
  const row = (key: string, text: string, version: Partial<Version> = {}): Row => ({
    ...first,
    eventTimeUs: 1,
    ordinal: 0,
    ...version,
    key: [key],
    values: [text, text.length],
  });

  it("gives back the rows that were written, and null for others", async () => {
    const namespace = await open();
    const far = 2n ** 62n;
    const counts = await write(namespace, [row("a", "x"), row("", "yy", { eventTimeUs: far })]);
    assert.deepEqual(counts, { read: 2, written: 2, superseded: 0 });
    assert.deepEqual(await read(namespace, [["b"], ["a"], [""], ["a"]]), [
      null,
      { eventTimeUs: 1, generation: 1, values: ["x", 1] },
      { eventTimeUs: far, generation: 1, values: ["yy", 2] },
      { eventTimeUs: 1, generation: 1, values: ["x", 1] },
    ]);
  });

  it("reads several views in one round trip and counts the bytes", async () => {
    const [one, two] = [await open(), await open()];
    await write(one, [row("a", "first")]);
    await write(two, [row("a", "second")]);
    const only = codec.decoder(["n"]);
    const { rows, bytes } = await readDecoded(store, [
      { namespace: one, keys: [encodeEntityKey(["a"])], decode: readAll },
      { namespace: two, keys: ["a", "b"].map((key) => encodeEntityKey([key])), decode: only },
    ]);
    assert.deepEqual(
      rows.map((found) => found.map((stored) => stored?.values ?? null)),
      [[["first", 5]], [[6], null]],
    );
    assert.equal(bytes, 2 * versionBytes + (2 + 6 + 1) + (2 + 7 + 1));
    assert.deepEqual(await store.readRows([]), { rows: [], bytes: 0 });
  });

  it("keeps entities apart whose keys are awkward", async () => {
    const namespace = await open(2);
    const keys = ["", "{}", "{view_1}", "a:b", "\0", "__proto__", "constructor", "😀", "é"];
    await write(
      namespace,
      keys.map((key, ordinal) => row(key, `of ${key}`, { ordinal })),
    );
    const found = await read(
      namespace,
      keys.map((key) => [key]),
    );
    assert.deepEqual(
      found?.map((stored) => stored?.values[0]),
      keys.map((key) => `of ${key}`),
    );
  });

  it("prefers the later publish, then its end, event time, ordinal and the greater bytes", async () => {
    const namespace = await open();
    const rising = [
      row("k", "z", { generation: 1, endMs: 1000, eventTimeUs: 2n ** 62n, ordinal: 9 }),
      row("k", "y", { generation: 2, endMs: -1000, eventTimeUs: 5, ordinal: 9 }),
      row("k", "x", { generation: 256, endMs: -(2 ** 44), eventTimeUs: 5 }),
      row("k", "w", { generation: 256, endMs: -256, eventTimeUs: 5 }),
      row("k", "v", { generation: 256, endMs: 2 ** 32 - 1, eventTimeUs: 5 }),
      row("k", "u", { generation: 256, endMs: 2 ** 32, eventTimeUs: -(2n ** 62n), ordinal: 9 }),
      row("k", "t", { generation: 256, endMs: 2 ** 32, eventTimeUs: -256 }),
      row("k", "s", { generation: 256, endMs: 2 ** 32, eventTimeUs: 2 ** 32 - 1 }),
      row("k", "r", { generation: 256, endMs: 2 ** 32, eventTimeUs: 2 ** 32 }),
      row("k", "q", { generation: 256, endMs: 2 ** 32, eventTimeUs: 2 ** 32, ordinal: 255 }),
      row("k", "p", { generation: 256, endMs: 2 ** 32, eventTimeUs: 2 ** 32, ordinal: 2 ** 40 }),
      row("k", "p\u00ff", {
        generation: 256,
        endMs: 2 ** 32,
        eventTimeUs: 2 ** 32,
        ordinal: 2 ** 40,
      }),
    ];
    for (const [i, next] of rising.entries()) {
      assert.equal((await write(namespace, [next])).written, 1, `step ${i}`);
      for (const older of rising.slice(0, i + 1))
        assert.deepEqual(await write(namespace, [older]), { read: 1, written: 0, superseded: 1 });
      const [found] = (await read(namespace, [["k"]])) ?? [];
      assert.deepEqual(found?.values[0], next.values[0]);
    }
  });

  it("lets the greater bytes win a full tie, and any row win against a tombstone", async () => {
    const rising: (string | null)[] = [null, "", "a", "b", "\u00ff", "aaaa", "aaab"];
    const version = { ...first, eventTimeUs: 1, ordinal: 0 };
    for (const older of rising)
      for (const newer of rising.slice(rising.indexOf(older) + 1))
        for (const order of [
          [older, newer],
          [newer, older],
        ]) {
          const namespace = await open(1);
          for (const text of order)
            await (text === null
              ? store.deleteRows(namespace, [encodeEntityKey(["k"])], version)
              : write(namespace, [row("k", text, version)]));
          assert.equal((await read(namespace, [["k"]]))?.[0]?.values[0], newer);
        }
  });

  it("keeps only the newest of an entity within a batch", async () => {
    const namespace = await open();
    const rows = [
      row("a", "old", { ordinal: 1 }),
      row("b", "b"),
      row("a", "new", { ordinal: 9 }),
      row("a", "mid", { ordinal: 5 }),
    ];
    assert.deepEqual(await write(namespace, rows), { read: 4, written: 2, superseded: 2 });
    assert.equal((await read(namespace, [["a"]]))?.[0]?.values[0], "new");
  });

  it("writes batches of many rows and calls, and a repeat changes nothing", async () => {
    const namespace = await open(16);
    const count = 30_000;
    const texts = Array.from({ length: count }, (_, i) => `text ${i}`);
    const batch = {
      codec,
      count,
      keys: [Array.from({ length: count }, (_, i) => `entity-${i % 25_000}`)],
      columns: [
        { kind: "utf8", ...utf8OfTexts(texts, "text") },
        { kind: "words", words: new Int32Array(count * 2).fill(1), nulls: new Uint8Array(count) },
      ],
      eventTimesUs: 5,
      mark: first,
      ordinals: 0,
    } as const;
    const counts = { read: count, written: 25_000, superseded: 5_000 };
    assert.deepEqual(await store.writeRows(namespace, batch), counts);
    const again = { read: count, written: 0, superseded: count };
    assert.deepEqual(await store.writeRows(namespace, batch), again);
    const found = await read(namespace, [["entity-0"], ["entity-24999"], ["entity-25000"]]);
    assert.deepEqual(
      found?.map((stored) => stored?.values[0]),
      ["text 25000", "text 24999", undefined],
    );
    const report = await store.verifyNamespace(namespace, { memory: true });
    assert.equal(report.rows, 25_000);
    assert.ok((report.memoryBytes ?? 0) > 25_000 * 40);
  });

  it("takes batches one after the other, and keeps the newest over all of them", async () => {
    const namespace = await open(2);
    async function* batches() {
      for (const [n, text] of ["old", "new", "mid"].entries())
        yield {
          codec,
          count: 5000,
          keys: [Array.from({ length: 5000 }, (_, i) => `entity-${i}`)],
          columns: columnsOfRows(columns, Array<Value[]>(5000).fill([text, n])),
          eventTimesUs: text === "new" ? 2 : 1,
          mark: first,
          ordinals: 0,
        };
    }
    assert.deepEqual(await store.writeRows(namespace, batches()), {
      read: 15_000,
      written: 5000,
      superseded: 10_000,
    });
    const found = await read(namespace, [["entity-0"], ["entity-4999"]]);
    assert.deepEqual(
      found?.map((stored) => stored?.values),
      [
        ["new", 1],
        ["new", 1],
      ],
    );
    async function* broken() {
      yield* batches();
      throw new Error("the file is gone");
    }
    await assert.rejects(store.writeRows(namespace, broken()), /the file is gone/);
  });

  it("remembers a deletion against older rows only", async () => {
    const namespace = await open();
    const key = encodeEntityKey(["a"]);
    await write(namespace, [row("a", "x", { eventTimeUs: 5 })]);
    const at = (eventTimeUs: number) => ({ ...first, eventTimeUs, ordinal: 0 });
    assert.equal((await store.deleteRows(namespace, [key], at(4))).written, 0);
    assert.equal((await store.deleteRows(namespace, [key], at(6))).written, 1);
    assert.equal((await write(namespace, [row("a", "y", { eventTimeUs: 5 })])).written, 0);
    assert.deepEqual(await read(namespace, [["a"]]), [null]);
    assert.equal((await write(namespace, [row("a", "z", { eventTimeUs: 7 })])).written, 1);
    assert.equal((await read(namespace, [["a"]]))?.[0]?.values[0], "z");
  });

  it("hides rows that are older than the last whole publish", async () => {
    const namespace = await open();
    const mark = (generation: number, endMs: number): Mark => ({ generation, endMs });
    await write(namespace, [
      row("a", "late, of an old publish", { ...mark(1, 9), eventTimeUs: 5 }),
    ]);
    await write(namespace, [row("b", "second", { ...mark(2, 1), eventTimeUs: -5 })]);
    await write(namespace, [row("c", "third", mark(3, 1))]);
    const seen = async (head?: Mark) =>
      (await read(namespace, [["a"], ["b"], ["c"]], head))?.map((found) => found !== null);
    assert.deepEqual(await seen(), [true, true, true]);
    assert.deepEqual(await seen(mark(1, 9)), [true, true, true]);
    assert.deepEqual(await seen(mark(1, 10)), [false, true, true]);
    assert.deepEqual(await seen(mark(2, 1)), [false, true, true]);
    assert.deepEqual(await seen(mark(3, -9)), [false, false, true]);
    assert.deepEqual(await seen(mark(3, 2)), [false, false, false]);
  });

  it("begins a table anew after a loss, empty and without what was published", async () => {
    const view = newView();
    const { view: name, fingerprint } = view;
    const ledger = createLedger(connection, { prefix: redis.prefix });
    const pointers = async () => {
      const request = { view: name, fingerprint, aggregatesFingerprint: "5e" };
      const [found] = await ledger.readPointers([request]);
      return found;
    };
    const day = interval("2026-01-01", "2026-01-02");
    const run = { view: name, fingerprint, interval: day, runId: "a" };
    await ledger.commitRun({
      ...run,
      generation: await ledger.beginRun(run, 0),
      expectedRevision: "0",
      coverage: { rows: 1 },
      states: { aa: "state" },
    });
    const old = await store.openNamespace(view, { buckets: 2048 });
    const mark = { generation: await ledger.beginPublish(name, fingerprint, 1), endMs: day.endMs };
    await write(old, [row("a", "x", mark)]);
    const publish = {
      namespace: old,
      redisRunId: await readRunId(connection),
      published: { ...mark, whole: mark, covered: true, frozen: null },
      snapshot: { id: "s", aggregatesFingerprint: "5e", asOfMs: day.endMs, body: "{}" },
    };
    await ledger.commitPublish(publish);
    const before = await ledger.readCommitted({ view: name, fingerprint, aggregates: ["aa"] });

    const renewed = await store.renewNamespace(view, { buckets: 16 });
    assert.notEqual(renewed.epoch, old.epoch);
    assert.deepEqual(await store.listNamespaces(name), [renewed]);
    assert.deepEqual(await read(renewed, [["a"]]), [null]);
    await assert.rejects(write(old, [row("a", "late")]), { code: "STORE_LOST" });
    const found = await pointers();
    assert.deepEqual([found?.namespace, found?.published], [renewed, null]);
    assert.deepEqual(
      await ledger.readCommitted({ view: name, fingerprint, aggregates: ["aa"] }),
      before,
    );
    // A publish that began before must not say that what it wrote is there.
    await assert.rejects(ledger.commitPublish(publish), { code: "STORE_LOST" });
    assert.equal((await pointers())?.published, null);
    const keys = await scanKeys(client, redis.prefix);
    const own = keys.filter((key) => key.startsWith(`${redis.prefix}:entities:{${name}/`));
    assert.equal(own.length, 16 + 16);
  });

  it("takes null keys and ill-formed text for errors before anything is sent", async () => {
    const namespace = await open();
    await assert.rejects(write(namespace, [row("a", "x"), row("\ud800", "y")]), {
      code: "VALUE_INVALID",
    });
    await assert.rejects(write(namespace, [row("a", "x"), row("b", "\udc00")]), {
      code: "VALUE_INVALID",
    });
    assert.equal((await store.verifyNamespace(namespace)).rows, 0);
  });

  it("creates a namespace once, also when many open it at the same time", async () => {
    const view = newView();
    const opened = await Promise.all(
      Array.from({ length: 20 }, (_, i) => store.openNamespace(view, { buckets: 16 + i })),
    );
    for (const namespace of opened) assert.deepEqual(namespace, opened[0]);
    const first = opened[0] as Namespace;
    const report = await store.verifyNamespace(first);
    assert.deepEqual([report.present, report.rows], [first.buckets, 0]);
    assert.deepEqual(await store.openNamespace(view, { buckets: 512 }), first);
    assert.deepEqual(await store.listNamespaces(view.view), [first]);
    const next = await store.openNamespace({ ...view, fingerprint: "cd" }, { buckets: 2 });
    assert.equal((await store.listNamespaces(view.view)).length, 2);
    assert.notEqual(next.epoch, first.epoch);
  });

  it("finishes the creation that another process left half done", async () => {
    const view = newView();
    const namespace = await store.openNamespace(view, { buckets: 8 });
    const keys = createKeys(redis.prefix);
    const record = `8 ${namespace.epoch} new`;
    await client.hset(keys.pointers(view.view), `table:${view.fingerprint}`, record);
    await client.unlink(keys.bucket(view.view, view.fingerprint, 5, 5));
    await client.unlink(keys.shard(view.view, view.fingerprint, 6));
    assert.deepEqual(await store.listNamespaces(view.view), []);
    assert.deepEqual(await store.openNamespace(view, { buckets: 16 }), namespace);
    assert.equal((await store.verifyNamespace(namespace)).present, 8);
  });

  it("says STORE_LOST for a bucket that is gone or foreign, to readers and writers", async () => {
    const namespace = await open(1);
    const names = createKeys(redis.prefix);
    const key = names.bucket(namespace.view, namespace.fingerprint, 0, 0);
    const shard = names.shard(namespace.view, namespace.fingerprint, 0);
    await write(namespace, [row("a", "x")]);
    await client.unlink(key);
    const lost = { code: "STORE_LOST", message: new RegExp(`"${namespace.view}": bucket 0 `) };
    await assert.rejects(read(namespace, [["a"]]), lost);
    await assert.rejects(write(namespace, [row("a", "x")]), lost);
    // Opening again must not hide the loss.
    await store.openNamespace({ ...namespace, kind: "entities", columns }, { buckets: 1 });
    await assert.rejects(read(namespace, [["a"]]), lost);
    await client.hset(key, "", Buffer.alloc(8, 1));
    await assert.rejects(read(namespace, [["a"]]), /belongs to another epoch/);
    await assert.rejects(write(namespace, [row("a", "x")]), /belongs to another epoch/);
    const report = await store.verifyNamespace(namespace);
    assert.deepEqual([report.present, report.missing, report.foreign], [0, 0, 1]);
    const seal = () => store.sealNamespace(namespace, { endMs: 1, generation: 1 });
    await client.hset(shard, "", Buffer.alloc(18, 1));
    await assert.rejects(seal(), /belongs to another epoch/);
    await client.unlink(shard);
    await assert.rejects(seal(), lost);
    const least = { endMs: 0, generation: 0 };
    assert.equal((await store.verifyNamespace(namespace, { least })).behind, 1);
  });

  it("says STORE_LOST when every key of the prefix has gone", async () => {
    const prefix = `${redis.prefix}:${randomPrefix()}`;
    const own = createOnlineStore(connection, { prefix });
    const namespace = await own.openNamespace(newView(), { buckets: 16 });
    await write(namespace, [row("a", "x")], own);
    await client.unlink(...(await scanKeys(client, prefix)));
    const reading = own.readRows([{ namespace, keys: [encodeEntityKey(["a"])] }]);
    await assert.rejects(reading, {
      code: "STORE_LOST",
      message: /at once: .* publish .* --whole/,
    });
    assert.equal((await own.verifyNamespace(namespace)).missing, 16);
  });

  it("serves again after a reset, from empty buckets", async () => {
    const view = newView();
    const namespace = await store.openNamespace(view, { buckets: 2 });
    await write(namespace, [row("a", "x"), row("b", "y")]);
    const reset = await store.resetNamespace(view, {
      buckets: 4,
      aggregates: [],
      aggregatesFingerprint: "5e",
    });
    assert.equal(reset.buckets, 4);
    assert.deepEqual(await read(reset, [["a"], ["b"]]), [null, null]);
    await assert.rejects(read(namespace, [["a"]]), { code: "STORE_LOST" });
    await assert.rejects(write(namespace, [row("a", "x")]), { code: "STORE_LOST" });
    assert.deepEqual(await store.listNamespaces(view.view), [reset]);
  });

  it("leaves nothing of a namespace that is reset to another count of buckets", async () => {
    const view = newView();
    // Of more than 1024 buckets, several share a shard, so the names of all change.
    const namespace = await store.openNamespace(view, { buckets: 2048 });
    await write(namespace, [row("a", "x"), row("b", "y")]);
    const reset = { aggregates: [], aggregatesFingerprint: "5e" };
    await store.resetNamespace(view, { ...reset, buckets: 16 });
    const keys = await scanKeys(client, redis.prefix);
    const own = keys.filter((key) => key.startsWith(`${redis.prefix}:entities:{${view.view}/`));
    assert.equal(own.length, 16 + 16);
  });

  it("tells a bucket that lost its last writes by its mark", async () => {
    const namespace = await open(4);
    const mark = { endMs: 1000, generation: 2 };
    await write(namespace, [row("a", "x", { generation: 2 })]);
    assert.equal((await store.verifyNamespace(namespace, { least: mark })).behind, 4);
    await store.sealNamespace(namespace, mark);
    assert.equal((await store.verifyNamespace(namespace, { least: mark })).behind, 0);
    await store.sealNamespace(namespace, { endMs: 1001, generation: 1 });
    assert.equal((await store.verifyNamespace(namespace, { least: mark })).behind, 0);
    for (const later of [
      { endMs: 0, generation: 3 },
      { endMs: 1001, generation: 2 },
    ])
      assert.equal((await store.verifyNamespace(namespace, { least: later })).behind, 4);
    assert.equal((await store.verifyNamespace(namespace)).rows, 1);
  });

  it("suggests a power of two of buckets with at most 64 rows each", () => {
    const suggested = [0, 2048, 2049, 1_000_000, 10 ** 12].map(chooseBuckets);
    assert.deepEqual(suggested, [16, 32, 64, 16_384, 2 ** 24]);
  });
});
