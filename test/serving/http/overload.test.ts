import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { fastify, type FastifyInstance } from "fastify";
import type { IsUnwanted } from "../../../serving/cancellation.ts";
import type { LoadLimiter, LoadLimits } from "../../../serving/http/overload.ts";
import { createLoadLimiter } from "../../../serving/http/overload.ts";
import { buildApp } from "../../../serving/http/app.ts";
import { problemOf } from "../../../serving/http/problem.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { outcomesOf, quantileMs, startLoad } from "../../support/http/load.ts";
import { ownRedis } from "../../support/redis/server.ts";
import { startServer } from "../../support/http/server-process.ts";
import { startTcpProxy } from "../../support/redis/tcp-proxy.ts";
import { until } from "../../support/until.ts";

/** Work that a test ends, in the order in which it began. */
interface Work {
  readonly end: () => void;
  readonly isUnwanted: IsUnwanted;
}

describe("load limiter", () => {
  let app: FastifyInstance;
  let limiter: LoadLimiter;
  let begun: Work[];
  afterEach(() => app.close());

  function open(limits: Partial<LoadLimits>): void {
    begun = [];
    limiter = createLoadLimiter(limits);
    app = fastify({ forceCloseConnections: true });
    app.setErrorHandler((error, _, reply) => {
      const problem = problemOf(error, "");
      return reply.code(problem.status).send(problem);
    });
    app.route({
      method: "POST",
      url: "/",
      onRequest: limiter.refuseEarly,
      handler: (request, reply) =>
        limiter.limited(
          request,
          reply,
          (isUnwanted) =>
            new Promise((resolve) => begun.push({ end: () => resolve({}), isUnwanted })),
        ),
    });
  }
  const ask = () => app.inject({ method: "POST", url: "/", payload: { n: 1 } });
  const settled = (counts: Partial<LoadLimiter["counters"]>) =>
    until(JSON.stringify(counts), () =>
      Object.entries(counts).every(([name, n]) => limiter.counters[name as "running"] === n),
    );

  it("works on so many at once, lets as many wait in their order, and refuses the others", async () => {
    open({ concurrency: 2, deadlineMs: 60_000 });
    const accepted = Array.from({ length: 4 }, ask);
    await settled({ running: 2, waiting: 2 });
    const refused = await ask();
    assert.equal(refused.statusCode, 503);
    assert.equal(refused.headers["retry-after"], "1");
    assert.equal(refused.json<{ code: string }>().code, "OVERLOADED");
    assert.equal(begun.length, 2);
    begun[1]?.end();
    await settled({ running: 2, waiting: 1, refused: 1 });
    assert.equal(begun.length, 3);
    begun[0]?.end();
    await settled({ running: 2, waiting: 0 });
    for (const { end } of begun) end();
    assert.deepEqual(
      (await Promise.all(accepted)).map(({ statusCode }) => statusCode),
      [200, 200, 200, 200],
    );
    assert.deepEqual(limiter.counters, {
      running: 0,
      waiting: 0,
      refused: 1,
      late: 0,
      cancelled: 0,
    });
  });

  it("answers within the deadline those that wait and those that take too long, and frees their places", async () => {
    open({ concurrency: 1, deadlineMs: 50 });
    const [first, second] = await Promise.all([ask(), ask()]);
    assert.deepEqual([first.statusCode, second.statusCode], [504, 504]);
    assert.equal(first.json<{ code: string }>().code, "DEADLINE_EXCEEDED");
    assert.equal(begun[0]?.isUnwanted(), true);
    // The work itself has not ended, so its place is taken; nobody waits any more.
    await settled({ running: 1, waiting: 0, late: 2 });
    begun[0]?.end();
    await settled({ running: 0 });
    assert.equal(begun.length, 1);
  });

  it("never begins what nobody waits for any more, and tells work that has begun", async () => {
    open({ concurrency: 1, deadlineMs: 60_000 });
    await app.listen({ port: 0, host: "127.0.0.1" });
    const { port } = app.server.address() as AddressInfo;
    const send = () => {
      const socket = connect(port, "127.0.0.1");
      socket.write(
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
      );
      return socket;
    };
    const first = send();
    await settled({ running: 1 });
    const second = send();
    await settled({ waiting: 1 });
    second.destroy();
    await settled({ waiting: 0, cancelled: 1 });
    assert.equal(begun[0]?.isUnwanted(), false);
    first.destroy();
    await until("the work knows", () => begun[0]?.isUnwanted() === true);
    begun[0]?.end();
    await settled({ running: 0 });
    assert.equal(begun.length, 1);
  });

  it("keeps nothing of callers that go away, however many", async () => {
    open({ concurrency: 4, deadlineMs: 60_000 });
    await app.listen({ port: 0, host: "127.0.0.1" });
    const { port } = app.server.address() as AddressInfo;
    for (let round = 0; round < 25; round++) {
      const sockets = Array.from({ length: 20 }, () => {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.write(
          "POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        );
        return socket;
      });
      await settled({ running: 4, waiting: 4, refused: 12 * (round + 1) });
      for (const socket of sockets) socket.destroy();
      await settled({ waiting: 0 });
      for (const { end } of begun.splice(0)) end();
      await settled({ running: 0 });
    }
    assert.equal(limiter.counters.cancelled, 25 * 4);
  });
});

describe("overload of a server", function () {
  this.timeout(60_000);
  let example: ExampleStore;
  before(async () => {
    // A proxy is put before it.
    example = await fillExampleStore(ownRedis);
  });
  after(() => example.stop());

  it("limits what asks for features, not whether the process is ready", async () => {
    const lookup = {
      answerJson: () => new Promise<never>(() => undefined),
      ready: async () => ready,
    };
    const ready = { ready: true, views: [] };
    const app = buildApp({
      catalogue: example.catalogue,
      lookup: lookup as never,
      log: "silent",
      load: { concurrency: 1, deadlineMs: 200 },
    });
    const features = () => app.inject({ method: "POST", url: "/v1/features", payload: {} });
    const answers = [features(), features(), features()];
    assert.equal((await app.inject("/readyz")).statusCode, 200);
    const statuses = (await Promise.all(answers)).map(({ statusCode }) => statusCode);
    assert.deepEqual(statuses.sort(), [503, 504, 504]);
    await app.close();
  });

  it("sheds five times its capacity, answers the rest about as fast as in calm, and recovers", async () => {
    const proxy = await startTcpProxy(Number(new URL(example.redis.url).port), 20);
    // Two at a time of 20 ms and more each: at most 100 a second.
    const server = startServer({
      REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
      ONCEFLOW_PREFIX: example.redis.prefix,
      ONCEFLOW_CONCURRENCY: "2",
      // On a machine that does much else, an answer may take longer than a deadline in service.
      ONCEFLOW_DEADLINE_MS: "30000",
    });
    try {
      const address = await server.listening();
      const body = { features: ["has_children"], entities: [{ id: "11" }] };
      const during = async (perSecond: number, ms: number) => {
        const load = startLoad({ perSecond, body, origin: () => address });
        await until(`${ms} ms are over`, () => load.elapsedMs() >= ms);
        return load.stop();
      };
      await during(40, 500);
      const calm = await during(40, 1_500);
      const overloaded = await during(500, 2_500);
      const outcomes = outcomesOf(overloaded);
      // On a machine that does much else, a read may miss its deadline.
      const { "503 STORE_UNAVAILABLE": late = 0, ...others } = outcomes;
      assert.deepEqual(Object.keys(others).sort(), ["200", "503 OVERLOADED"]);
      assert.ok(late < overloaded.length / 20, `${late} reads were late`);
      const accepted = overloaded.filter(({ status }) => status === 200);
      const refused = overloaded.filter(({ code }) => code === "OVERLOADED");
      // Strict figures are taken where nothing else runs; see test/long. Here, how long a refusal
      // takes tells how much the machine does besides, and the capacity is what it leaves.
      const [calmMs = NaN, underLoadMs = NaN, refusedMs = NaN] = [calm, accepted, refused].map(
        (samples) => quantileMs(samples, 0.5),
      );
      const capacity = (2 * 2_500) / underLoadMs;
      assert.ok(accepted.length > capacity / 5, `${accepted.length} of ${capacity} were answered`);
      assert.ok(accepted.length < overloaded.length / 2, "too few were refused");
      assert.ok(
        underLoadMs < 5 * (calmMs + refusedMs),
        `${calmMs} ms in calm, ${underLoadMs} ms overloaded, ${refusedMs} ms refused`,
      );
      await until("it has recovered", async () => {
        const after = outcomesOf(await during(40, 500));
        return Object.keys(after).join() === "200";
      });
    } finally {
      await server.kill();
      await proxy.stop();
    }
  });
});
