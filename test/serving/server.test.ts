import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { addKey, bearer } from "../support/access.ts";
import type { ExampleStore } from "../support/example-store.ts";
import { fillExampleStore } from "../support/example-store.ts";
import { until } from "../support/until.ts";

/** A process of server.ts and all that it has printed. */
interface Running {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly errors: () => string;
  readonly exit: Promise<number | null>;
}

describe("server process", function () {
  this.timeout(60_000);
  let example: ExampleStore;
  const started: Running[] = [];
  before(async () => {
    example = await fillExampleStore();
  });
  afterEach(async () => {
    for (const { child, exit } of started.splice(0)) {
      child.kill("SIGKILL");
      await exit;
    }
  });
  after(() => example.stop());

  function start(env: Record<string, string>, args: readonly string[] = ["server.ts"]): Running {
    const child = spawn(process.execPath, ["--import", "tsx", ...args], {
      env: {
        ...process.env,
        ...{ REDIS_URL: example.redis.url, ONCEFLOW_PREFIX: example.redis.prefix, PORT: "0" },
        ...env,
      },
    });
    let [out, errors] = ["", ""];
    child.stdout.on("data", (chunk) => (out += String(chunk)));
    child.stderr.on("data", (chunk) => (errors += String(chunk)));
    const exit = once(child, "close").then(([code]) => code as number | null);
    const running = { child, out: () => out, errors: () => errors, exit };
    started.push(running);
    return running;
  }
  /** The address that a server says it listens on. */
  async function listening({ child, out, errors }: Running): Promise<string> {
    for (;;) {
      const match = /^onceflow http listening on (http:\S+)\n/m.exec(out());
      if (match?.[1] !== undefined) return match[1];
      if (child.exitCode !== null) assert.fail(errors());
      await Promise.race([once(child.stdout!, "data"), once(child, "exit")]);
    }
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
      const address = await listening(running);
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
      process.argv.length = 1;
      await import(${JSON.stringify(new URL("../../server.ts", import.meta.url).href)});
      const { createRequire } = await import("node:module");
      const loaded = Object.keys(createRequire(import.meta.url).cache ?? {});
      const native = process.report.getReport().sharedObjects;
      const found = [...loaded, ...native].filter((file) => /polars/.test(file));
      process.stderr.write(\`polars: \${found.join(" ") || "none"}\\n\`);
    `;
    const running = start({}, ["--input-type=module", "--eval", script]);
    await listening(running);
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
    const address = await listening(start(env));
    assert.equal((await fetch(`${address}/v1/services`)).status, 401);
    const { key } = await addKey(example.writing, example.redis.prefix, ["describe"]);
    await until("the key is known", async () => {
      const { status } = await fetch(`${address}/v1/services`, { headers: bearer(key) });
      return status === 200;
    });
    const insecure = await listening(start({ HOST: "0.0.0.0" }, ["server.ts", "--insecure"]));
    assert.equal((await fetch(`${insecure}/v1/services`)).status, 200);
  });

  it("takes an empty variable as none, and a log level in any case", async () => {
    const running = start({ ONCEFLOW_LOG: "WARN" });
    await listening(running);
    await listening(start({ ONCEFLOW_LOG: "", ONCEFLOW_PREFIX: "" }));
    // Whether a Redis listens at the default address is the machine's affair.
    const byDefault = start({ REDIS_URL: "" });
    const outcome = await listening(byDefault).catch(() => byDefault.errors());
    assert.match(outcome, /^http:|^STORE_UNAVAILABLE Redis at 127\.0\.0\.1:6379 /);
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
      await refusal({}, ["server.ts", "--port"]),
      'CONFIG_INVALID there is no option "--port"; see --help.\n',
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
