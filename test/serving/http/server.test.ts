import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { addKey, bearer } from "../../support/http/access.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import type { RunningServer } from "../../support/http/server-process.ts";
import { startServer } from "../../support/http/server-process.ts";
import { until } from "../../support/until.ts";

describe("server process", function () {
  this.timeout(60_000);
  let example: ExampleStore;
  const started: RunningServer[] = [];
  before(async () => {
    example = await fillExampleStore();
  });
  afterEach(async () => {
    for (const { kill } of started.splice(0)) await kill();
  });
  after(() => example.stop());

  function start(env: Record<string, string>, args?: readonly string[]): RunningServer {
    const at = { REDIS_URL: example.redis.url, ONCEFLOW_PREFIX: example.redis.prefix };
    const program = args === undefined ? {} : { args };
    const running = startServer({ ...at, ONCEFLOW_DRAIN_SECONDS: "0", ...env }, program);
    started.push(running);
    return running;
  }
  /** How a server that does not start ends. */
  async function refusal(env: Record<string, string>, args?: readonly string[]) {
    const running = start(env, args);
    assert.equal(await running.exit, 1);
    assert.equal(running.out(), "");
    return running.errors();
  }

  for (const signal of ["SIGTERM", "SIGINT"] as const)
    it(`says where it listens, answers, and ends with 0 on ${signal}`, async () => {
      const running = start({});
      const address = await running.listening();
      const response = await fetch(`${address}/v1/features`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ service: "model_x", entities: [{ id: 11 }] }),
      });
      const { results } = (await response.json()) as { results: { features: object }[] };
      assert.equal(
        (results[0]?.features as Record<string, unknown>)["age_zero_mean_unit_variance"],
        -0.5,
      );
      assert.equal((await fetch(`${address}/readyz`)).status, 200);
      running.child.kill(signal);
      assert.equal(await running.exit, 0);
      assert.equal(running.errors(), "");
    });

  it("never loads polars", async () => {
    const script = `
      process.argv.splice(1, Infinity, "server.ts", "--processes", "1");
      await import(${JSON.stringify(new URL("../../../server.ts", import.meta.url).href)});
      const { createRequire } = await import("node:module");
      const loaded = Object.keys(createRequire(import.meta.url).cache ?? {});
      const native = process.report.getReport().sharedObjects;
      const found = [...loaded, ...native].filter((file) => /polars/.test(file));
      process.stderr.write(\`polars: \${found.join(" ") || "none"}\\n\`);
    `;
    const running = start({}, ["--input-type=module", "--eval", script]);
    await running.listening();
    while (running.errors() === "") await once(running.child.stderr!, "data");
    running.child.kill("SIGTERM");
    assert.equal(await running.exit, 0);
    assert.equal(running.errors(), "polars: none\n");
  });

  it("refuses any host but loopback where callers are not asked who they are", async () => {
    assert.match(
      await refusal({ HOST: "0.0.0.0" }),
      /^CONFIG_INVALID HOST is "0\.0\.0\.0"; others can reach .* ONCEFLOW_AUTH=keys .* --insecure .*\n$/,
    );
    const env = { HOST: "0.0.0.0", ONCEFLOW_AUTH: "keys" };
    const address = await start(env).listening();
    assert.equal((await fetch(`${address}/v1/services`)).status, 401);
    const { key } = await addKey(example.writing, example.redis.prefix, ["describe"]);
    await until("the key is known", async () => {
      const { status } = await fetch(`${address}/v1/services`, { headers: bearer(key) });
      return status === 200;
    });
    const insecure = await start({ HOST: "0.0.0.0" }, [
      "server.ts",
      "--processes",
      "1",
      "--insecure",
    ]).listening();
    assert.equal((await fetch(`${insecure}/v1/services`)).status, 200);
  });

  it("takes an empty variable as none, and a log level in any case", async () => {
    const running = start({ ONCEFLOW_LOG: "WARN" });
    await running.listening();
    await start({ ONCEFLOW_LOG: "", ONCEFLOW_PREFIX: "" }).listening();
  });

  it("refuses what else it cannot use with one coded line", async () => {
    assert.equal(
      await refusal({ PORT: "80x" }),
      'CONFIG_INVALID PORT is "80x"; give a number from 0 to 65535.\n',
    );
    assert.match(
      await refusal({ ONCEFLOW_LOG: "loud" }),
      /^CONFIG_INVALID ONCEFLOW_LOG is "loud"; give one of debug, info, warn, error\.\n$/,
    );
    assert.match(await refusal({ REDIS_URL: "http://x" }), /^CONFIG_INVALID the Redis URL .*\n$/);
    assert.match(
      await refusal({ REDIS_URL: "redis://127.0.0.1:1" }),
      /^STORE_UNAVAILABLE Redis at 127\.0\.0\.1:1 failed .* Start it, or correct REDIS_URL\.\n$/,
    );
    assert.equal(
      await refusal({ ONCEFLOW_CONCURRENCY: "0" }),
      'CONFIG_INVALID ONCEFLOW_CONCURRENCY is "0"; give a number from 1 to 10000.\n',
    );
    assert.equal(
      await refusal({}, ["server.ts", "--processes", "many"]),
      'CONFIG_INVALID --processes is "many"; give a number from 1 to 999.\n',
    );
    assert.equal(
      await refusal({}, ["server.ts", "--port"]),
      'CONFIG_INVALID there is no option "--port"; see --help.\n',
    );
    for (const flag of ["--insecure=true", "--insecure=", "--help=no"])
      assert.equal(
        await refusal({ HOST: "0.0.0.0" }, ["server.ts", flag]),
        `CONFIG_INVALID ${flag.replace(/=.*/, "")} takes no value; see --help.\n`,
      );
  });

  it("says so where the port is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as { port: number };
    assert.equal(
      await refusal({ PORT: `${port}` }),
      `CONFIG_INVALID cannot listen on 127.0.0.1:${port}: another process listens there; stop it, or set PORT to another number, 0 for any.\n`,
    );
    other.close();
  });

  it("prints its environment on --help", async () => {
    const running = start({}, ["server.ts", "--help"]);
    assert.equal(await running.exit, 0);
    for (const name of [
      "REDIS_URL",
      "ONCEFLOW_PREFIX",
      "HOST",
      "PORT",
      "ONCEFLOW_LOG",
      "ONCEFLOW_AUTH",
    ])
      assert.match(running.out(), new RegExp(`^  ${name} `, "m"));
  });
});
