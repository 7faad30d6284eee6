import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import type { FastifyInstance } from "fastify";
import { buildCatalogue, type Catalogue } from "../../../engine/catalogue.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import { entity, featureView, map, source, string } from "../../../engine/index.ts";
import { buildApp } from "../../../serving/http/app.ts";
import { createFailureLog } from "../../../serving/telemetry/failure-log.ts";
import { createLogger, requestIdOf } from "../../../serving/telemetry/logging.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { mintApiKey } from "../../../store/api-keys.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import type { RedisServer } from "../../support/redis/server.ts";
import { patient, startRedis } from "../../support/redis/server.ts";
import { type RunningServer, startServer } from "../../support/http/server-process.ts";
import { until } from "../../support/until.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";

type Line = Readonly<Record<string, unknown>>;

/** What must be in no line, each of its own kind. */
const canary = {
  id: "canary-entity-4711",
  key: "canary_key_8c41f0a9",
  jwt: "eyJhbGciOiJub25lIn0.canary_jwt.x",
  password: "canary-password-77",
};

describe("logs", () => {
  const lines: string[] = [];
  const logStream = { write: (line: string) => void lines.push(line) };
  const parsed = () => lines.map((line) => JSON.parse(line) as Line);
  let server: RedisServer;
  let redis: RedisConnection;
  let lookup: Lookup;
  let catalogue: Catalogue;
  let app: FastifyInstance;
  before(async () => {
    server = await startRedis({ args: ["--requirepass", canary.password] });
    redis = connectRedis(
      server.url.replace("redis://", `redis://:${canary.password}@`),
      "serving",
      patient,
    );
    await redis.ready();
    const thing = entity("thing", { key: "id" });
    const raw = source("raw", {
      files: "raw.parquet",
      entity: thing,
      columns: { id: string, name: string },
    });
    const { name: stored } = raw.columns;
    const careless = map("careless", { version: 1 }, { stored }, string, (row) => {
      const text = String(row.stored);
      throw new TypeError(`cannot use ${text}\nat all`, { cause: new Error(text) });
    });
    catalogue = buildCatalogue({
      raw: { careless, view: featureView("raw", { source: raw, stores: [stored] }) },
    });
    lookup = createLookup({ catalogue, redis, refreshMs: 1e9 });
    app = buildApp({ catalogue, lookup, log: "debug", logStream });
  });
  after(async () => {
    await app.close();
    lookup.close();
    await redis.close();
    await server.stop();
  });
  beforeEach(() => void lines.splice(0));

  const secrets = {
    authorization: `Bearer ${canary.jwt}`,
    cookie: `session=${canary.key}`,
    "x-api-key": canary.key,
  };
  const ask = (payload: object | string, to: FastifyInstance = app) =>
    to.inject({
      method: "POST",
      url: `/v1/features?token=${canary.key}`,
      headers: { "content-type": "application/json", ...secrets },
      payload,
    });
  const assertClean = (text = lines.join("")) => {
    for (const [kind, secret] of Object.entries(canary))
      assert.ok(!text.includes(secret), `${kind} is in ${text}`);
  };

  it("have a line for each request with route, status, duration, id and rows", async () => {
    const entities = [{ id: canary.id }, { id: "b" }];
    const response = await ask({ features: ["raw.name"], entities });
    assert.equal(response.statusCode, 200);
    const [line, ...others] = parsed();
    assert.equal(others.length, 0);
    const { time, pid, ms, ...rest } = line ?? {};
    assert.deepEqual(rest, {
      level: "info",
      request_id: response.headers["x-request-id"],
      route: "/v1/features",
      method: "POST",
      status: 200,
      rows: 2,
      msg: "request",
    });
    assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.equal(pid, process.pid);
    assert.ok(typeof ms === "number" && ms > 0);
    assertClean();
  });

  it("tell of a function that threw, a few times, without the value that it threw at", () => {
    const { failed } = createFailureLog(createLogger({ level: "error", stream: logStream }));
    const error = new OnceflowError("VALUE_INVALID", `careless threw: ${canary.id}`);
    for (let i = 0; i < 1000; i++) failed?.({ feature: "careless", error });
    failed?.({ feature: "another", error });
    const [first, ...rest] = parsed();
    assert.deepEqual(first?.["feature"], "careless");
    assert.equal((first?.["err"] as Line)["code"], "VALUE_INVALID");
    const last = rest.pop();
    assert.ok(rest.length < 100, `${rest.length} lines`);
    assert.equal(last?.["feature"], "another");
    assert.equal(last["left_out"], 1000 - 1 - rest.length);
    assertClean();
  });

  it("name the caller by the id of its key", async () => {
    const own = buildApp({ catalogue, lookup, log: "info", logStream });
    own.addHook("preHandler", (request, _reply, done) => {
      request.caller = { id: "key k_7" } as never;
      done();
    });
    await ask({ features: ["raw.name"], entities: [] }, own);
    assert.equal(parsed()[0]?.["caller"], "key k_7");
    await own.close();
  });

  it("say of what was refused its code and place, and quote nothing of it", async () => {
    const places: unknown[] = [];
    for (const payload of [
      { features: ["raw.name"], entities: [{ id: "1" }, { id: { [canary.id]: 1 } }] },
      { features: ["raw.name"], entities: [{ [canary.id]: 1 }] },
      { features: [canary.id], entities: [] },
      { service: canary.id },
      { features: ["raw.name"], inputs: { [canary.id]: canary.id } },
      { features: ["raw.name"], entities: [], snapshots: { [canary.id]: canary.id } },
      { [canary.id]: 1 },
      `{"features":["${canary.id}`,
    ]) {
      const response = await ask(payload);
      assert.ok(response.statusCode >= 400 && response.statusCode < 500, response.body);
      const [line] = parsed();
      const { code } = response.json<{ code: string }>();
      assert.deepEqual([line?.["code"], line?.["status"]], [code, response.statusCode]);
      places.push(line?.["at"]);
      assertClean();
      lines.splice(0);
    }
    assert.equal(places[0], "entities[1]");
    // A value that could not be computed is answered, with the words of its function.
    const careless = await ask({ features: ["careless"], inputs: { name: canary.id } });
    assert.ok(careless.body.includes(canary.id));
    await app.inject({ url: `/${canary.id}`, headers: secrets });
    await app.inject({ url: `/v1/services/${canary.id}`, headers: secrets });
    await app.inject({ url: `/v1/services/%zz${canary.id}`, headers: secrets });
    await app.inject({ method: "PUT", url: `/v1/features?x=${canary.id}`, headers: secrets });
    assert.ok(lines.length >= 3);
    assertClean();
  });

  /** An application whose lookup fails as nobody foresaw, in words of its caller. */
  function failing(logDetails: boolean): FastifyInstance {
    const cause = new Error(canary.id);
    const error = new TypeError(`cannot use ${canary.id}\n    at ${canary.id}`, { cause });
    const broken = { ...lookup, answerJson: () => Promise.reject(error) };
    return buildApp({ catalogue, lookup: broken, log: "debug", logStream, logDetails });
  }

  it("say of what failed its kind and where, in one line whatever it holds", async () => {
    const own = failing(false);
    const response = await ask({}, own);
    assert.equal(response.statusCode, 500);
    await own.close();
    assert.equal(lines.length, 2);
    for (const line of lines) assert.equal(line.match(/\n/g)?.length, 1);
    const [failed, request] = parsed();
    const { type, stack } = failed?.["err"] as { type: string; stack: string };
    assert.deepEqual(
      [failed?.["level"], failed?.["code"], type],
      ["error", "INTERNAL", "TypeError"],
    );
    assert.match(stack, /logging\.test\.ts/);
    assert.deepEqual([request?.["status"], request?.["code"]], [500, "INTERNAL"]);
    assert.equal(failed?.["request_id"], request?.["request_id"]);
    assertClean();
  });

  it("quote requests where details are wanted, but no secret even then", async () => {
    const own = failing(true);
    await ask({}, own);
    assert.match(lines[0] ?? "", /cannot use canary-entity-4711\\n/);
    await own.close();
    const other = buildApp({ catalogue, lookup, log: "debug", logStream, logDetails: true });
    await ask({ service: canary.id }, other);
    assert.match(lines.at(-1) ?? "", /no feature service is named \\"canary-entity-4711/);
    await other.close();
    assertClean(lines.join("").replaceAll(canary.id, ""));
  });

  it("hold no secret, wherever one is put, and no text that ends a line", () => {
    const log = createLogger({ level: "debug", stream: logStream, details: true });
    const url = `redis://user:${canary.password}@host:1/0`;
    log.warn({ authorization: canary.key, req: { headers: { cookie: canary.key } } }, url);
    log.error({ err: new OnceflowError("INTERNAL", `no answer of ${url} \u2028 to us`) }, "failed");
    log.info({ detail: `sent Authorization: Bearer ${canary.jwt}`, password: canary.password });
    log.info({ note: "whsec_" + "A".repeat(24), set: { "x-api-key": canary.key } });
    assertClean();
    assert.ok(!lines.join("").includes("whsec_AAAA"));
    const { id, key } = mintApiKey();
    const token = ["eyJhbGciOiJSUzI1NiJ9", "eyJzdWIiOiJhIn0", "c2lnbmF0dXJl-_x"].join(".");
    log.error({ msg: `sent ${key}, ${token}` });
    assert.ok(lines.at(-1)?.includes(`sent onceflow_${id}_…, eyJ…"`), lines.at(-1));
    assert.ok(!/[\u2028\u2029\u0085]/.test(lines.join("")));
    assert.equal(parsed().length, 5);
    assert.match(String(parsed()[0]?.["msg"]), /^redis:\/\/…@host:1\/0$/);
  });

  it("take the id of a request from its caller where it is one, and give it back", async () => {
    const idOf = async (given: string, url = "/healthz") =>
      (await app.inject({ url, headers: { "x-request-id": given } })).headers["x-request-id"];
    assert.equal(await idOf("r-1:a.b_C"), "r-1:a.b_C");
    assert.equal(await idOf("r-1", "/v1/%zz"), "r-1");
    for (const wrong of ["", "a b", "x".repeat(129), "é", "a,b", '"'])
      assert.match(String(await idOf(wrong)), /^[0-9a-f]{32}$/, wrong);
    assert.equal(requestIdOf("x".repeat(128)).length, 128);
    assert.notEqual(requestIdOf(undefined), requestIdOf(undefined));
    const refused = await app.inject({ url: "/none", headers: { "x-request-id": "r-2" } });
    assert.equal(refused.json<{ request_id: string }>().request_id, "r-2");
    assert.equal(parsed().at(-1)?.["request_id"], "r-2");
  });

  describe("of a server process", function () {
    this.timeout(60_000);
    let running: RunningServer | undefined;
    after(() => running?.kill());

    it("hold no secret while its store fails in every way", async () => {
      running = startServer({
        REDIS_URL: server.url.replace("redis://", `redis://default:${canary.password}@`),
        ONCEFLOW_LOG: "debug",
      });
      const url = await running.listening();
      const post = (body: object) =>
        fetch(`${url}/v1/features`, {
          method: "POST",
          headers: { "content-type": "application/json", ...secrets },
          body: JSON.stringify(body),
        });
      const stored = { features: ["has_children"], entities: [{ id: canary.id }] };
      assert.equal((await post(stored)).status, 200);
      const raw = connect(Number(new URL(url).port), "127.0.0.1");
      raw.end(`GET /${canary.id} HTTP/9\r\nauthorization: ${canary.key}\r\n\r\n`);
      raw.resume();
      await once(raw, "close");
      // A password that no longer holds, then a store that is gone.
      const admin = connectRedis(
        server.url.replace("redis://", `redis://:${canary.password}@`),
        "writing",
      );
      await admin.send(["config", "SET", "requirepass", "another"]);
      await admin.send(["client", "KILL", "TYPE", "normal"]).catch(() => undefined);
      await admin.close();
      await until("it is not ready", async () => (await fetch(`${url}/readyz`)).status === 503);
      await post(stored);
      await server.kill();
      await until("it is not ready", async () => (await fetch(`${url}/readyz`)).status === 503);
      await post({ features: ["age_mean"], entities: [{ id: canary.id }] });
      running.child.kill("SIGTERM");
      await running.exit;
      const errors = running.errors();
      const all = errors.split("\n").filter((line) => line !== "");
      assert.ok(all.length >= 4, errors);
      for (const line of all) JSON.parse(line);
      assertClean(running.out() + errors);
    });
  });
});
