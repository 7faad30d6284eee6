import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { FastifyInstance } from "fastify";
import { buildCatalogue } from "../../../engine/catalogue.ts";
import { entity, featureView, int64, source, string } from "../../../engine/index.ts";
import { statuses } from "../../../serving/answer.ts";
import { buildApp } from "../../../serving/http/app.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import type { Metrics } from "../../../serving/telemetry/metrics.ts";
import {
  catalogueFingerprint,
  createMetrics,
  featureLimit,
} from "../../../serving/telemetry/metrics.ts";
import { startMetrics } from "../../../serving/telemetry/metrics-server.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { failsWith } from "../../support/fails-with.ts";
import { fillView } from "../../support/redis/fill.ts";
import { patient, startRedis } from "../../support/redis/server.ts";
import { parseScrape } from "../../support/http/scrape.ts";
import { until } from "../../support/until.ts";

describe("metrics", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  let metrics: Metrics;
  let app: FastifyInstance;
  before(async () => {
    example = await fillExampleStore();
  });
  after(() => example.stop());
  beforeEach(() => {
    const { catalogue, serving, redis } = example;
    metrics = createMetrics(catalogue);
    lookup = createLookup({
      catalogue,
      redis: serving,
      prefix: redis.prefix,
      observe: metrics.observer,
    });
    metrics.watch(lookup);
    app = buildApp({ catalogue, lookup, metrics, log: "silent" });
  });
  afterEach(async () => {
    await app.close();
    lookup.close();
  });

  const ask = (payload: object) => app.inject({ method: "POST", url: "/v1/features", payload });
  const scrape = async () => parseScrape(await metrics.registry.metrics());

  it("count requests by route, method and status, and problems by code", async () => {
    await ask({ service: "model_x", entities: [{ id: 11 }] });
    await ask({ service: "model_x", entities: [{ id: 11 }] });
    await ask({ service: "nobody's" });
    await app.inject("/v1/services/model_x");
    await app.inject("/v1/services/none");
    await app.inject("/no/such/path");
    await app.inject("/v1/%zz");
    await app.inject({ method: "DELETE", url: "/v1/features" });
    const { value, samples } = await scrape();
    const requests = samples
      .filter(({ name }) => name === "onceflow_http_requests_total")
      .map(
        ({ labels, value }) =>
          `${labels["method"]} ${labels["route"]} ${labels["status"]} ${value}`,
      );
    assert.deepEqual(requests.sort(), [
      "DELETE /v1/features 405 1",
      "GET /v1/services/:name 200 1",
      "GET /v1/services/:name 404 1",
      "GET none 404 1",
      "POST /v1/features 200 2",
      "POST /v1/features 404 1",
    ]);
    const problems = samples
      .filter(({ name }) => name === "onceflow_http_problems_total")
      .map(({ labels, value }) => `${labels["code"]} ${labels["status"]} ${value}`);
    assert.deepEqual(problems.sort(), [
      "METHOD_NOT_ALLOWED 405 1",
      "REQUEST_INVALID 400 1",
      "UNKNOWN_ROUTE 404 1",
      "UNKNOWN_SERVICE 404 2",
    ]);
    const route = "/v1/features";
    assert.equal(value("onceflow_http_request_duration_seconds_count", { route }), 4);
    assert.equal(value("onceflow_http_requests_in_flight"), 0);
    const le = (bound: string) =>
      value("onceflow_http_request_duration_seconds_bucket", { route, le: bound });
    assert.notEqual(le("0.00025"), undefined);
    assert.equal(le("5"), 4);
    const seconds = value("onceflow_http_request_duration_seconds_sum", { route }) ?? 0;
    assert.ok(seconds > 0 && seconds < 4, `${seconds} s`);
  });

  it("count what Node refuses before there is a request", async () => {
    await app.listen({ host: "127.0.0.1", port: 0 });
    const socket = connect((app.server.address() as { port: number }).port, "127.0.0.1");
    socket.end("no HTTP\r\n\r\n");
    socket.resume();
    await once(socket, "close");
    const { value } = await scrape();
    const code = "REQUEST_INVALID";
    assert.equal(value("onceflow_http_problems_total", { code, status: "400" }), 1);
  });

  it("tell how many requests are worked on and wait", async () => {
    let answer: () => void = () => undefined;
    const answered = new Promise<Buffer>((resolve) => (answer = () => resolve(Buffer.from("{}"))));
    const { catalogue } = example;
    const own = createMetrics(catalogue);
    const slow = buildApp({
      catalogue,
      metrics: own,
      log: "silent",
      load: { concurrency: 1, deadlineMs: 60_000 },
      lookup: { ...lookup, answerJson: () => answered },
    });
    const asked = [1, 2].map(() => slow.inject({ method: "POST", url: "/v1/features" }));
    const value = async (name: string) => parseScrape(await own.registry.metrics()).value(name);
    await until("one waits", async () => (await value("onceflow_requests_waiting")) === 1);
    assert.equal(await value("onceflow_requests_running"), 1);
    assert.equal(await value("onceflow_http_requests_in_flight"), 2);
    answer();
    await Promise.all(asked);
    assert.equal(await value("onceflow_requests_running"), 0);
    await slow.close();
  });

  it("count a caller who goes before the answer, and no longer as in flight", async () => {
    let began: () => void = () => undefined;
    let answer: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (began = resolve));
    const { catalogue } = example;
    const own = createMetrics(catalogue);
    const slow = buildApp({ catalogue, lookup, metrics: own, log: "silent" });
    slow.get("/slow", async () => {
      began();
      await new Promise<void>((resolve) => (answer = resolve));
      return "late";
    });
    await slow.listen({ host: "127.0.0.1", port: 0 });
    const value = async (name: string, labels?: Record<string, string>) =>
      parseScrape(await own.registry.metrics()).value(name, labels);
    const socket = connect((slow.server.address() as { port: number }).port, "127.0.0.1");
    socket.write("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n");
    await begun;
    assert.equal(await value("onceflow_http_requests_in_flight"), 1);
    socket.destroy();
    const inFlight = "onceflow_http_requests_in_flight";
    await until("it is counted", async () => (await value(inFlight)) === 0);
    answer();
    await slow.close();
    assert.equal(await value("onceflow_http_requests_total", { status: "499" }), 1);
    assert.equal(await value(inFlight), 0);
  });

  it("count the values of each feature by status, and rows and bytes of reads", async () => {
    const features = ["has_children", "badges.minutes_inside", "badges.door"];
    await ask({ features, entities: [{ id: 11 }, { id: 12 }, { id: "nobody" }] });
    await ask({ features: ["is_summer"], inputs: [{ month_of_absence: 1 }] });
    const { value } = await scrape();
    const counts = (feature: string) =>
      Object.fromEntries(
        statuses.flatMap((status) => {
          const count = value("onceflow_feature_values_total", { feature, status });
          return count === 0 ? [] : [[status, count]];
        }),
      );
    const answer = await lookup.answer({
      features,
      entities: [{ id: 11 }, { id: 12 }, { id: "nobody" }],
    });
    for (const feature of features) {
      const expected: Record<string, number> = {};
      for (const { statuses: given } of answer.results)
        expected[given[feature]!] = (expected[given[feature]!] ?? 0) + 1;
      assert.deepEqual(counts(feature), expected, feature);
    }
    assert.deepEqual(counts("is_summer"), { PRESENT: 1 });
    assert.equal(value("onceflow_rows_answered_total"), 4);
    // Three entities of two views; what needs no row reads nothing.
    assert.equal(value("onceflow_store_read_rows_total"), 6);
    assert.ok((value("onceflow_store_read_bytes_total") ?? 0) > 50);
    assert.equal(value("onceflow_store_read_duration_seconds_count"), 1);
  });

  it("count values that do not satisfy an expectation", async () => {
    await ask({ features: ["age_zero_mean_unit_variance"], inputs: { age: 100 } });
    const feature = "age_zero_mean_unit_variance";
    assert.equal((await scrape()).value("onceflow_feature_violations_total", { feature }), 1);
  });

  it("tell of each view how old it is, by the end that is published", async () => {
    await lookup.refresh();
    const { value } = await scrape();
    const age = (Date.now() - Date.parse("2026-03-03")) / 1000;
    const freshness = value("onceflow_view_freshness_seconds", { view: "badges" }) ?? 0;
    assert.ok(Math.abs(freshness - age) < 60, `${freshness} s, expected ${age} s`);
    assert.equal(value("onceflow_view_materialized", { view: "badges" }), 1);
    assert.equal(value("onceflow_view_lost", { view: "badges" }), 0);
    assert.equal(value("onceflow_ready"), 1);
    assert.ok((value("onceflow_pointers_age_seconds") ?? 99) < 60);
    assert.ok((value("onceflow_pointer_refreshes_total") ?? 0) >= 1);
  });

  it("tell of a view that is frozen, and of one of which an interval is missing", async () => {
    const own = await fillExampleStore();
    const { catalogue, badges, serving: redis, writing } = own;
    const { prefix } = own.redis;
    const metrics = createMetrics(catalogue);
    const served = createLookup({ catalogue, redis, prefix, observe: metrics.observer });
    metrics.watch(served);
    const told = async () => {
      await served.refresh();
      const { value } = parseScrape(await metrics.registry.metrics());
      return ["frozen", "uncovered"].map((each) =>
        value(`onceflow_view_${each}`, { view: "badges" }),
      );
    };
    const options = { prefix, start: "2026-03-04", end: "2026-03-05", rows: [] };
    try {
      assert.deepEqual(await told(), [0, 0]);
      await fillView(writing, badges, { ...options, published: { covered: false } });
      assert.deepEqual(await told(), [0, 1]);
      await fillView(writing, badges, { ...options, published: { frozen: "wrong prices" } });
      assert.deepEqual(await told(), [1, 0]);
    } finally {
      served.close();
      await own.stop();
    }
  });

  it("tell of a store that is empty, and of one that is gone", async () => {
    const server = await startRedis();
    const redis = connectRedis(server.url, "serving", patient);
    await redis.ready();
    const { catalogue } = example;
    const own = createMetrics(catalogue);
    const lost = createLookup({ catalogue, redis, refreshMs: 1e9, observe: own.observer });
    own.watch(lost);
    try {
      await lost.refresh();
      const empty = parseScrape(await own.registry.metrics());
      assert.equal(empty.value("onceflow_view_materialized", { view: "badges" }), 0);
      assert.equal(empty.value("onceflow_view_freshness_seconds", { view: "badges" }), undefined);
      await server.kill();
      await assert.rejects(lost.refresh());
      const gone = parseScrape(await own.registry.metrics());
      assert.equal(gone.value("onceflow_ready"), 0);
      assert.ok((gone.value("onceflow_pointer_refresh_failures_total") ?? 0) >= 1);
    } finally {
      lost.close();
      await redis.close();
      await server.stop();
    }
  });

  it("count reads that fail by code", async () => {
    // A store of its own: it loses rows.
    const own = await fillExampleStore();
    const counted = createMetrics(own.catalogue);
    const { catalogue, serving: redis, writing } = own;
    const { prefix } = own.redis;
    const lost = createLookup({ catalogue, redis, prefix, observe: counted.observer });
    counted.watch(lost);
    try {
      await lost.refresh();
      const keys = (await writing.send(["keys", `${prefix}:entities:*badges*`])) as Buffer[];
      await writing.send(["del", ...keys]);
      await failsWith(
        lost.answer({ features: ["badges.door"], entities: [{ id: 11 }] }),
        "STORE_LOST",
      );
      const { value } = parseScrape(await counted.registry.metrics());
      // It is tried once more with newer pointers, and counts once.
      assert.equal(value("onceflow_store_errors_total", { code: "STORE_LOST" }), 1);
      assert.equal(value("onceflow_store_retries_total"), 1);
    } finally {
      lost.close();
      await own.stop();
    }
  });

  it("name the build, by a fingerprint that follows the definitions", async () => {
    const fingerprint = catalogueFingerprint(example.catalogue);
    const { samples } = await scrape();
    const build = samples.find(({ name }) => name === "onceflow_build_info");
    assert.match(build?.labels["version"] ?? "", /^\d+\.\d+\.\d+$/);
    assert.equal(build?.labels["fingerprint"], fingerprint);
    const [first] = example.catalogue.features.keys();
    const features = new Map(example.catalogue.features);
    features.delete(first ?? "");
    assert.notEqual(catalogueFingerprint({ ...example.catalogue, features }), fingerprint);
  });

  it("have no series of what a caller made up: a column has one name, a method and a route as well", async () => {
    const ok = { features: ["absences.age"], entities: [{ id: 11 }] };
    assert.equal((await ask(ok)).statusCode, 200);
    await ask({ features: ["canary"], entities: [{ id: 11 }] });
    for (const name of [
      ...["absences.age.canary", "absences.age.", "absences..age", ".absences.age"],
      ...["absences.age.age", "absences.age\u0000canary", " absences.age", "Absences.age"],
    ]) {
      const answer = await ask({ features: ["absences.age", name], entities: [{ id: 11 }] });
      assert.equal(answer.json<{ code: string }>().code, "UNKNOWN_FEATURE", name);
    }
    for (const members of [
      { inputs: { canary: 1 }, ...ok },
      { max_age: { canary: 1 }, ...ok },
      { snapshots: { canary: "canary" }, ...ok },
    ])
      await ask(members);
    const after = await scrape();
    assert.ok(after.samples.every(({ labels }) => !/canary/.test(Object.values(labels).join())));
    // One for each status of the one column.
    const ofValues = after.samples.filter(({ name }) => name === "onceflow_feature_values_total");
    assert.equal(ofValues.length, statuses.length);
  });

  it("hold no id, and stay below 10 000 series with however many features", async () => {
    const canary = "canary-4711";
    await ask({ service: "model_x", entities: [{ id: canary }] });
    await app.inject({
      url: `/v1/services/${canary}?${canary}`,
      headers: { "x-request-id": canary },
    });
    await app.inject(`/${canary}`);
    const all = [...example.catalogue.features.keys()];
    for (const feature of all) await ask({ features: [feature], entities: [{ id: 11 }] });
    const text = await metrics.registry.metrics();
    assert.ok(!text.includes(canary));
    const small = parseScrape(text).samples.length;
    assert.ok(small < 600, `${small} series`);

    const thing = entity("thing", { key: "id" });
    const columns = { id: string, size: int64 };
    const raw = source("raw", { files: "raw.parquet", entity: thing, columns });
    const names = Array.from({ length: featureLimit + 500 }, (_, i) => `sum_${i}`);
    const sums = Object.fromEntries(names.map((name, i) => [name, raw.columns.size.add(i)]));
    const wide = buildCatalogue({
      wide: { ...sums, wide: featureView("wide", { source: raw, stores: [] }) },
    });
    const many = createMetrics(wide);
    const { serving: redis } = example;
    const own = createLookup({ catalogue: wide, redis, observe: many.observer });
    for (let i = 0; i < names.length; i += 500)
      await own.answer({ features: names.slice(i, i + 500), inputs: [{ size: 1 }, { size: 2 }] });
    own.close();
    const { samples, value } = parseScrape(await many.registry.metrics());
    assert.ok(samples.length < 10_000, `${samples.length} series`);
    const other = { feature: "_other", status: "PRESENT" };
    assert.equal(value("onceflow_feature_values_total", other), 2 * 500);
  });

  it("are served on a port of their own, and nothing else is", async () => {
    const { registry } = metrics;
    const endpoint = await startMetrics({ registry, port: 0, host: "127.0.0.1" });
    try {
      const response = await fetch(endpoint.url);
      assert.equal(
        response.headers.get("content-type"),
        "text/plain; version=0.0.4; charset=utf-8",
      );
      assert.equal(parseScrape(await response.text()).value("onceflow_ready"), 1);
      const root = endpoint.url.replace(/\/metrics$/, "");
      assert.equal((await fetch(`${root}/v1/features`)).status, 404);
      assert.equal((await fetch(endpoint.url, { method: "POST" })).status, 405);
      assert.equal((await app.inject("/metrics")).statusCode, 404);
      const port = Number(new URL(endpoint.url).port);
      await failsWith(
        startMetrics({ registry, port, host: "127.0.0.1" }),
        "CONFIG_INVALID",
        /EADDRINUSE.*ONCEFLOW_METRICS_PORT/,
      );
    } finally {
      await endpoint.close();
    }
  });
});
