import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import type { ExampleStore } from "../support/http/example-store.ts";
import { fillExampleStore } from "../support/http/example-store.ts";
import { loadFor, outcomesOf, quantileMs } from "../support/http/load.ts";
import { startServer } from "../support/http/server-process.ts";
import { until } from "../support/until.ts";

const slowClients = 500;

/** The strict bounds: for a machine that does nothing else. */
describe("slow clients", function () {
  this.timeout(120_000);
  let example: ExampleStore;
  before(async () => {
    example = await fillExampleStore();
  });
  after(() => example.stop());

  it(`${slowClients} that never end their requests are closed in 10 s, and p99 of others is twice calm at most`, async () => {
    const server = startServer({
      REDIS_URL: example.redis.url,
      ONCEFLOW_PREFIX: example.redis.prefix,
      ONCEFLOW_CALLER_RATE: "none",
    });
    const sockets: Socket[] = [];
    try {
      const address = await server.listening();
      const body = { service: "model_x", entities: [{ id: "11" }] };
      const during = (ms: number) => loadFor(ms, { perSecond: 200, body, origin: () => address });
      await during(3_000);
      const calm = await during(15_000);
      const startMs = performance.now();
      let lastClosedMs = 0;
      for (let i = 0; i < slowClients; i++) {
        const socket = connect(Number(new URL(address).port), "127.0.0.1");
        sockets.push(socket);
        socket.on("error", () => undefined);
        socket.on("close", () => (lastClosedMs = performance.now() - startMs));
        socket.resume();
        socket.write("POST /v1/features HTTP/1.1\r\nhost: x\r\n");
        // A byte now and then, so that the connection is never idle.
        const trickle = setInterval(() => void (socket.writable && socket.write("x")), 100);
        socket.on("close", () => clearInterval(trickle));
      }
      const slowed = await during(15_000);
      await until("all slow connections are closed", () => sockets.every(({ closed }) => closed));
      const report = {
        calm: [0.5, 0.99].map((q) => quantileMs(calm, q)),
        slowed: [0.5, 0.99].map((q) => quantileMs(slowed, q)),
        outcomes: outcomesOf(slowed),
        lastClosedMs,
      };
      console.log(JSON.stringify(report));
      const told = JSON.stringify(report);
      assert.deepEqual(Object.keys(report.outcomes), ["200"], told);
      assert.ok(report.lastClosedMs <= 10_000, told);
      assert.ok((report.slowed[1] ?? NaN) <= 2 * (report.calm[1] ?? NaN), told);
    } finally {
      for (const socket of sockets) socket.destroy();
      await server.kill();
    }
  });
});
