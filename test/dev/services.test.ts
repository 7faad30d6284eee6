import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

import { Client, Connection } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import { Redis } from "ioredis";

import { findFreePorts, isFreePort, retryPorts, startProcess } from "../../dev/processes.ts";
import { formatElapsed, openProgress, silentProgress } from "../../cli/progress.ts";
import { startRedis } from "../../dev/redis.ts";
import { startServices, type Services } from "../../dev/services.ts";
import { startTemporal, supportsStandaloneActivities } from "../../dev/temporal.ts";
import { searchAttributeKeys } from "../../workflows/search-attributes.ts";
import { childOf, childrenOf } from "../support/child-of.ts";
import { failsWith } from "../support/fails-with.ts";
import { until } from "../support/until.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The environment of this process without the addresses that the suite may run with. */
const env: NodeJS.ProcessEnv = { ...process.env };
delete env["REDIS_URL"];
delete env["TEMPORAL_ADDRESS"];
const options = { env, progress: silentProgress };

describe("services for development", function () {
  this.timeout(60_000);

  const realTemporary = process.env["TMPDIR"];
  let folder: string;
  let temporary: string;
  let first: Services;
  let second: Services;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onceflow-test-"));
    temporary = await mkdtemp(join(folder, "tmp-"));
    process.env["TMPDIR"] = temporary;
    [first, second] = await Promise.all([startServices(options), startServices(options)]);
  });

  after(async () => {
    await Promise.all([first.stop(), second.stop()]);
    if (realTemporary === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = realTemporary;
    await rm(folder, { recursive: true });
  });

  it("start twice at once without a collision", async () => {
    assert.deepEqual(first.owned, { redis: true, temporal: true });
    assert.notEqual(first.redisUrl, second.redisUrl);
    assert.notEqual(first.temporalAddress, second.temporalAddress);
    assert.notEqual(first.temporalUiUrl, second.temporalUiUrl);
    for (const { temporalUiUrl = "" } of [first, second]) {
      const response = await fetch(`${temporalUiUrl}/api/v1/namespaces/default`);
      assert.equal(response.status, 200);
    }
  });

  it("start a Redis that keeps what it is given and evicts nothing", async () => {
    await withRedis(first.redisUrl, async (redis) => {
      assert.deepEqual(await redis.config("GET", "appendonly"), ["appendonly", "yes"]);
      assert.deepEqual(await redis.config("GET", "maxmemory-policy"), [
        "maxmemory-policy",
        "noeviction",
      ]);
      assert.deepEqual(await redis.config("GET", "bind"), ["bind", "127.0.0.1"]);
    });
  });

  it("start a Temporal server that runs a standalone activity", async () => {
    assert.equal(first.standaloneActivities, true);
    const address = first.temporalAddress;
    const connection = await Connection.connect({ address });
    const native = await NativeConnection.connect({ address });
    try {
      assert.equal(await supportsStandaloneActivities(connection, "default"), true);
      const taskQueue = "test-services";
      const worker = await Worker.create({
        connection: native,
        taskQueue,
        activities: { double: (value: number) => Promise.resolve(2 * value) },
      });
      const doubled: unknown = await worker.runUntil(
        new Client({ connection }).activity.execute("double", {
          id: "test-services",
          taskQueue,
          args: [21],
          startToCloseTimeout: "10 s",
        }),
      );
      assert.equal(doubled, 42);
    } finally {
      await connection.close();
      await native.close();
    }
  });

  it("use the services that are given, and leave them running", async () => {
    const given = await startServices({
      progress: silentProgress,
      env: { PATH: "", REDIS_URL: first.redisUrl, TEMPORAL_ADDRESS: first.temporalAddress },
    });
    assert.deepEqual(given.owned, { redis: false, temporal: false });
    assert.equal(given.redisUrl, first.redisUrl);
    assert.equal(given.temporalAddress, first.temporalAddress);
    assert.equal(given.standaloneActivities, true);
    await given.stop();
    await withRedis(first.redisUrl, async (redis) => assert.equal(await redis.ping(), "PONG"));
    assert.equal(await isFreePort(portOf(first.temporalAddress)), false);
  });

  it("make the namespace of the settings ready, on a server that is given too", async () => {
    const namespace = "onceflow-elsewhere";
    const given = { TEMPORAL_ADDRESS: first.temporalAddress, TEMPORAL_NAMESPACE: namespace };
    const { standaloneActivities } = await startTemporal({
      progress: silentProgress,
      env: { PATH: "", ...given },
    });
    assert.equal(standaloneActivities, true);
    const connection = await Connection.connect({ address: first.temporalAddress });
    try {
      const { customAttributes } = await connection.operatorService.listSearchAttributes({
        namespace,
      });
      for (const { name } of searchAttributeKeys) assert.ok(name in customAttributes, name);
    } finally {
      await connection.close();
    }
  });

  it("leave no process and no file when they are stopped, even twice", async () => {
    const before = await listOurs(temporary);
    const services = await startServices(options);
    assert.equal((await listOurs(temporary)).length, before.length + 2);
    await Promise.all([services.stop(), services.stop()]);
    assert.deepEqual(await listOurs(temporary), before);
    for (const address of [services.redisUrl, services.temporalAddress, services.temporalUiUrl]) {
      assert.equal(await isFreePort(portOf(address)), true, address);
    }
  });

  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    it(`leave nothing when ${signal} ends the process that started them`, async () => {
      const own = await mkdtemp(join(folder, "killed-"));
      const parent = spawnStarter({ ...env, TMPDIR: own });
      const exited = new Promise((resolve) =>
        parent.once("exit", (status, by) => resolve(status ?? by)),
      );
      const url = await firstLine(parent);
      const left = await listOurs(own);
      parent.kill(signal);
      assert.equal(left.length, 1);
      assert.equal(await exited, signal === "SIGINT" ? 130 : signal);
      await until("its port is free", () => isFreePort(portOf(url)));
      await until("nothing is left", async () => (await listOurs(own)).length === 0);
    });
  }

  describe("of `npm run dev`", () => {
    /** Starts it with what is given, ends a process of it, and waits for its own end. */
    async function endOne(
      given: NodeJS.ProcessEnv,
      endIt: (pid: number, services: Services) => Promise<unknown>,
    ) {
      const data = await mkdtemp(join(folder, "up-"));
      const up = spawn(
        process.execPath,
        ["--import", "tsx", "dev/up.ts", "--json", "--data", data],
        { cwd: root, env: { ...env, ...given }, stdio: ["ignore", "pipe", "pipe"] },
      );
      let err = "";
      up.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
      const closed = new Promise((resolve) => up.once("close", resolve));
      const services = JSON.parse(await firstLine(up)) as Services;
      await endIt(up.pid ?? 0, services);
      const code = await closed;
      const said = err.split("\n").filter((line) => line.startsWith("SETUP_FAILED "));
      return { code, said, services, data };
    }

    it("a Redis that ends by itself ends it, with a line that says so", async () => {
      const { code, said, data } = await endOne(
        { TEMPORAL_ADDRESS: first.temporalAddress },
        async (pid) => process.kill(await childOf(pid, /redis/), "SIGTERM"),
      );
      assert.equal(code, 1);
      assert.equal(said.length, 1);
      const log = join(data, "redis", "redis.log");
      assert.ok(said[0]?.includes("redis-server ended with exit status 0, "), said[0]);
      assert.ok(said[0]?.includes(`The end of ${log}:`), said[0]);
      assert.match(await readFile(log, "utf8"), /shutdown/i);
      await withRedis(first.redisUrl, async (redis) => assert.equal(await redis.ping(), "PONG"));
    });

    it("a Temporal server that is killed ends it and the UI, with a line that says so", async () => {
      const { code, said, services, data } = await endOne(
        { REDIS_URL: first.redisUrl },
        async (pid) => process.kill(await childOf(pid, /temporal(?!-ui)/), "SIGKILL"),
      );
      assert.equal(code, 1);
      assert.equal(said.length, 1);
      assert.match(said[0] ?? "", /^SETUP_FAILED temporal\S* .*ended with signal SIGKILL, /);
      assert.ok(said[0]?.includes(join(data, "temporal", "temporal.log")), said[0]);
      assert.equal(await isFreePort(portOf(services.temporalUiUrl)), true);
    });

    it("goes on without the UI, until the server ends", async function () {
      let isApart = true;
      const { said } = await endOne({ REDIS_URL: first.redisUrl }, async (pid, services) => {
        const [ui] = await childrenOf(pid, /temporal-ui/);
        const server = await childOf(pid, /temporal(?!-ui)/);
        // The CLI's server has its UI in it.
        isApart = ui !== undefined;
        if (ui !== undefined) process.kill(ui, "SIGKILL");
        if (isApart)
          await until("the UI is gone", () => isFreePort(portOf(services.temporalUiUrl)));
        process.kill(server, "SIGKILL");
      });
      if (!isApart) return this.skip();
      assert.equal(said.length, 1);
      assert.match(said[0] ?? "", /^SETUP_FAILED temporal-server ended with signal SIGKILL, /);
    });
  });

  it("keep data and addresses in a data directory, from one start to the next", async () => {
    const kept = { ...options, dataDir: join(folder, "kept") };
    const before = await startServices(kept);
    await withRedis(before.redisUrl, (redis) => redis.set("onceflow:test:kept", "yes"));
    await before.stop();
    const after = await startServices(kept);
    try {
      assert.equal(after.redisUrl, before.redisUrl);
      assert.equal(after.temporalAddress, before.temporalAddress);
      await withRedis(after.redisUrl, async (redis) => {
        assert.equal(await redis.get("onceflow:test:kept"), "yes");
      });
      await failsWith(startRedis(kept), "SETUP_FAILED", /in use by process \d+/);
    } finally {
      await after.stop();
    }
  });

  it("name the ways out when there is no Redis to be had", async () => {
    const bare = { progress: silentProgress, env: { PATH: "" } };
    await failsWith(
      startRedis(bare),
      "SETUP_FAILED",
      /apt-get install.*brew install.*docker compose up.*REDIS_URL=/s,
    );
  });

  it("name the ways out when there is no Temporal to be had", async () => {
    const bare = { progress: silentProgress, env: { PATH: "", XDG_CACHE_HOME: folder } };
    await failsWith(
      startTemporal(bare),
      "SETUP_FAILED",
      /brew install.*go\.dev.*docker compose up.*TEMPORAL_ADDRESS=/s,
    );
  });

  it("refuse an address that is wrong or where nobody answers, by name", async () => {
    const start = (url: string) =>
      startRedis({ progress: silentProgress, env: { REDIS_URL: url } });
    const [port = 0] = await findFreePorts(1);
    await failsWith(start("localhost:6379"), "CONFIG_INVALID", /REDIS_URL/);
    const error = await failsWith(
      start(`redis://:secret@127.0.0.1:${port}`),
      "SETUP_FAILED",
      /REDIS_URL.*does not answer: connect ECONNREFUSED 127\S+\. Start it, .*unset it/,
    );
    assert.doesNotMatch(String(error), /secret/);
  });
});

