import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { createEmbeddedClient } from "../../client/embedded.ts";
import {
  columnOf,
  createClient,
  type FeatureClient,
  type TypedColumns,
} from "../../client/http.ts";
import { buildApp } from "../../serving/http/app.ts";
import type { FeatureRow } from "../../serving/answer.ts";
import type { Lookup } from "../../serving/lookup.ts";
import { createLookup } from "../../serving/lookup.ts";
import type { FeatureRequest } from "../../serving/request.ts";
import type { ExampleStore } from "../support/http/example-store.ts";
import { fillExampleStore } from "../support/http/example-store.ts";
import { failsWith } from "../support/fails-with.ts";
import { freePort, startRedis } from "../support/redis/server.ts";
import { startServer } from "../support/http/server-process.ts";
import { withoutAges } from "../support/http/without-ages.ts";
import type { Catalogue } from "./fixtures/example-types.ts";

const features = () => import("../../features/index.ts");

describe("the clients", function () {
  this.timeout(60_000);
  let example: ExampleStore;
  let lookup: Lookup;
  let app: FastifyInstance;
  let connections = 0;
  let http: FeatureClient<Catalogue>;
  let embedded: FeatureClient<Catalogue>;
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    app = buildApp({ catalogue, lookup, log: "silent" });
    app.server.on("connection", () => connections++);
    http = createClient<Catalogue>({ url: await app.listen({ port: 0, host: "127.0.0.1" }) });
    embedded = await createEmbeddedClient<Catalogue>({
      features,
      redisUrl: redis.url,
      prefix: redis.prefix,
    });
  });
  after(async () => {
    await embedded?.close();
    await app?.close();
    lookup?.close();
    await example?.stop();
  });

  const requests: readonly FeatureRequest[] = [
    { service: "model_x", entities: [{ id: "11" }, { id: "99" }, { id: "__proto__" }] },
    { service: "presence", entities: [{ id: 11 }, { id: 12 }], max_age: 1e9 },
    { service: "presence", inputs: [{ minutes_inside: "NaN", left_at: 0 }] },
    { features: ["age_zero_mean_unit_variance", "absences.age"], inputs: { age: 100 } },
    { features: ["has_pet", "badges.left_at"], entities: [{ id: "11" }] },
    { features: ["is_summer"], entities: [{ id: "11" }], inputs: [{ month_of_absence: 1 }] },
    { service: "model_x", entities: [] },
  ];

  it("give the same answers over HTTP and in the process, in rows and in columns", async () => {
    for (const request of requests) {
      const byHttp = await http.answer(request);
      assert.deepEqual(withoutAges(byHttp), withoutAges(await embedded.answer(request)));
      const columns = { ...request, form: "columns" } as const;
      assert.deepEqual(
        withoutAges(await http.answer(columns)),
        withoutAges(await embedded.answer(columns)),
      );
      assert.ok(
        (await http.answer(columns)).values.every((v) => v.length === byHttp.results.length),
      );
    }
  });

  it("fail with the same code and words", async () => {
    for (const [request, code] of [
      [{ service: "model_y" }, "UNKNOWN_SERVICE"],
      [{ features: ["has_pet"], entities: [{ id: true }] }, "VALUE_INVALID"],
      [{ features: ["has_pet"] }, "MISSING_INPUT"],
      [{ service: "model_x", fingerprint: "x", entities: [] }, "FINGERPRINT_MISMATCH"],
    ] as const) {
      const ask = (client: FeatureClient<Catalogue>) =>
        failsWith(client.answer(request as FeatureRequest), code);
      const [byHttp, inProcess] = await Promise.all([ask(http), ask(embedded)]);
      assert.equal(byHttp.message, inProcess.message);
      const { status, request_id: requestId, ...details } = byHttp.details;
      assert.equal(status, byHttp.http);
      assert.ok(requestId === null || typeof requestId === "string");
      assert.deepEqual(details, inProcess.details);
    }
  });

  it("answer typed calls, by service and by list", async () => {
    for (const client of [http, embedded]) {
      const { results } = await client.features("model_x", { entities: [{ id: 11 }] });
      const [row] = results;
      assert.equal(row?.features.has_children, 1);
      assert.equal(row?.statuses.has_children, "PRESENT");
      assert.equal(row?.features.age_zero_mean_unit_variance, -0.5);
      const list = await client.features(["age_mean", "absences.age"], { inputs: { age: 40 } });
      assert.deepEqual(list.results[0]?.features, { age_mean: 36.5, "absences.age": 40 });
      const columns = await client.columns("model_x", { entities: [{ id: "11" }, { id: "99" }] });
      assert.deepEqual(columnOf(columns, "has_children"), [1, null]);
      assert.deepEqual(columnOf(columns, "day_of_the_week_3"), [1, null]);
      const named = await client.columns(["has_pet"], { entities: [{ id: "11" }] });
      assert.deepEqual(columnOf(named, "has_pet"), [1]);
      assert.equal(columnOf(named as TypedColumns<object>, "none" as never), undefined);
    }
  });

  it("use one connection for many calls, errors included", async () => {
    const client = createClient({ url: addressOf(app) });
    const before = connections;
    for (let i = 0; i < 50; i++)
      await client.features("model_x", { entities: [{ id: "11" }] }).catch(() => undefined);
    for (let i = 0; i < 10; i++)
      await client.features("model_y", { entities: [] }).catch(() => undefined);
    // The agent is that of the process: what a test before this one opened may still be open.
    assert.ok(connections - before <= 1, `${connections - before} connections`);
  });

  it("find a server again that was killed and has come back", async () => {
    const { redis } = example;
    // Below the ports of connections, which could take it while no server listens.
    const env = {
      REDIS_URL: redis.url,
      ONCEFLOW_PREFIX: redis.prefix,
      PORT: String(await freePort()),
    };
    const first = startServer(env);
    const url = await first.listening();
    const client = createClient({ url, retries: 1_000, deadlineMs: 50_000 });
    const request = { service: "model_x", entities: [{ id: "11" }] } as const;
    const expected = await client.answer(request);
    await first.kill();
    const call = client.answer(request);
    const second = startServer(env);
    try {
      assert.deepEqual(withoutAges(await call), withoutAges(expected));
    } finally {
      await second.kill();
    }
  });

  it("end an embedded call at its deadline and when it is aborted, while Redis hangs", async () => {
    const redis = await startRedis();
    const client = await createEmbeddedClient({ features, redisUrl: redis.url });
    const request = { features: ["is_summer"], inputs: { month_of_absence: 1 } };
    const row: FeatureRow | undefined = (await client.answer(request)).results[0];
    assert.deepEqual(row?.features, { is_summer: 1 });
    redis.signal("SIGSTOP");
    try {
      // A snapshot that is pinned has to be read.
      const stored = { features: ["age_mean"], snapshots: { absences: "x" } };
      await failsWith(client.answer(stored, { deadlineMs: 50 }), "DEADLINE_EXCEEDED", /50 ms/);
      const controller = new AbortController();
      const call = client.answer(stored, { signal: controller.signal });
      const rejected = assert.rejects(call, /the user left/);
      controller.abort(new Error("the user left"));
      await rejected;
    } finally {
      redis.signal("SIGCONT");
      await client.close();
      await redis.stop();
    }
  });

  it("say what is wrong with an embedded client's Redis or definitions", async () => {
    const away = createEmbeddedClient({ features, redisUrl: "redis://127.0.0.1:1" });
    await failsWith(away, "STORE_UNAVAILABLE");
    const wrong = createEmbeddedClient({
      features: () =>
        Promise.resolve({ m: { Wrong: { kind: "service", name: "Wrong", features: [] } } }),
    });
    await failsWith(wrong, "DEFINITION_INVALID");
  });
});

function addressOf({ server }: FastifyInstance): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
