import assert from "node:assert/strict";
import { connect } from "node:net";
import { once } from "node:events";
import type { FastifyInstance, InjectOptions } from "fastify";
import { buildCatalogue } from "../../../engine/catalogue.ts";
import { errorRegistry, OnceflowError } from "../../../engine/errors.ts";
import { buildApp } from "../../../serving/http/app.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { badgeTimeUs, fillExampleStore } from "../../support/http/example-store.ts";

interface ProblemBody {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: keyof typeof errorRegistry;
  readonly detail: string;
  readonly [member: string]: unknown;
}

describe("HTTP application", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  let app: FastifyInstance;
  const log: string[] = [];
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({
      catalogue,
      redis: serving,
      prefix: redis.prefix,
      clock: () => badgeTimeUs / 1000,
    });
    app = buildApp({
      catalogue,
      lookup,
      log: "warn",
      logStream: { write: (line) => void log.push(line) },
      deadlines: { requestMs: 300, headersMs: 200, checkMs: 50, idleMs: 2_000 },
    });
  });
  after(async () => {
    await app.close();
    lookup.close();
    await example.stop();
  });
  beforeEach(() => void log.splice(0));

  /** The problem that a request ends in; its form is checked. */
  async function problem(request: InjectOptions): Promise<ProblemBody> {
    const response = await app.inject(request);
    const body = response.json<ProblemBody>();
    assert.equal(response.headers["content-type"], "application/problem+json; charset=utf-8");
    assert.equal(response.statusCode, body.status);
    assert.deepEqual(Object.keys(body).slice(0, 5), ["type", "title", "status", "code", "detail"]);
    assert.equal(body.type, `urn:onceflow:error:${body.code}`);
    assert.equal(body.title, errorRegistry[body.code].summary);
    assert.equal(response.headers["cache-control"], "no-store");
    assert.doesNotMatch(response.body, /\.ts:|\n\s+at |node_modules/);
    return body;
  }
  const post = (payload: string | Buffer, type = "application/json"): InjectOptions => ({
    method: "POST",
    url: "/v1/features",
    headers: { "content-type": type },
    payload,
  });
  const codeAndDetail = async (request: InjectOptions) => {
    const { status, code, detail } = await problem(request);
    return `${status} ${code} ${detail}`;
  };

  it("answers features by the very function of the lookup", async () => {
    const request = { service: "model_x", entities: [{ id: "11" }, { id: "__proto__" }] };
    const response = await app.inject({ method: "POST", url: "/v1/features", payload: request });
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers["content-type"], "application/json; charset=utf-8");
    assert.equal(response.body, JSON.stringify(await lookup.answer(request)));
    assert.match(response.body, /"entity":\{"id":"__proto__"\}/);
  });

  it("answers each refusal of the lookup as a problem with its path", async () => {
    const body = await problem(
      post('{"features":["has_pet"],"entities":[{"id":"1"},{"id":null}]}'),
    );
    assert.equal(body.status, 400);
    assert.equal(body.code, "VALUE_INVALID");
    assert.equal(body["where"], "entities[1].id");
    assert.equal((await problem(post('{"service":"none"}'))).status, 404);
    assert.equal((await problem(post('{"features":["has_pet"]}'))).code, "MISSING_INPUT");
  });

  it("refuses members by which programs reach prototypes, wherever they are, and pollutes nothing", async () => {
    const evil = (name: string, value: string) => [
      `{"service":"model_x","${name}":${value}}`,
      `{"service":"model_x","entities":[{"id":"1","${name}":${value}}]}`,
      `{"service":"model_x","inputs":{"${name}":${value}}}`,
      `{"service":"model_x","inputs":[{"age":{"deep":[{"${name}":${value}}]}}]}`,
      `{"service":"model_x","entities":[],"snapshots":{"${name}":${value}}}`,
    ];
    for (const text of [
      ...evil("__proto__", '{"polluted":1}'),
      ...evil("__proto__", "1"),
      ...evil("\\u005f_proto__", '"x"'),
      ...evil("constructor", '{"prototype":{"polluted":1}}'),
    ]) {
      const detail = await codeAndDetail(post(text));
      assert.match(
        detail,
        /^400 REQUEST_INVALID the body has a member "(__proto__|constructor)"/,
        text,
      );
    }
    assert.equal((Object.prototype as { polluted?: number }).polluted, undefined);
    assert.equal(Object.keys(Object.prototype).length, 0);
  });

  it("takes the same words as values, and as names that nothing has", async () => {
    for (const name of ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty"]) {
      const { code } = await problem(post(`{"features":["${name}"]}`));
      assert.equal(code, "UNKNOWN_FEATURE");
      const response = await app.inject(
        post(`{"service":"model_x","entities":[{"id":"${name}"}]}`),
      );
      assert.match(response.body, new RegExp(`"entity":\\{"id":"${name}"\\}`));
      if (name === "__proto__") continue;
      for (const [text, wanted] of [
        [`{"service":"model_x","${name}":{"polluted":1}}`, "REQUEST_INVALID"],
        [`{"service":"model_x","entities":[{"id":"1","${name}":"x"}]}`, "REQUEST_INVALID"],
        [`{"service":"model_x","inputs":{"${name}":{"polluted":1}}}`, "UNKNOWN_INPUT"],
        [`{"service":"model_x","entities":[],"snapshots":{"${name}":"x"}}`, "UNKNOWN_VIEW"],
      ] as const)
        assert.equal((await problem(post(text))).code, wanted, text);
    }
  });

  it("refuses two members of one name, wherever and however they are written", async () => {
    for (const text of [
      '{"features":["is_summer"],"inputs":{"month_of_absence":7,"month_of_absence":1}}',
      '{"features":["is_summer"],"inputs":{"month_of_absence":7,"month\\u005fof_absence":7}}',
      '{"service":"model_x","entities":[{"id":"1"},{"id":"2","id":"2"}]}',
      '{"service":"model_x","service":"presence"}',
      '{"service":"model_x","snapshots":{"absences":"1","absences":"2"}}',
      '{"":1,"":2}',
    ])
      assert.equal(
        await codeAndDetail(post(text)),
        "400 REQUEST_INVALID an object of the body has two members of one name; send each once.",
        text,
      );
    const colons = '{"features":["is_summer"],"inputs":{"month_of_absence":7,":\\":":"a:\\":,b"}}';
    assert.match(await codeAndDetail(post(colons)), /^400 UNKNOWN_INPUT /);
  });

  it("refuses bodies that are no JSON, no UTF-8, empty, or of another kind", async () => {
    const jsonError = await codeAndDetail(post('{"service":'));
    assert.match(jsonError, /^400 REQUEST_INVALID the body is no JSON: /);
    const latin1 = Buffer.from('{"features":["has_pet"],"entities":[{"id":"\xe9"}]}', "latin1");
    assert.equal(
      await codeAndDetail(post(latin1)),
      "400 REQUEST_INVALID the body is not valid UTF-8.",
    );
    assert.match(await codeAndDetail(post("")), /^400 REQUEST_INVALID /);
    assert.equal(
      await codeAndDetail({ method: "POST", url: "/v1/features" }),
      "400 REQUEST_INVALID the request is missing; expected an object.",
    );
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
      assert.equal(
        await codeAndDetail(post("{}", type)),
        "415 MEDIA_TYPE_UNSUPPORTED send the body as content-type: application/json.",
      );
  });

  it("answers unknown paths, bad paths and wrong methods as problems", async () => {
    assert.equal(
      await codeAndDetail({ method: "GET", url: "/v2/features?x=1" }),
      "404 UNKNOWN_ROUTE there is no GET /v2/features?x=1. Features are answered at POST /v1/features.",
    );
    assert.match(await codeAndDetail({ method: "GET", url: "/v1/%zz" }), /^400 REQUEST_INVALID /);
    assert.equal(
      await codeAndDetail({ method: "GET", url: "/v1/services/model_y" }),
      '404 UNKNOWN_SERVICE no feature service is named "model_y". Did you mean "model_x"?',
    );
    for (const [method, url, allowed] of [
      ["GET", "/v1/features", "POST"],
      ["DELETE", "/v1/features", "POST"],
      ["POST", "/v1/services/model_x", "GET, HEAD"],
      ["PUT", "/healthz", "GET, HEAD"],
    ] as const) {
      const response = await app.inject({ method, url });
      assert.equal(response.headers["allow"], allowed);
      assert.equal((await problem({ method, url })).code, "METHOD_NOT_ALLOWED");
    }
    assert.equal((await app.inject({ method: "HEAD", url: "/v1/services" })).statusCode, 200);
  });

  for (const cause of [
    new TypeError("secret cause"),
    new OnceflowError("INTERNAL", "secret cause", { secret: "detail" }),
  ])
    it(`hides the cause of a ${cause.name} nobody expected from the client and logs it`, async () => {
      const broken = buildApp({
        catalogue: example.catalogue,
        lookup: { ...lookup, answerJson: () => Promise.reject(cause) },
        logStream: { write: (line) => void log.push(line) },
        logDetails: true,
      });
      const response = await broken.inject({ method: "POST", url: "/v1/features", payload: {} });
      const { status, code, detail } = response.json<ProblemBody>();
      assert.deepEqual([status, code], [500, "INTERNAL"]);
      assert.doesNotMatch(response.body, /secret|TypeError/);
      const [line] = log.map((each) => JSON.parse(each) as { request_id: string; err: Error });
      assert.equal(line?.err.message, "secret cause");
      assert.equal(detail, `The request failed; the log has the cause at ${line.request_id}.`);
      await broken.close();
    });

  it("logs what fails, one JSON line each, and not what is refused", async () => {
    await app.inject(post("{}"));
    assert.equal(log.length, 0);
    const empty = createLookup({
      catalogue: example.catalogue,
      redis: example.serving,
      prefix: `${example.redis.prefix}-empty`,
    });
    const other = buildApp({
      catalogue: example.catalogue,
      lookup: empty,
      logStream: { write: (line) => void log.push(line) },
    });
    const response = await other.inject(post('{"features":["age_mean"]}'));
    assert.equal(response.statusCode, 503);
    assert.deepEqual(
      log.map((line) => (JSON.parse(line) as { code: string }).code),
      ["NO_SNAPSHOT"],
    );
    empty.close();
    await other.close();
  });

  it("lists services and describes one with its outputs, inputs and requests to start from", async () => {
    const { services } = (await app.inject("/v1/services")).json<{
      services: { name: string }[];
    }>();
    assert.deepEqual(
      services.map(({ name }) => name).sort(),
      [...example.catalogue.services.keys()].sort(),
    );
    const service = (await app.inject("/v1/services/presence")).json<Record<string, unknown>>();
    assert.deepEqual(service, {
      name: "presence",
      description: "How an employee last left.",
      fingerprint: example.catalogue.services.get("presence")?.fingerprint,
      features: [
        {
          name: "long_stay",
          view: "badges",
          dtype: "int64",
          description: "1 where the last stay was longer than the average, else 0",
          tags: {},
          expectations: [],
          default: null,
        },
        {
          name: "left_late",
          view: "badges",
          dtype: "int64",
          description: "1 where the employee last left at 20:00 UTC or later, else 0",
          tags: {},
          expectations: [],
          default: null,
        },
        {
          name: "minutes_inside",
          view: "badges",
          dtype: "float64",
          description: null,
          tags: {},
          expectations: [],
          default: null,
        },
      ],
      entity_keys: ["id"],
      inputs: [
        {
          name: "minutes_inside",
          id: "badges.minutes_inside",
          dtype: "float64",
          nullable: false,
          from: "store",
          features: ["long_stay", "minutes_inside"],
        },
        {
          name: "left_at",
          id: "badges.left_at",
          dtype: "timestamp",
          nullable: false,
          from: "store",
          features: ["left_late"],
        },
      ],
      examples: [
        { service: "presence", entities: [{ id: "11" }] },
        {
          service: "presence",
          inputs: { minutes_inside: 1.5, left_at: "2026-01-31T12:00:00Z" },
        },
      ],
    });
  });

  it("describes services with examples that it answers", async () => {
    for (const name of example.catalogue.services.keys()) {
      const { examples } = (await app.inject(`/v1/services/${name}`)).json<{
        examples: object[];
      }>();
      assert.equal(examples.length, 2);
      for (const payload of examples) {
        const response = await app.inject({ method: "POST", url: "/v1/features", payload });
        assert.equal(response.statusCode, 200, response.body);
      }
    }
  });

  it("shows the catalogue with kinds and fingerprints", async () => {
    const { views, features } = (await app.inject("/v1/catalogue")).json<{
      views: { name: string; fingerprint: string; ttl_seconds: number | null }[];
      features: { name: string; kind: string; tags: object }[];
    }>();
    assert.deepEqual(
      views.map(({ name, fingerprint, ttl_seconds }) => [name, fingerprint, ttl_seconds]),
      [
        ["absences", example.absences.fingerprint, null],
        ["badges", example.badges.fingerprint, 604_800],
      ],
    );
    assert.equal(features.length, example.catalogue.features.size);
    const kind = new Map(features.map((feature) => [feature.name, feature.kind]));
    assert.deepEqual(
      ["age_mean", "has_children", "age_zero_mean"].map((name) => kind.get(name)),
      ["aggregate", "stored", "computed"],
    );
    assert.deepEqual(features.find(({ name }) => name === "is_summer")?.tags, { region: "brazil" });
  });

  it("is alive, and ready until it is about to close", async () => {
    assert.deepEqual((await app.inject("/healthz")).json(), { status: "alive" });
    const ready = await app.inject("/readyz");
    assert.equal(ready.statusCode, 200);
    assert.equal(ready.json<{ status: string }>().status, "ready");
    const { catalogue } = example;
    const closing = buildApp({ catalogue, lookup, isClosing: () => true });
    const response = await closing.inject("/readyz");
    assert.equal(response.statusCode, 503);
    assert.deepEqual(response.json(), {
      status: "unavailable",
      reason: "the process is about to end",
    });
    await closing.close();
  });

  it("describes a catalogue whose services rest on columns of one name in two sources", async () => {
    const { int64, string, entity, source, featureView, featureService } =
      await import("../../../engine/index.ts");
    const thing = entity("thing", { key: "id" });
    const make = (name: string) =>
      source(name, {
        files: `${name}.parquet`,
        entity: thing,
        columns: { id: string, size: int64 },
      });
    const [one, two] = [make("one"), make("two")];
    const [small, big] = [one.columns.size.add(1), two.columns.size.add(2)];
    const catalogue = buildCatalogue({
      one: { small, one_view: featureView("one", { source: one, stores: [] }) },
      two: { big, two_view: featureView("two", { source: two, stores: [] }) },
      both: { both: featureService("both", [small, big]) },
    });
    const own = createLookup({ catalogue, redis: example.serving, prefix: example.redis.prefix });
    const other = buildApp({ catalogue, lookup: own });
    const { examples } = (await other.inject("/v1/services/both")).json<{ examples: object[] }>();
    assert.deepEqual(examples, [{ service: "both", inputs: { "one.size": 1, "two.size": 1 } }]);
    const [payload = {}] = examples;
    const response = await other.inject({ method: "POST", url: "/v1/features", payload });
    assert.match(response.body, /"features":\{"small":2,"big":3\}/);
    const ambiguous = { service: "both", inputs: { size: 1 } };
    const refused = await other.inject({ method: "POST", url: "/v1/features", payload: ambiguous });
    assert.match(refused.body, /inputs\.size: input \\"size\\" is a column of sources/);
    own.close();
    await other.close();
  });

  describe("over a socket", () => {
    let port: number;
    before(async () => {
      port = Number(new URL(await app.listen({ port: 0, host: "127.0.0.1" })).port);
    });

    /** All that the server sends until it closes the connection. */
    async function exchange(...parts: readonly string[]): Promise<string> {
      const socket = connect(port, "127.0.0.1");
      let received = "";
      socket.on("data", (chunk) => (received += chunk.toString()));
      socket.on("error", () => undefined);
      await once(socket, "connect");
      for (const part of parts) socket.write(part);
      await once(socket, "close");
      return received;
    }
    const head = "POST /v1/features HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

    it("closes a connection whose headers or body do not come in time", async () => {
      const replies = await Promise.all([
        exchange("POST /v1/features HTTP/1.1\r\nhost: x\r\n"),
        exchange(`${head}content-length: 100\r\n\r\n`, '{"service"'),
      ]);
      for (const reply of replies) {
        assert.match(reply, /^HTTP\/1\.1 408 Request Timeout\r\n/);
        assert.match(reply, /"status":408,"code":"REQUEST_INVALID"/);
      }
    });

    it("answers what is no HTTP with a problem, and large headers with 431", async () => {
      assert.match(await exchange("NONSENSE\r\n\r\n"), /^HTTP\/1\.1 400 Bad Request\r\n/);
      const large = `GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: ${"x".repeat(70_000)}\r\n\r\n`;
      assert.match(await exchange(large), /^HTTP\/1\.1 431 .*"code":"HEADERS_TOO_LARGE"/s);
    });

    it("goes on to answer others", async () => {
      const response = await fetch(`http://127.0.0.1:${port}/v1/features`, {
        method: "POST",
        headers: { "content-type": "application/json; charset=utf-8" },
        body: JSON.stringify({ features: ["is_summer"], inputs: { month_of_absence: 2 } }),
      });
      assert.equal(response.status, 200);
    });
  });
});