describe("an owned process", () => {
  it("fails with the end of its log", async () => {
    const folder = await mkdtemp(join(tmpdir(), "onceflow-test-"));
    await failsWith(
      startProcess({
        name: "the worker",
        command: "/bin/sh",
        args: ["-c", "echo no such column; exit 3"],
        logFile: join(folder, "log"),
        ready: () => false,
      }),
      "SETUP_FAILED",
      /the worker ended with exit status 3.*no such column/s,
    );
    await rm(folder, { recursive: true });
  });

  it("is started again when another takes its port first", async () => {
    const folder = await mkdtemp(join(tmpdir(), "onceflow-test-"));
    const rival = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => rival.once("listening", resolve));
    const taken = (rival.address() as AddressInfo).port;
    const ports = [taken, ...(await findFreePorts(1))];
    let starts = 0;
    const running = await retryPorts(() => {
      const port = ports[starts++];
      return startProcess({
        name: "redis-server",
        command: "redis-server",
        args: ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
        logFile: join(folder, "log"),
        ready: (log) => log.includes("Ready to accept connections"),
      });
    });
    assert.equal(starts, 2);
    await running.stop();
    assert.equal(running.isRunning(), false);
    rival.close();
    await rm(folder, { recursive: true });
  });
});

describe("progress", () => {
  it("closes a step with what came of it, and a failed one with a cross", async () => {
    const lines: string[] = [];
    const progress = openProgress({ write: (text) => lines.push(text) });
    await progress.step(
      "Counting",
      () => Promise.resolve(3),
      (count) => `Counted ${count}`,
    );
    await assert.rejects(
      progress.step("Failing", () => Promise.reject(new Error("no"))),
      /no/,
    );
    assert.deepEqual(lines, ["✓ Counted 3\n", "✗ Failing\n"]);
  });

  it("says on a plain stream that a step has begun", async () => {
    const lines: string[] = [];
    const progress = openProgress({ write: (text) => lines.push(text) });
    await progress.step("Building", () => until("a line", () => lines.length > 0));
    assert.deepEqual(lines, ["… Building\n", "✓ Building\n"]);
  });

  it("writes durations for people", () => {
    assert.equal(formatElapsed(3_210), "3.2 s");
    assert.equal(formatElapsed(12_400), "12 s");
    assert.equal(formatElapsed(59_700), "1 min 00 s");
    assert.equal(formatElapsed(65_000), "1 min 05 s");
  });
});

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url);
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

/** A process of its own that starts Redis, prints its URL and stays. */
function spawnStarter(starterEnv: NodeJS.ProcessEnv) {
  const module = new URL("../../dev/redis.ts", import.meta.url).href;
  const script = `
    const { startRedis } = await import(${JSON.stringify(module)});
    console.log((await startRedis()).url);
    setInterval(() => undefined, 1000);`;
  return spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", script], {
    env: starterEnv,
    stdio: ["ignore", "pipe", "ignore"],
  });
}

async function firstLine(child: { readonly stdout: Readable }): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout) {
    text += String(chunk);
    if (text.includes("\n")) break;
  }
  return text.trim();
}

/** The temporary directories of services; a loader may keep its own beside them. */
async function listOurs(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.startsWith("onceflow-"));
}

function portOf(address: string | undefined): number {
  return Number(/:(\d+)$/.exec(address ?? "")?.[1]);
}
