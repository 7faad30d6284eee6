import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { Redis } from "ioredis";
import { interval } from "../../engine/calendar/interval.ts";
import type { Column } from "../../store/rows/column-data.ts";
import { columnsOfRows } from "../../store/rows/column-data.ts";
import { encodeEntityKey } from "../../store/rows/entity-key.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { readRunId } from "../../store/redis/run-id.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { createRowCodec } from "../../store/rows/codec.ts";
import { putKey } from "../support/http/access.ts";
import { dumpStore } from "../support/redis/dump-store.ts";
import type { TestRedis } from "../support/redis/server.ts";
import { testRedis } from "../support/redis/server.ts";

const reviewed = new URL("./layout.snapshot.txt", import.meta.url);

describe("stored layout", () => {
  let redis: TestRedis;
  let client: Redis;
  let connection: RedisConnection;
  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url, { protocol: 2 });
    connection = connectRedis(redis.url, "writing");
  });
  after(async () => {
    await connection.close();
    await client.quit();
    await redis.stop();
  });

  it("is the reviewed one; set UPDATE_SNAPSHOTS=1 to accept a change on purpose", async () => {
    const store = createOnlineStore(connection, { prefix: redis.prefix });
    const ledger = createLedger(connection, { prefix: redis.prefix });

    const columns: Column[] = [
      { name: "active", dtype: "bool" },
      { name: "visits", dtype: "int64" },
      { name: "score", dtype: "float64" },
      { name: "city", dtype: "string" },
      { name: "seen", dtype: "timestamp" },
      { name: "vector", dtype: "list_float64" },
    ];
    const day = interval("2026-01-01", "2026-01-02");
    const run = { view: "users", fingerprint: "ab12", interval: day, runId: "run" };
    const generation = await ledger.beginRun(run, 0);
    await ledger.commitRun({
      ...run,
      generation,
      expectedRevision: "0",
      coverage: { rows: 3, expectations: { passed: 1 } },
      states: { "0a": '{"n":3}' },
    });
    const mark = {
      generation: await ledger.beginPublish(run.view, run.fingerprint, 3),
      endMs: day.endMs,
    };
    const eventTimeUs = day.startMs * 1000;
    const namespace = await store.openNamespace(
      { ...run, kind: "entities", columns },
      { buckets: 2 },
    );
    await store.writeRows(namespace, {
      codec: createRowCodec(columns),
      count: 2,
      keys: [
        ["br", "br"],
        ["7", "8"],
      ],
      columns: columnsOfRows(columns, [
        [true, -3, 1.5, "São Paulo", eventTimeUs, [0, -0]],
        [null, 2n ** 63n - 1n, NaN, null, null, null],
      ]),
      eventTimesUs: eventTimeUs,
      mark,
      ordinals: 0,
    });
    const version = { ...mark, eventTimeUs, ordinal: 9 };
    await store.deleteRows(namespace, [encodeEntityKey(["br", "9"])], version);
    await store.sealNamespace(namespace, mark);
    await ledger.commitPublish({
      namespace,
      redisRunId: await readRunId(connection),
      published: {
        ...mark,
        whole: { generation: 2, endMs: day.startMs },
        covered: false,
        frozen: "a day is missing",
      },
      snapshot: {
        id: "c0ffee",
        aggregatesFingerprint: "5e",
        asOfMs: day.endMs,
        body: '{"values":{}}',
      },
    });
    const at = "2026-01-02T03:04:05.678Z";
    await putKey(connection, redis.prefix, {
      id: "0123456789abcdef",
      name: "shop",
      scopes: ["read:*"],
      digest: "ab".repeat(32),
      created_at: at,
      expires_at: null,
      revoked_at: null,
      replaces: null,
      replaced_by: null,
    });
    const dump = await dumpStore(client, redis.prefix);
    if (process.env["UPDATE_SNAPSHOTS"] === "1") await writeFile(reviewed, dump);
    assert.equal(dump, await readFile(reviewed, "utf8"));
  });
});
