import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { outcomesOf, startLoad } from "../../support/http/load.ts";
import { ownRedis, startRedis } from "../../support/redis/server.ts";
import {
  hasProc,
  type RunningServer,
  type ServerProgram,
  startServer,
} from "../../support/http/server-process.ts";
import { startTcpProxy } from "../../support/redis/tcp-proxy.ts";
import { until } from "../../support/until.ts";

const asked = { service: "model_x", entities: [{ id: "11" }] };
const several = { args: ["server.ts", "--processes", "2"] };

describe("server processes", function () {
  this.timeout(60_000);
  let example: ExampleStore;
  const started: RunningServer[] = [];
  before(async () => {
    // A proxy is put before it.
    example = await fillExampleStore(ownRedis);
  });
  afterEach(async () => {
    for (const { kill } of started.splice(0)) await kill();
  });
  after(() => example.stop());

  function start(env: Record<string, string>, program?: ServerProgram): RunningServer {
    const at = { REDIS_URL: example.redis.url, ONCEFLOW_PREFIX: example.redis.prefix };
    const running = startServer({ ...at, ...env }, program);
    started.push(running);
    return running;
  }
  const ask = (address: string, body: unknown = asked) =>
    fetch(`${address}/v1/features`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const isAlive = (pid: number) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  it("starts a process that is killed again, on the same port, and ends all on SIGTERM", async function () {
    if (!hasProc) this.skip();
    const server = start({ ONCEFLOW_DRAIN_SECONDS: "0" }, several);
    const address = await server.listening();
    const [first, second] = server.workers();
    assert.ok(first !== undefined && second !== undefined);
    for (const killed of [first, second]) {
      process.kill(killed, "SIGKILL");
      await until("another listens", () => {
        const [, pid] = /process (\d+) listens in its place[^\n]*\n$/.exec(server.errors()) ?? [];
        return server.workers().includes(Number(pid)) && !server.workers().includes(killed);
      });
      assert.equal((await ask(address)).status, 200);
    }
    assert.match(
      server.errors(),
      new RegExp(`"process ${first} ended with SIGKILL; another starts in 100 ms"`),
    );
    server.child.kill("SIGTERM");
    assert.equal(await server.exit, 0);
  });

  it("closes a connection that a process is killed with while it is handed over", async function () {
    if (!hasProc) this.skip();
    const server = start({}, several);
    const port = Number(new URL(await server.listening()).port);
    const [stopped = 0] = server.workers();
    process.kill(stopped, "SIGSTOP");
    const waiting = new Set<Socket>();
    let answered = 0;
    // The one that stands still is handed one connection, and no more until it has taken it.
    for (let i = 0; i < 6; i++) {
      const socket = connect(port, "127.0.0.1");
      waiting.add(socket);
      socket.on("error", () => undefined);
      socket.on("data", () => (waiting.delete(socket) ? answered++ : undefined));
      socket.on("close", () => waiting.delete(socket));
      socket.write("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    }
    await until("all others are answered", () => waiting.size === 1);
    process.kill(stopped, "SIGKILL");
    await until("the last is closed", () => waiting.size === 0, 5_000);
    assert.equal(answered, 5);
  });

  it("ends its processes when it is killed itself", async function () {
    if (!hasProc) this.skip();
    const server = start({}, several);
    await server.listening();
    const workers = server.workers();
    assert.equal(workers.length, 2);
    await server.kill();
    await until("no process is left", () => !workers.some(isAlive));
  });

  it("gives up with SERVER_CRASHED and code 1 where processes keep dying", async () => {
    const fixture = fileURLToPath(new URL("fixtures/crashing.ts", import.meta.url));
    const [code, out] = await new Promise<[unknown, string]>((resolve) =>
      execFile(process.execPath, ["--import", "tsx", fixture], (error, stdout) =>
        resolve([error?.code ?? 0, stdout]),
      ),
    );
    assert.equal(code, 1);
    const pauses = [...out.matchAll(/ended with code 7; another starts in (\d+) ms$/gm)];
    assert.deepEqual(
      pauses.map(([, pauseMs]) => pauseMs),
      ["1", "2", "4", "4"],
    );
    assert.match(out, /process \d+ ended with code 7, the 5th time in a row .*\n$/);
  });

  it("serves on, and tries for ever, where one process is sound and another keeps dying", async () => {
    const fixture = fileURLToPath(new URL("fixtures/crashing.ts", import.meta.url));
    const server = start({}, { args: [fixture, "sound"] });
    const deaths = () => server.out().match(/ended with code 7; another starts/g)?.length ?? 0;
    await until("it has died more often than is borne", () => {
      assert.equal(server.child.exitCode, null, server.out());
      return deaths() > 8;
    });
  });

  it("answers from processes that were started while Redis was down, which are ready once it is back", async function () {
    if (!hasProc) this.skip();
    const redis = await startRedis();
    const server = start({ REDIS_URL: redis.url }, several);
    const address = await server.listening();
    await redis.kill();
    for (const [i, pid] of server.workers().entries()) {
      process.kill(pid, "SIGKILL");
      await until("another listens", () => {
        const { length } = server.errors().match(/process \d+ listens in its place/g) ?? [];
        return length === i + 1;
      });
    }
    const isReady = async () => (await fetch(`${address}/readyz`)).status === 200;
    const answer = await ask(address, { features: ["has_pet"], inputs: { pet: 2 } });
    assert.deepEqual([answer.status, await isReady()], [200, false]);
    const stored = await ask(address, { features: ["has_pet"], entities: [{ id: "11" }] });
    assert.equal(((await stored.json()) as { code: string }).code, "STORE_UNAVAILABLE");
    const back = await startRedis({ port: redis.port });
    await until("it is ready", isReady);
    await back.stop();
  });

  it("says what is wrong once, and ends with 1, where it cannot start", async () => {
    const server = start({ REDIS_URL: "redis://127.0.0.1:1" }, several);
    assert.equal(await server.exit, 1);
    assert.match(server.errors(), /^STORE_UNAVAILABLE Redis at 127\.0\.0\.1:1 failed [^\n]*\n$/);
  });

  it("loses no request on SIGTERM under load: not ready first, then no more connections", async () => {
    const servers = [start({ ONCEFLOW_DRAIN_SECONDS: "1" }, several), start({})] as const;
    const [leaving, staying] = await Promise.all(servers.map((server) => server.listening()));
    assert.ok(leaving !== undefined && staying !== undefined);
    // A load balancer: it asks for readiness, and sends to those in turn that are ready.
    let ready = [leaving, staying];
    let turn = 0;
    let wasNotReadyMs = 0;
    const load = startLoad({
      perSecond: 200,
      body: asked,
      origin: () => ready[turn++ % ready.length] ?? staying,
    });
    const probe = setInterval(() => {
      void fetch(`${leaving}/readyz`, { headers: { connection: "close" } })
        .then(({ status }) => status === 200)
        .catch(() => false)
        .then((isReady) => {
          if (isReady || ready.length === 1) return;
          ready = [staying];
          wasNotReadyMs = load.elapsedMs();
        });
    }, 50);
    await until("requests are answered", () => load.samples.length > 100);
    const signalledMs = load.elapsedMs();
    servers[0].child.kill("SIGTERM");
    assert.equal(await servers[0].exit, 0);
    const endedMs = load.elapsedMs();
    clearInterval(probe);
    const before = load.samples.length;
    await until("requests are still answered", () => load.samples.length > before + 50);
    assert.deepEqual(Object.keys(outcomesOf(await load.stop())), ["200"]);
    assert.ok(wasNotReadyMs > signalledMs && wasNotReadyMs < endedMs, "it was ready to the end");
    assert.ok(endedMs - signalledMs < 15_000, `it took ${endedMs - signalledMs} ms to end`);
    await assert.rejects(fetch(leaving));
  });

  it("answers while it drains, closes what it answered, and ends at once at a second signal", async () => {
    const server = start({ ONCEFLOW_DRAIN_SECONDS: "60" });
    const address = await server.listening();
    assert.equal((await ask(address)).headers.get("connection"), "keep-alive");
    server.child.kill("SIGTERM");
    await until("it is not ready", async () => (await fetch(`${address}/readyz`)).status === 503);
    const answer = await ask(address);
    assert.deepEqual([answer.status, answer.headers.get("connection")], [200, "close"]);
    server.child.kill("SIGTERM");
    assert.equal(await server.exit, 1);
  });

  it("finishes what it has begun, though Redis is slow", async () => {
    const proxy = await startTcpProxy(Number(new URL(example.redis.url).port));
    const server = start({ REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    const address = await server.listening();
    const client = new Redis(example.redis.url, { protocol: 2 });
    const monitor = await client.monitor();
    let isRead = false;
    monitor.on("monitor", (_, args: string[]) => {
      isRead ||= args.some((arg) => arg.includes("nobody else"));
    });
    proxy.delayMs = 400;
    const answer = ask(address, { ...asked, entities: [{ id: "nobody else" }] });
    await until("the request has reached Redis", () => isRead);
    server.child.kill("SIGINT");
    assert.equal((await answer).status, 200);
    assert.equal(await server.exit, 0);
    monitor.disconnect();
    client.disconnect();
    await proxy.stop();
  });
});
