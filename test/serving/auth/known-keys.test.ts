import assert from "node:assert/strict";
import { openAccess } from "../../../serving/auth/access.ts";
import { createKnownKeys, type KnownKeys } from "../../../serving/auth/known-keys.ts";
import { readApiKeys } from "../../../store/api-keys.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { accessSettings, addKey, bearer, putKey, revokeKey } from "../../support/http/access.ts";
import { failsWith } from "../../support/fails-with.ts";
import type { RedisServer } from "../../support/redis/server.ts";
import { startRedis } from "../../support/redis/server.ts";
import { until } from "../../support/until.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";

describe("keys that a server knows", () => {
  let server: RedisServer;
  let writing: RedisConnection;
  let serving: RedisConnection;
  let keys: KnownKeys;
  const prefix = "known-keys";
  const warnings: string[] = [];
  beforeEach(async () => {
    server = await startRedis();
    writing = connectRedis(server.url, "writing");
    serving = connectRedis(server.url, "serving");
    warnings.splice(0);
    keys = createKnownKeys({
      redis: serving,
      prefix,
      refreshMs: 50,
      warn: (message) => void warnings.push(message),
    });
    await keys.refresh();
  });
  afterEach(async () => {
    keys.close();
    await Promise.all([writing.close(), serving.close()]);
    await server.stop();
  });

  const why = (key: string, of = keys) => {
    const outcome = of.check(key);
    return outcome.ok ? "ok" : outcome.why;
  };
  const revoke = (id: string) => revokeKey(writing, prefix, id);

  it("are learnt of in the background, and revoked ones refused", async () => {
    const one = await addKey(writing, prefix, ["describe"]);
    const two = await addKey(writing, prefix, ["describe"]);
    await until("the key is known", () => why(one.key) === "ok");
    assert.deepEqual(
      [why(`${one.key.slice(0, -1)}~`), why(one.key.slice(0, 30) + two.key.slice(30)), why("x")],
      ["unknown", "wrong", "unknown"],
    );
    await revoke(one.id);
    await until("the key is revoked", () => why(one.key) === "ended");
    assert.equal(why(two.key), "ok");
  });

  it("are refused where part of their record is missing, and all others are heeded", async () => {
    const records = `${prefix}:{api-keys}:records`;
    const changes = [
      { expires_at: undefined },
      { expires_at: "soon" },
      { revoked_at: undefined },
      { scopes: null },
      { scopes: [1] },
      { digest: "ab" },
      { digest: undefined },
      { id: "0".repeat(16) },
      { name: undefined },
      { created_at: 0 },
      { replaces: 1 },
    ];
    const made = await Promise.all(
      [...changes, "{", "null"].map(() => addKey(writing, prefix, ["admin"])),
    );
    const live = await addKey(writing, prefix, ["describe"]);
    await until("all are known", () => [live, ...made].every(({ key }) => why(key) === "ok"));
    const known = (await readApiKeys(writing, { prefix }))?.records;
    const texts = [
      ...changes.map((change, i) =>
        JSON.stringify({ ...known?.get(made[i]?.id ?? ""), ...change }),
      ),
      "{",
      "null",
    ];
    await writing.pipeline(made.map(({ id }, i) => ["hset", records, id, texts[i] ?? ""] as const));
    await revoke(live.id);
    await until("a later revocation is heeded", () => why(live.key) === "ended");
    assert.deepEqual(
      made.map(({ key }) => why(key)),
      made.map(() => "unknown"),
    );
    await addKey(writing, prefix, []);
    await keys.refresh();
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0] ?? "",
      /^records of API keys that cannot be read.* 13: "[0-9a-f]{16}", /,
    );
  });

  it("end when they expire, without a word from Redis", async () => {
    let nowMs = Date.parse("2026-01-01T00:00:00Z");
    const expires_at = "2026-01-01T00:00:05.000Z";
    const { key } = await addKey(writing, prefix, [], { expires_at });
    const own = createKnownKeys({ redis: serving, prefix, clock: () => nowMs });
    await own.refresh();
    nowMs += 4_999;
    assert.equal(why(key, own), "ok");
    nowMs += 1;
    assert.equal(why(key, own), "ended");
    own.close();
  });

  it("are neither right nor wrong before they could be read", async () => {
    const { key } = await addKey(writing, prefix, []);
    await server.kill();
    const access = openAccess(accessSettings(), { redis: serving, prefix, refreshMs: 50 });
    const recognize = async () => access.recognize(bearer(key).authorization);
    await failsWith(access.refresh(), "STORE_UNAVAILABLE");
    await failsWith(recognize(), "AUTH_UNAVAILABLE");
    const back = await startRedis({ port: server.port });
    try {
      await until("they are read", () =>
        recognize().then(
          (found) => "why" in found && found.why === "key unknown",
          () => false,
        ),
      );
    } finally {
      access.close();
      await back.stop();
    }
  });

  it("stay as they are while Redis is down, and while it is back but empty", async () => {
    const live = await addKey(writing, prefix, []);
    const revoked = await addKey(writing, prefix, []);
    await revoke(revoked.id);
    await until("both are known", () => why(live.key) === "ok" && why(revoked.key) === "ended");
    await server.kill();
    await until("a warning", () => warnings.length > 0);
    assert.match(warnings[0] ?? "", /^API keys cannot be read: Redis at /);
    assert.deepEqual([why(live.key), why(revoked.key)], ["ok", "ended"]);
    const empty = await startRedis({ port: server.port });
    try {
      await until("an empty Redis was read", () => warnings.length > 1);
      assert.match(warnings[1] ?? "", /^Redis no longer has 1 API keys that work; they stay /);
      assert.deepEqual([why(live.key), why(revoked.key)], ["ok", "ended"]);
      const other = await addKey(writing, prefix, []);
      await until("the new key is known", () => why(other.key) === "ok");
      assert.deepEqual([why(live.key), why(revoked.key)], ["ok", "ended"]);
      assert.equal(warnings.length, 2);
    } finally {
      await empty.stop();
    }
  });

  it("that are revoked stay so where Redis is restored from before", async () => {
    const { key, id } = await addKey(writing, prefix, []);
    const record = (await readApiKeys(writing, { prefix }))?.records.get(id);
    assert.ok(record);
    await revoke(id);
    await until("the key is revoked", () => why(key) === "ended");
    await putKey(writing, prefix, record);
    await keys.refresh();
    assert.equal(why(key), "ended");
  });
});
