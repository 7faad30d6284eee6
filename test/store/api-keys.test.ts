import assert from "node:assert/strict";
import type { ApiKeyChange, ApiKeyRecord } from "../../store/api-keys.ts";
import {
  changeApiKeys,
  idOfApiKey,
  isApiKey,
  mintApiKey,
  readApiKeyChanges,
  readApiKeys,
} from "../../store/api-keys.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { addKey, putKey } from "../support/http/access.ts";
import type { TestRedis } from "../support/redis/server.ts";
import { randomPrefix, testRedis } from "../support/redis/server.ts";

describe("API keys", () => {
  it("have 256 random bits, a prefix and an id that is no secret", () => {
    const keys = Array.from({ length: 1000 }, mintApiKey);
    for (const { id, key, digest } of keys) {
      assert.match(key, /^onceflow_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
      assert.equal(idOfApiKey(key), id);
      assert.ok(isApiKey(key, digest));
      assert.ok(!digest.includes(key));
    }
    assert.equal(new Set(keys.map(({ key }) => key.slice(-43))).size, 1000);
    // Each character of base64 but the last has 6 bits; all of them occur.
    assert.equal(new Set(keys.flatMap(({ key }) => [...key.slice(-43)])).size, 64);
  });

  it("are another key with any one character changed, left out or added", () => {
    const { key, digest } = mintApiKey();
    for (let i = 0; i < key.length; i++) {
      const other = key[i] === "a" ? "b" : "a";
      assert.ok(!isApiKey(key.slice(0, i) + other + key.slice(i + 1), digest));
      assert.ok(!isApiKey(key.slice(0, i) + key.slice(i + 1), digest));
    }
    for (const text of ["", " ", `${key} `, `${key}a`, key.toUpperCase()])
      assert.equal(idOfApiKey(text), undefined);
  });
});

describe("records of API keys", () => {
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

  it("are none, at no revision, before the first", async () => {
    const read = await readApiKeys(connection, { prefix: randomPrefix() });
    assert.deepEqual(read, { revision: "", records: new Map(), unreadable: [] });
  });

  it("are read once for each change", async () => {
    const { prefix } = redis;
    const { id } = await addKey(connection, prefix, ["describe"]);
    const first = await readApiKeys(connection, { prefix });
    assert.deepEqual(first?.records.get(id)?.scopes, ["describe"]);
    assert.equal(await readApiKeys(connection, { prefix }, first?.revision), undefined);
    await addKey(connection, prefix, ["read:*"]);
    const second = await readApiKeys(connection, { prefix }, first?.revision);
    assert.equal(second?.records.size, 2);
  });

  it("are all there though many are made at the same time, each change logged once", async () => {
    const prefix = `${redis.prefix}:race`;
    const made = await Promise.all(
      Array.from({ length: 12 }, () => addKey(connection, prefix, ["describe"])),
    );
    const read = await readApiKeys(connection, { prefix });
    assert.deepEqual([...(read?.records.keys() ?? [])].sort(), made.map(({ id }) => id).sort());
    const changes = await readApiKeyChanges(connection, { prefix });
    assert.deepEqual(changes.map(({ id }) => id).sort(), made.map(({ id }) => id).sort());
    assert.match(read?.revision ?? "", /^12\.[0-9a-f]{16}$/);
  });

  it("are forgotten 90 days after their end, at the next change", async () => {
    const prefix = `${redis.prefix}:old`;
    const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
    const old = await addKey(connection, prefix, [], { revoked_at: daysAgo(91) });
    const expired = await addKey(connection, prefix, [], { expires_at: daysAgo(91) });
    const recent = await addKey(connection, prefix, [], { revoked_at: daysAgo(89) });
    const live = await addKey(connection, prefix, []);
    const { records } = (await readApiKeys(connection, { prefix })) ?? {};
    assert.deepEqual([...(records?.keys() ?? [])].sort(), [recent.id, live.id].sort());
    assert.ok(!records?.has(old.id) && !records?.has(expired.id));
  });

  it("are removed with a line in the log, below that of the change", async () => {
    const prefix = `${redis.prefix}:removed`;
    const ended = new Date(Date.now() - 91 * 86_400_000).toISOString();
    const old = await addKey(connection, prefix, ["describe"], { expires_at: ended });
    const live = await addKey(connection, prefix, []);
    const changes = await readApiKeyChanges(connection, { prefix });
    assert.deepEqual(
      changes.map(({ change, id, by }) => [change, id, by]),
      [
        ["create", live.id, "test"],
        ["remove", old.id, "test"],
        ["create", old.id, "test"],
      ],
    );
    assert.deepEqual(changes[1]?.scopes, ["describe"]);
  });

  it("are judged by the time of Redis, whatever a change says of its own", async () => {
    const prefix = `${redis.prefix}:clock`;
    const soon = new Date(Date.now() + 86_400_000).toISOString();
    const live = await addKey(connection, prefix, [], { expires_at: soon });
    const at = new Date(Date.now() + 200 * 86_400_000).toISOString();
    await changeApiKeys(
      connection,
      (_, nowMs) => {
        assert.ok(Math.abs(nowMs - Date.now()) < 5_000, `${nowMs}`);
        return { put: [], change: { ...change, at } };
      },
      { prefix },
    );
    assert.ok((await readApiKeys(connection, { prefix }))?.records.has(live.id));
  });

  it("keep the last 1000 changes", async () => {
    const prefix = `${redis.prefix}:log`;
    const record = { ...blank, id: mintApiKey().id };
    for (let i = 0; i < 1003; i++) await putKey(connection, prefix, { ...record, name: `${i}` });
    const changes = await readApiKeyChanges(connection, { prefix });
    assert.equal(changes.length, 1000);
    assert.deepEqual([changes[0]?.name, changes.at(-1)?.name], ["1002", "3"]);
  });

  it("are at most 10 000", async () => {
    const prefix = `${redis.prefix}:full`;
    const put = Array.from({ length: 10_000 }, () => ({ ...blank, id: mintApiKey().id }));
    await changeApiKeys(connection, () => ({ put, change }), { prefix });
    await assert.rejects(addKey(connection, prefix, []), {
      code: "REQUEST_TOO_LARGE",
      details: { limit: 10_000 },
    });
  });
});

const blank: ApiKeyRecord = {
  id: "",
  name: "test",
  scopes: [],
  digest: "0".repeat(64),
  created_at: "2026-01-01T00:00:00.000Z",
  expires_at: null,
  revoked_at: null,
  replaces: null,
  replaced_by: null,
};
const change: ApiKeyChange = {
  at: new Date().toISOString(),
  by: "test",
  change: "create",
  id: "",
  name: "test",
  scopes: [],
  replaces: null,
};
