import assert from "node:assert/strict";
import { hostname } from "node:os";
import { Redis } from "ioredis";
import { loadCatalogue } from "../../engine/catalogue.ts";
import { buildApp } from "../../serving/http/app.ts";
import { openAccess } from "../../serving/auth/access.ts";
import { createLookup } from "../../serving/lookup.ts";
import { accessSettings } from "../support/http/access.ts";
import type { ApiKeyChange } from "../../store/api-keys.ts";
import type { KnownKeys } from "../../serving/auth/known-keys.ts";
import { createKnownKeys } from "../../serving/auth/known-keys.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { dumpStore } from "../support/redis/dump-store.ts";
import type { TestRedis } from "../support/redis/server.ts";
import { patient, testRedis } from "../support/redis/server.ts";
import { cli, cliJson, downEnv } from "../support/run-cli.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

interface Key {
  readonly key: string;
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly state: string;
  readonly created_at: string;
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
  readonly replaces: string | null;
  readonly replaced_by: string | null;
}

describe("keys", () => {
  let redis: TestRedis;
  let serving: RedisConnection;
  let known: KnownKeys;
  let nowMs: number;
  let env: NodeJS.ProcessEnv;
  before(async () => {
    redis = await testRedis();
    env = { ...downEnv, REDIS_URL: redis.url, ONCEFLOW_PREFIX: redis.prefix };
    serving = connectRedis(redis.url, "serving", patient);
    known = createKnownKeys({ redis: serving, prefix: redis.prefix, clock: () => nowMs });
    await known.refresh();
  });
  beforeEach(() => (nowMs = Date.now()));
  after(async () => {
    known.close();
    await serving.close();
    await redis.stop();
  });

  const run = (line: string) => cliJson<Key>(line.split(" "), env);
  const all = () => cliJson<{ keys: Key[]; changes: ApiKeyChange[] }>(["keys", "list"], env);
  async function works({ key }: Key): Promise<boolean> {
    await known.refresh();
    return known.check(key).ok;
  }
  const days = (count: number) => count * 86_400_000;

  it("says that there is none", async () => {
    const { out } = await cli(["keys", "list"], env);
    assert.equal(out, "There is no API key yet.\n");
  });

  it("makes a key that works for 90 days, and shows it once", async () => {
    const { code, out } = await cli(
      ["keys", "create", "shop eu", "--scope", "read:service:model_x", "--scope", "describe"],
      env,
    );
    assert.equal(code, 0);
    const [, id = "", key = ""] =
      /^key ([0-9a-f]{16}) of shop eu: read:service:model_x, describe; expires \S+\nIt is shown this once:\n\n(onceflow_\S+)\n$/.exec(
        out,
      ) ?? [];
    assert.ok(key.startsWith(`onceflow_${id}_`), out);
    await known.refresh();
    const found = known.check(key);
    assert.ok(found.ok && found.grants.services.has("model_x"));
    const [{ created_at, expires_at }] = (await all()).keys as [Key];
    nowMs = Date.parse(created_at) + days(90) - 1;
    assert.equal(Date.parse(expires_at ?? ""), nowMs + 1);
    assert.equal(known.check(key).ok, true);
    nowMs += 1;
    assert.equal(known.check(key).ok, false);

    const list = await cli(["keys", "list"], env);
    assert.match(
      list.out,
      new RegExp(`^id .*\n${id}  shop eu  read:service:model_x, describe  active  `),
    );
    const json = await cli(["keys", "list", "--json"], env);
    const client = new Redis(redis.url, { protocol: 2 });
    const stored = await dumpStore(client, redis.prefix);
    await client.quit();
    for (const text of [list.out, json.out, stored])
      assert.ok(!text.includes(key) && !text.includes(key.slice(-43)));
    assert.doesNotMatch(json.out, /digest/);
  });

  it("makes a key that never expires, as JSON", async () => {
    const made = await run("keys create dashboard --scope describe --expires never");
    assert.deepEqual(
      [made.name, made.scopes, made.state, made.expires_at, made.replaces],
      ["dashboard", ["describe"], "active", null, null],
    );
    nowMs += days(100_000);
    assert.ok(await works(made));
  });

  it("rotates a key: both work until the overlap ends, then the new one alone", async () => {
    const old = await run("keys create rotated --scope describe --scope read:* --expires never");
    const made = await run(`keys rotate ${old.id} --overlap 2h`);
    assert.deepEqual(
      [made.name, made.scopes, made.replaces],
      ["rotated", ["describe", "read:*"], old.id],
    );
    const { keys } = await all();
    const replaced = keys.find(({ id }) => id === old.id);
    assert.deepEqual([replaced?.state, replaced?.replaced_by], ["replaced", made.id]);
    const overlapMs = Date.parse(replaced?.expires_at ?? "") - Date.parse(made.created_at);
    assert.equal(overlapMs, 7_200_000);
    nowMs = Date.parse(made.created_at) + overlapMs - 1;
    assert.deepEqual([await works(old), await works(made)], [true, true]);
    nowMs += 1;
    assert.deepEqual([await works(old), await works(made)], [false, true]);
  });

  it("rotates a key at once with no overlap, and never lengthens a life", async () => {
    const leaked = await run("keys create leaked --scope describe");
    const made = await run(`keys rotate ${leaked.id} --overlap 0`);
    nowMs = Date.now();
    assert.deepEqual([await works(leaked), await works(made)], [false, true]);
    const short = await run("keys create short --scope describe --expires 1h");
    await run(`keys rotate ${short.id} --overlap 1d`);
    const { keys } = await all();
    assert.equal(keys.find(({ id }) => id === short.id)?.expires_at, short.expires_at);
  });

  it("revokes a key for good", async () => {
    const made = await run("keys create gone --scope admin");
    assert.ok(await works(made));
    const { code, out } = await cli(["keys", "revoke", made.id], env);
    assert.equal(code, 0);
    assert.match(out, /^revoked [0-9a-f]{16}; /);
    assert.equal(await works(made), false);
    nowMs = 0;
    assert.equal(await works(made), false);
    for (const command of ["revoke", "rotate"]) {
      const again = await cli(["keys", command, made.id], env);
      assert.match(again.err, /^REQUEST_INVALID the API key [0-9a-f]{16} is revoked already\.\n$/);
    }
  });

  it("revokes a key that Redis lost, which servers still know, where it is told so", async () => {
    const made = await run("keys create stranded --scope describe");
    assert.ok(await works(made));
    const client = new Redis(redis.url);
    await client.del(`${redis.prefix}:{api-keys}:records`);
    await client.quit();
    assert.equal(await works(made), true);
    const refused = await cli(["keys", "revoke", made.id], env);
    assert.equal(refused.code, 1);
    assert.match(
      refused.err,
      /^UNKNOWN_KEY .*If Redis lost it, servers .* keys revoke ID --lost ends/,
    );
    assert.equal((await cli(["keys", "revoke", made.key, "--lost"], env)).code, 2);
    const { code, err } = await cli(["keys", "revoke", made.id, "--lost"], env);
    assert.equal(code, 0, err);
    assert.equal(await works(made), false);
    const again = await cli(["keys", "revoke", made.id, "--lost"], env);
    assert.match(again.err, /^REQUEST_INVALID the API key [0-9a-f]{16} is revoked already/);
  });

  it("does not repeat what it was given in place of an id: it may be a key", async () => {
    const made = await run("keys create careless --scope describe");
    for (const command of ["revoke", "rotate"]) {
      const { code, err } = await cli(["keys", command, made.key], env);
      assert.equal(code, 1);
      assert.match(err, /^UNKNOWN_KEY there is no API key of that id/);
      assert.ok(!err.includes(made.key));
    }
  });

  it("refuses names that are none", async () => {
    for (const name of ["", " x", "a\nb", "x".repeat(65), "\u001b[31m"]) {
      const { code, err } = await cli(["keys", "create", name, "--scope", "describe"], env);
      assert.equal(code, 2);
      assert.match(err, /^REQUEST_INVALID ".*" is no name of a key/);
    }
  });

  it("lets the command line itself ask a service that wants a key", async () => {
    const { key } = await run("keys create cli --scope read:*");
    const catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    const options = { redis: serving, prefix: redis.prefix };
    const access = openAccess(accessSettings(), options);
    await access.refresh();
    const lookup = createLookup({ catalogue, ...options });
    const app = buildApp({ catalogue, lookup, access, log: "silent" });
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    const ask = (ONCEFLOW_KEY: string) =>
      cli(
        ["get", "--features", "is_summer", "--input", "month_of_absence=1", "--via", "http"].concat(
          ["--url", url],
        ),
        { ...env, ONCEFLOW_KEY },
      );
    try {
      assert.match((await ask(key)).out, /is_summer +1 +PRESENT/);
      assert.match((await ask("")).err, /^UNAUTHENTICATED send a valid API key/);
      const { err } = await ask(`${key}\n`);
      assert.match(err, /^CONFIG_INVALID ONCEFLOW_KEY has a space/);
      assert.ok(!err.includes(key));
    } finally {
      await app.close();
      lookup.close();
      access.close();
    }
  });

  it("changes nothing on a machine whose clock is not that of Redis", async () => {
    const old = await run("keys create valid --scope describe --expires 30days");
    const before = await all();
    const { now } = Date;
    for (const skewMs of [days(200), days(-200), 60_000])
      for (const line of [
        "keys create ahead --scope describe",
        `keys rotate ${old.id}`,
        `keys revoke ${old.id}`,
      ])
        try {
          Date.now = () => now() + skewMs;
          const { code, err } = await cli(line.split(" "), env);
          assert.equal(code, 1, line);
          assert.match(err, /^CLOCK_SKEW .* (ahead of|behind) that of Redis/, line);
        } finally {
          Date.now = now;
        }
    assert.deepEqual(await all(), before);
    assert.ok(await works(old));
  });

  it("lists keys by the time of Redis", async () => {
    const made = await run("keys create listed --scope describe --expires 30days");
    const { now } = Date;
    try {
      Date.now = () => now() + days(200);
      const { keys } = await all();
      assert.equal(keys.find(({ id }) => id === made.id)?.state, "active");
    } finally {
      Date.now = now;
    }
  });

  it("logs each change: who, what, when", async () => {
    const before = (await all()).changes.length;
    const startMs = Date.now();
    const old = await run("keys create audited --scope describe");
    const made = await run(`keys rotate ${old.id}`);
    await run(`keys revoke ${made.id}`);
    const { changes } = await all();
    assert.equal(changes.length, before + 3);
    assert.deepEqual(
      changes.slice(0, 3).map(({ change, id, replaces, name }) => [change, id, replaces, name]),
      [
        ["revoke", made.id, old.id, "audited"],
        ["rotate", made.id, old.id, "audited"],
        ["create", old.id, null, "audited"],
      ],
    );
    for (const { by, at } of changes.slice(0, 3)) {
      assert.ok(by.endsWith(`@${hostname()}`), by);
      assert.ok(Date.parse(at) >= startMs && Date.parse(at) <= Date.now());
    }
  });
});
