import assert from "node:assert/strict";
import { connect } from "node:net";
import { text as textOf } from "node:stream/consumers";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import { dtypes } from "../../../engine/language/dtypes.ts";
import { errorRegistry } from "../../../engine/errors.ts";
import { fromJson, toJson } from "../../../engine/wire.ts";
import { buildApp } from "../../../serving/http/app.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import {
  describeApi,
  exampleRequests,
  type OpenApiDocument,
} from "../../../serving/http/openapi.ts";
import { routes, urlOf } from "../../../serving/http/routes.ts";
import { openAccess } from "../../../serving/auth/access.ts";
import { accessSettings, addKey, bearer } from "../../support/http/access.ts";
import { anyValueOf } from "../../support/engine/arbitrary.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { hostileCatalogue } from "../../support/engine/hostile-catalogue.ts";
import { runsOf } from "../../support/property.ts";
import { assertReviewed } from "../../support/reviewed.ts";
import { routesOf } from "../../support/http/routes.ts";

type Answer = LightMyRequestResponse;

describe("the OpenAPI document", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  let app: FastifyInstance;
  let document: OpenApiDocument;
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    app = buildApp({ catalogue, lookup, log: "silent", load: { deadlineMs: 60_000 } });
    await lookup.refresh();
    document = (await app.inject("/openapi.json")).json<OpenApiDocument>();
    ajv.addSchema(document, "openapi");
  });
  after(async () => {
    await app.close();
    lookup.close();
    await example.stop();
  });

  /** Asserts that a value satisfies what stands at a JSON pointer of the document. */
  function satisfies(value: unknown, pointer: string): void {
    const validate = ajv.getSchema(`openapi#${pointer}`);
    assert.ok(validate, `the document has no schema at ${pointer}`);
    assert.ok(validate(value), `${pointer}: ${ajv.errorsText(validate.errors)}`);
  }
  const pointerOf = (...parts: readonly string[]) =>
    parts
      .map((part) => `/${encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))}`)
      .join("");

  /** Asserts that an answer is among those that its route lists. */
  function isDescribed(path: string, method: string, response: Answer): void {
    const [type = ""] = String(response.headers["content-type"]).split(";");
    const place = ["paths", path, method, "responses", `${response.statusCode}`, "content", type];
    satisfies(
      type === "text/html" ? response.body : response.json(),
      pointerOf(...place, "schema"),
    );
  }
  const post = (payload: NonNullable<InjectOptions["payload"]>) =>
    app.inject({
      method: "POST",
      url: "/v1/features",
      payload,
      headers: { "content-type": "application/json" },
    });

  it("is a valid one", async () => {
    for (const each of [document, describeApi(hostileCatalogue())]) {
      const { valid, errors } = await new Validator().validate(structuredClone(each));
      assert.ok(valid, JSON.stringify(errors, null, 2));
    }
    assert.equal(document.openapi.slice(0, 4), "3.1.");
  });

  it("has every route of the application, and no other", async () => {
    assert.deepEqual(
      await routesOf(app),
      routes.map((route) => `${route.method} ${urlOf(route)}`).sort(),
    );
    assert.deepEqual(
      Object.entries(document.paths).flatMap(([path, its]) =>
        Object.keys(its).map((method) => `${method.toUpperCase()} ${path}`),
      ),
      routes.map(({ method, path }) => `${method} ${path}`),
    );
  });

  it("describes what every GET route answers", async () => {
    for (const { path, method } of routes.filter((each) => each.method === "GET"))
      isDescribed(path, method.toLowerCase(), await app.inject(path.replace("{name}", "presence")));
    isDescribed("/v1/services/{name}", "get", await app.inject("/v1/services/model_y"));
    isDescribed("/v1/services/{name}", "get", await app.inject(`/v1/services/${"x".repeat(200)}`));
  });

  it("describes that the process is not ready", async () => {
    const closing = buildApp({ ...example, lookup, isClosing: () => true });
    isDescribed("/readyz", "get", await closing.inject("/readyz"));
    await closing.close();
    const away = buildApp({
      catalogue: example.catalogue,
      lookup: { ...lookup, ready: () => Promise.resolve({ ready: false, reason: "", views: [] }) },
    });
    isDescribed("/readyz", "get", await away.inject("/readyz"));
    await away.close();
  });

  it("has requests that are answered, in both forms, and describes these answers", async () => {
    const examples = exampleRequests(example.catalogue);
    assert.equal(Object.keys(examples).length, 2 * example.catalogue.services.size);
    for (const [name, request] of Object.entries(examples))
      for (const form of ["rows", "columns"] as const) {
        satisfies({ ...request, form }, "/components/schemas/FeatureRequest");
        const response = await post({ ...request, form });
        assert.equal(response.statusCode, 200, `${name}: ${response.body}`);
        isDescribed("/v1/features", "post", response);
        const answer = response.json<{ results?: { features: object }[] }>();
        for (const { features } of answer.results ?? [])
          satisfies(features, `/components/schemas/features.${request.service}`);
      }
  });

  it("describes what is missing, too old, or does not satisfy an expectation", async () => {
    for (const request of [
      { service: "presence", entities: [{ id: "99" }, { id: 12 }, { id: "11" }] },
      { service: "presence", entities: [{ id: "11" }], max_age: 1 },
      { features: ["age_zero_mean_unit_variance"], inputs: { age: 100 } },
      { features: ["badges.minutes_inside"], entities: [{ id: "12" }], snapshots: {} },
    ])
      for (const form of ["rows", "columns"] as const) {
        const response = await post({ ...request, form });
        assert.equal(response.statusCode, 200, response.body);
        isDescribed("/v1/features", "post", response);
      }
  });

  it("describes every problem that a request can be answered with", async () => {
    const rows = Array.from({ length: 1001 }, () => ({ id: "1" }));
    const cases: readonly [
      code: keyof typeof errorRegistry,
      payload: NonNullable<InjectOptions["payload"]>,
    ][] = [
      ["REQUEST_INVALID", "{"],
      ["REQUEST_INVALID", {}],
      ["REQUEST_TOO_LARGE", { service: "model_x", entities: rows }],
      ["VALUE_INVALID", { features: ["has_pet"], inputs: { pet: "many" } }],
      ["UNKNOWN_INPUT", { features: ["has_pet"], inputs: { pets: 1 } }],
      ["MISSING_INPUT", { features: ["has_pet"] }],
      ["UNKNOWN_SERVICE", { service: "model_y" }],
      ["UNKNOWN_FEATURE", { features: ["has_pets"] }],
      ["UNKNOWN_VIEW", { features: ["age_mean"], snapshots: { view: "x" } }],
      ["UNKNOWN_SNAPSHOT", { features: ["age_mean"], snapshots: { absences: "x" } }],
      ["FINGERPRINT_MISMATCH", { service: "model_x", entities: [], fingerprint: "x" }],
    ];
    for (const [code, payload] of cases) {
      const response = await post(payload);
      assert.equal(response.json<{ code: string }>().code, code);
      isDescribed("/v1/features", "post", response);
    }
    const xml = await app.inject({
      method: "POST",
      url: "/v1/features",
      payload: "<a/>",
      headers: { "content-type": "text/xml" },
    });
    assert.equal(xml.statusCode, 415);
    isDescribed("/v1/features", "post", xml);
    const empty = createLookup({ ...example, redis: example.serving, prefix: "nothing-here" });
    const broken = buildApp({ catalogue: example.catalogue, lookup: empty, log: "silent" });
    const payload = { features: ["age_mean"] };
    const response = await broken.inject({ method: "POST", url: "/v1/features", payload });
    assert.equal(response.json<{ code: string }>().code, "NO_SNAPSHOT");
    isDescribed("/v1/features", "post", response);
    empty.close();
    await broken.close();
  });

  it("describes what is refused before there is a request", async () => {
    const early = buildApp({
      catalogue: example.catalogue,
      lookup,
      log: "silent",
      // The other requests are read in that time on any machine.
      deadlines: { requestMs: 2_000, headersMs: 1_500, checkMs: 50 },
    });
    const { port } = new URL(await early.listen({ port: 0, host: "127.0.0.1" }));
    for (const [text, status] of [
      [`GET /healthz HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(100_000)}\r\n\r\n`, 431],
      ["GET /healthz HTTP/1.1\r\nhost: a\r\n", 408],
      ["no HTTP\r\n\r\n", 400],
    ] as const) {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(text);
      const [head = "", body = ""] = (await textOf(socket)).split("\r\n\r\n");
      assert.match(head, new RegExp(`^HTTP/1.1 ${status} `));
      const place = pointerOf("paths", "/healthz", "get", "responses", `${status}`, "content");
      satisfies(JSON.parse(body), `${place}${pointerOf("application/problem+json", "schema")}`);
    }
    await early.close();
  });

  it("describes how callers without a key, with too few scopes or too many requests are refused", async () => {
    const { catalogue, writing, serving, redis } = example;
    const prefix = `${redis.prefix}-keys`;
    const { key } = await addKey(writing, prefix, ["read:service:presence"]);
    const settings = accessSettings({ callerRate: { perSecond: 0.1, burst: 2 } });
    const access = openAccess(settings, { redis: serving, prefix });
    await access.refresh();
    const guarded = buildApp({ catalogue, lookup, log: "silent", access });
    const described = await guarded.inject({ url: "/openapi.json" });
    assert.equal(described.statusCode, 401);
    isDescribed("/openapi.json", "get", described);
    const ask = (service: string, headers: object) =>
      guarded.inject({
        method: "POST",
        url: "/v1/features",
        payload: { service, entities: [] },
        headers: { ...headers },
      });
    for (const [response, status] of [
      [await ask("presence", {}), 401],
      [await ask("model_x", bearer(key)), 403],
      [await ask("presence", bearer(key)), 200],
      [await ask("presence", bearer(key)), 429],
    ] as const) {
      assert.equal(response.statusCode, status, response.body);
      isDescribed("/v1/features", "post", response);
    }
    isDescribed("/readyz", "get", await guarded.inject("/readyz"));
    await guarded.close();
    access.close();
    const withKeys = describeApi(catalogue, { asksWho: true });
    assert.deepEqual(withKeys["security"], [{ bearer: [] }]);
    assert.deepEqual(
      routes
        .filter(({ path, method }) => {
          const described = withKeys.paths[path]?.[method.toLowerCase()] as { security?: object };
          return described.security !== undefined;
        })
        .map(({ path }) => path),
      ["/healthz", "/readyz"],
    );
  });

  it("lists codes of the registry under their own status", () => {
    for (const { codes } of routes)
      for (const code of codes) assert.ok(Object.hasOwn(errorRegistry, code), code);
  });

  for (const dtype of dtypes)
    it(`describes every value of dtype ${dtype} as it travels`, () =>
      fc.assert(
        fc.property(anyValueOf(dtype), (value) => {
          satisfies(toJson(dtype, value), "/components/schemas/Value");
          if (value === null) return;
          const titles = { int64: "Int64", list_float64: "ListFloat64" } as const;
          const title =
            dtype in titles
              ? titles[dtype as keyof typeof titles]
              : dtype[0]?.toUpperCase() + dtype.slice(1);
          satisfies(toJson(dtype, value), `/components/schemas/${title}`);
          assert.notEqual(fromJson(dtype, toJson(dtype, value), "value"), undefined);
        }),
        runsOf(200),
      ));

  it("is the reviewed one; set UPDATE_SNAPSHOTS=1 to accept a change on purpose", () =>
    assertReviewed(new URL("./openapi.snapshot.json", import.meta.url), () =>
      JSON.stringify(describeApi(hostileCatalogue())),
    ));
});
