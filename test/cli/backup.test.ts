import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { loadCatalogue } from "../../engine/catalogue.ts";
import { emptyRegistry, registryOf } from "../../engine/registry.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { readRegistry, writeRegistry } from "../../store/registry.ts";
import { patient, testRedis, type TestRedis } from "../support/redis/server.ts";
import { cli, cliJson, downEnv } from "../support/run-cli.ts";

interface Listed {
  readonly keys: readonly { readonly id: string; readonly state: string }[];
  readonly changes: readonly { readonly id: string; readonly change: string }[];
}

describe("backup and restore", () => {
  let redis: TestRedis;
  let client: Redis;
  let folder: string;
  let file: string;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url);
    folder = mkdtempSync(join(tmpdir(), "onceflow-backup-"));
    file = join(folder, "backup.json");
    env = { ...downEnv, REDIS_URL: redis.url, ONCEFLOW_PREFIX: redis.prefix };
  });
  after(async () => {
    await client.quit();
    await redis.stop();
    rmSync(folder, { recursive: true });
  });

  async function create(name: string): Promise<{ id: string; key: string }> {
    return cliJson(["keys", "create", name, "--scope", "describe"], env);
  }

  async function emptied(): Promise<void> {
    const keys = await client.keys(`${redis.prefix}:*`);
    await client.unlink(...keys);
  }

  it("put back keys and what was applied after Redis was emptied, and change nothing that is there", async () => {
    const catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    const registry = registryOf(catalogue);
    const connection = connectRedis(redis.url, "writing", patient);
    const options = { prefix: redis.prefix };
    await writeRegistry(connection, { before: emptyRegistry, after: registry }, options);
    const [kept, revoked] = [await create("kept"), await create("revoked")];

    const wrote = await cliJson<{ api_keys: number; views: number }>(
      ["backup", "--out", file],
      env,
    );
    assert.deepEqual(
      { ...wrote, file },
      { file, api_keys: 2, views: Object.keys(registry.views).length },
    );
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(!readFileSync(file, "utf8").includes(kept.key));

    // A revocation since the backup stands.
    await cliJson(["keys", "revoke", revoked.id], env);
    const again = await cliJson<{ api_keys: number; registry: boolean }>(["restore", file], env);
    assert.deepEqual([again.api_keys, again.registry], [0, false]);
    const { keys } = await cliJson<Listed>(["keys", "list"], env);
    assert.equal(keys.find(({ id }) => id === revoked.id)?.state, "revoked");

    await emptied();
    const back = await cliJson<{ api_keys: number; registry: boolean }>(["restore", file], env);
    assert.deepEqual([back.api_keys, back.registry], [2, true]);
    const listed = await cliJson<Listed>(["keys", "list"], env);
    assert.deepEqual(listed.keys.map(({ id }) => id).sort(), [kept.id, revoked.id].sort());
    assert.deepEqual(
      listed.changes.map(({ change }) => change),
      ["restore", "restore"],
    );
    assert.deepEqual(
      JSON.stringify(await readRegistry(connection, options)),
      JSON.stringify(registry),
    );
    await connection.close();
  });

  it("refuse what is no backup, and write nothing", async () => {
    await emptied().catch(() => undefined);
    for (const text of ["", "{}", '{"onceflow_backup":2}', "[]", "null"]) {
      writeFileSync(file, text);
      const { code, err } = await cli(["restore", file], env);
      assert.equal(code, 1, text);
      assert.match(err, /^CONFIG_INVALID .*backup\.json/, text);
    }
    const record = { id: "00", digest: "x" };
    writeFileSync(
      file,
      JSON.stringify({ onceflow_backup: 1, api_keys: [record], registry: emptyRegistry }),
    );
    const { err } = await cli(["restore", file], env);
    assert.match(err, /^CONFIG_INVALID "00" is no record of an API key/);
    assert.deepEqual(await client.keys(`${redis.prefix}:*`), []);
    const missing = await cli(["restore", join(folder, "none.json")], env);
    assert.match(missing.err, /^CONFIG_INVALID .*none\.json cannot be read/);
    const nowhere = await cli(["backup", "--out", join(folder, "no", "where.json")], env);
    assert.match(nowhere.err, /^CONFIG_INVALID .*where\.json cannot be written/);
  });
});
