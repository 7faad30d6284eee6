import assert from "node:assert/strict";
import type { ExampleStore } from "../support/http/example-store.ts";
import { fillExampleStore } from "../support/http/example-store.ts";
import { loadFor, outcomesOf, quantileMs } from "../support/http/load.ts";
import { ownRedis } from "../support/redis/server.ts";
import { startServer } from "../support/http/server-process.ts";
import { startTcpProxy } from "../support/redis/tcp-proxy.ts";

/** The strict bounds: for a machine that does nothing else. */
describe("overload", function () {
  this.timeout(300_000);
  let example: ExampleStore;
  before(async () => {
    // A proxy is put before it.
    example = await fillExampleStore(ownRedis);
  });
  after(() => example.stop());

  it("at five times the capacity keeps p99 of what is accepted at 3 × calm, and recovers in 5 s", async () => {
    const proxy = await startTcpProxy(Number(new URL(example.redis.url).port), 5);
    // Two at a time of a little more than 5 ms each.
    const server = startServer({
      REDIS_URL: `redis://127.0.0.1:${proxy.port}`,
      ONCEFLOW_PREFIX: example.redis.prefix,
      ONCEFLOW_CONCURRENCY: "2",
      ONCEFLOW_CALLER_RATE: "none",
    });
    try {
      const address = await server.listening();
      const body = { features: ["has_children"], entities: [{ id: "11" }] };
      const during = (perSecond: number, ms: number) =>
        loadFor(ms, { perSecond, body, origin: () => address });
      await during(150, 3_000);
      const calm = await during(150, 15_000);
      const capacity = outcomesOf(await during(1_000, 5_000))["200"] ?? 0;
      const overloaded = await during(capacity, 20_000);
      const after = await during(150, 10_000);
      const accepted = overloaded.filter(({ status }) => status === 200);
      const late = after.filter(({ status }) => status !== 200).map(({ atMs }) => atMs);
      const report = {
        capacity: capacity / 5,
        offered: capacity,
        outcomes: outcomesOf(overloaded),
        calm: [0.5, 0.99].map((q) => quantileMs(calm, q)),
        accepted: [0.5, 0.99].map((q) => quantileMs(accepted, q)),
        afterwards: [0.5, 0.99].map((q) => quantileMs(after, q)),
        lastRefusalMs: Math.max(0, ...late),
      };
      console.log(JSON.stringify(report));
      const told = JSON.stringify(report);
      assert.deepEqual(Object.keys(report.outcomes).sort(), ["200", "503 OVERLOADED"], told);
      assert.ok((report.accepted[1] ?? NaN) <= 3 * (report.calm[1] ?? NaN), told);
      assert.ok(report.lastRefusalMs <= 5_000, told);
    } finally {
      await server.kill();
      await proxy.stop();
    }
  });
});
