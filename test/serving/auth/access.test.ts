import assert from "node:assert/strict";
import type { FastifyInstance, InjectOptions } from "fastify";
import { buildApp } from "../../../serving/http/app.ts";
import type { Access } from "../../../serving/auth/access.ts";
import { openAccess } from "../../../serving/auth/access.ts";
import type { AccessSettings } from "../../../serving/auth/settings.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { accessSettings, addKey, bearer, revokeKey } from "../../support/http/access.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { routesOf } from "../../support/http/routes.ts";
import { until } from "../../support/until.ts";

/** Who asks. */
const roles = [
  ...(["nobody", "garbage", "wrong", "expired", "revoked"] as const),
  ...(["nothing", "describe", "other service", "this service", "view", "all", "admin"] as const),
];
type Role = (typeof roles)[number];

/** Scopes of the roles that have a key. */
const scopes: Partial<Record<Role, readonly string[]>> = {
  expired: ["admin"],
  revoked: ["admin"],
  nothing: ["openid", "read", "read:", "read:service:", "read:all:x", "ADMIN", "describe:x", "*"],
  describe: ["describe"],
  "other service": ["read:service:presence"],
  "this service": ["read:service:model_x"],
  view: ["read:view:absences"],
  all: ["read:*"],
  admin: ["admin"],
};

const anybody = roles;
const unknown: readonly Role[] = ["nobody", "garbage", "wrong", "expired", "revoked"];
const known = roles.filter((role) => !unknown.includes(role));

/** What a request to each route asks for, and who may ask. */
const routes: Readonly<
  Record<string, { readonly request: InjectOptions; readonly allowed: readonly Role[] }>
> = {
  "POST /v1/features": {
    request: { payload: { service: "model_x", entities: [{ id: "11" }] } },
    allowed: ["this service", "view", "all", "admin"],
  },
  "GET /v1/services": { request: {}, allowed: ["describe", "admin"] },
  "GET /v1/services/:name": {
    request: { url: "/v1/services/model_x" },
    allowed: ["describe", "admin"],
  },
  "GET /v1/catalogue": { request: {}, allowed: ["describe", "admin"] },
  "GET /healthz": { request: {}, allowed: anybody },
  "GET /readyz": { request: {}, allowed: anybody },
  "GET /openapi.json": { request: {}, allowed: ["describe", "admin"] },
  "GET /docs": { request: {}, allowed: ["describe", "admin"] },
};

const unauthenticated = {
  type: "urn:onceflow:error:UNAUTHENTICATED",
  title: "The request has no valid API key or token.",
  status: 401,
  code: "UNAUTHENTICATED",
  detail: "send a valid API key or token: Authorization: Bearer <key>.",
};
const notAllowed = {
  type: "urn:onceflow:error:FORBIDDEN",
  title: "The API key or token is valid, but its scopes do not allow this.",
  status: 403,
  code: "FORBIDDEN",
  detail:
    "the scopes of this key or token do not allow what is asked for. Features take read:*, or read:service:<name> or read:view:<name> of what is asked for; /docs, /openapi.json, /v1/services and /v1/catalogue take describe.",
};

/** A problem without what names the request in the log. */
function withoutId(response: { readonly json: <T>() => T }): object {
  const { request_id, ...problem } = response.json<{ request_id: string }>();
  assert.match(request_id, /^[0-9a-f]+$/);
  return problem;
}

describe("access over HTTP", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  const opened: { app: FastifyInstance; access: Access }[] = [];
  const keyOf = new Map<Role, string>();
  const log: string[] = [];
  let app: FastifyInstance;

  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, writing, redis } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    const past = new Date(Date.now() - 1000).toISOString();
    for (const role of roles) {
      if (scopes[role] === undefined) continue;
      const ended =
        role === "expired" ? { expires_at: past } : role === "revoked" ? { revoked_at: past } : {};
      const { key } = await addKey(writing, redis.prefix, scopes[role], ended);
      keyOf.set(role, key);
    }
    keyOf.set("garbage", "not a key");
    keyOf.set("wrong", `${keyOf.get("admin")?.slice(0, -43)}${"A".repeat(43)}`);
    app = await open();
  });
  after(async () => {
    await Promise.all(opened.map(({ app }) => app.close()));
    for (const { access } of opened) access.close();
    lookup.close();
    await example.stop();
  });
  beforeEach(() => void log.splice(0));

  async function open(overrides: Partial<AccessSettings> = {}): Promise<FastifyInstance> {
    const { catalogue, serving, redis } = example;
    const settings = accessSettings(overrides);
    const access = openAccess(settings, { redis: serving, prefix: redis.prefix, refreshMs: 50 });
    await access.refresh();
    const made = buildApp({
      catalogue,
      lookup,
      access,
      logStream: { write: (line) => void log.push(line) },
    });
    opened.push({ app: made, access });
    return made;
  }
  function as(role: Role, request: InjectOptions): InjectOptions {
    const key = keyOf.get(role);
    const headers = { ...request.headers, ...(key === undefined ? {} : bearer(key)) };
    return { ...request, headers };
  }
  const features = (role: Role, payload: object | string) =>
    app.inject(as(role, { method: "POST", url: "/v1/features", payload }));

  describe("of each route by each role", () => {
    it("has an entry for each route, and no other", async () => {
      const there = await routesOf(app, bearer(keyOf.get("admin") ?? ""));
      assert.deepEqual(Object.keys(routes).sort(), there, "who may ask for each?");
    });

    for (const [route, { request, allowed }] of Object.entries(routes))
      it(`lets ${allowed === anybody ? "anybody" : allowed.join(", ")} ask ${route}, and nobody else`, async () => {
        const [method = "", url = ""] = route.split(" ");
        const asked = { method, url, ...request } as InjectOptions;
        for (const role of roles) {
          const response = await app.inject(as(role, asked));
          const wanted = allowed.includes(role) ? 200 : unknown.includes(role) ? 401 : 403;
          assert.equal(response.statusCode, wanted, `${role}: ${response.body}`);
          if (wanted === 401) {
            assert.deepEqual(withoutId(response), unauthenticated);
            assert.equal(response.headers["www-authenticate"], 'Bearer realm="onceflow"');
          }
          if (wanted === 403) assert.deepEqual(withoutId(response), notAllowed);
        }
      });

    it("tells strangers neither what paths there are nor what methods", async () => {
      for (const request of [
        { url: "/v2/anything" },
        { url: "/" },
        { method: "DELETE", url: "/v1/catalogue" },
        { method: "OPTIONS", url: "/v1/features" },
        { method: "HEAD", url: "/v1/catalogue" },
      ] as const)
        for (const role of unknown) {
          const response = await app.inject(as(role, request));
          assert.equal(response.statusCode, 401, `${role} ${request.url}`);
          if (response.body !== "") assert.deepEqual(withoutId(response), unauthenticated);
        }
      assert.equal((await app.inject(as("nothing", { url: "/v2/anything" }))).statusCode, 404);
    });

    it("tells strangers whether the service is ready, and those who may know why", async () => {
      const stranger = await app.inject({ url: "/readyz" });
      assert.deepEqual(stranger.json(), { status: "ready" });
      const describing = await app.inject(as("describe", { url: "/readyz" }));
      assert.deepEqual(
        describing.json<{ views: { view: string }[] }>().views.map(({ view }) => view),
        ["absences", "badges"],
      );
      const refused = await app.inject({ method: "POST", url: "/readyz" });
      assert.equal(refused.json<{ code: string }>().code, "METHOD_NOT_ALLOWED");
    });
  });

  describe("of features by service and view", () => {
    const rows = { entities: [{ id: "11" }] };
    const cases: readonly (readonly [
      asked: object,
      allowed: readonly Role[],
      status?: number | readonly number[],
    ])[] = [
      [{ service: "model_x" }, ["this service", "view"]],
      [{ service: "presence" }, ["other service"]],
      [{ features: ["has_pet", "absences.age"] }, ["view"]],
      [{ features: ["left_late"] }, []],
      [{ features: ["has_pet", "left_late"] }, []],
      [{ features: ["has_pet", "badges.door"] }, []],
      // What does not exist is for nobody who may not read everything.
      [{ service: "model_y" }, [], 404],
      [{ service: "__proto__" }, [], 404],
      [{ features: ["has_pett"] }, [], 404],
      [{ features: ["absences.agee"] }, [], 404],
      [{ features: ["absences.constructor"] }, [], 404],
      [{ features: ["constructor"] }, [], 404],
      [{ features: ["badgez.door"] }, [], 404],
      [{ service: "model_x", snapshots: { badges: "1" } }, [], 400],
      [{ service: "model_x", snapshots: { badgez: "1" } }, [], 404],
      [{ service: "model_x", snapshots: { absences: "1" } }, ["this service", "view"], 404],
      // What has no form is for nobody, and the parser says so to all that may read anything.
      [{}, ["this service", "other service", "view"], 400],
      [{ service: 7 }, ["this service", "other service", "view"], 400],
      [
        { service: "model_x", features: ["has_pet"] },
        ["this service", "other service", "view"],
        400,
      ],
      [{ features: [] }, ["this service", "other service", "view"], 400],
      [{ features: "has_pet" }, ["this service", "other service", "view"], 400],
      [{ features: ["has_pet", null] }, [], 400],
    ];
    for (const [asked, allowed, status = 200] of cases)
      it(`lets ${["all", "admin", ...allowed].join(", ")} ask for ${JSON.stringify(asked)}`, async () => {
        for (const role of known) {
          const response = await features(role, { ...rows, ...asked });
          const may = role === "all" || role === "admin" || allowed.includes(role);
          assert.equal(response.statusCode, may ? status : 403, `${role}: ${response.body}`);
          if (!may) assert.deepEqual(withoutId(response), notAllowed);
        }
      });

    it("names no other service where one that is allowed is not there", async () => {
      const { writing, redis } = example;
      const { key } = await addKey(writing, redis.prefix, ["read:service:model_y"]);
      const own = await open();
      const asked = { method: "POST", url: "/v1/features", headers: bearer(key) } as const;
      const response = await own.inject({ ...asked, payload: { service: "model_y" } });
      assert.equal(response.statusCode, 404);
      assert.doesNotMatch(response.body, /model_x|presence/);
    });

    it("is refused before a body is read", async () => {
      for (const role of unknown) {
        const asked = { method: "POST", url: "/v1/features", payload: '{"deep":' } as const;
        const headers = { "content-type": "text/nonsense" };
        const response = await app.inject(as(role, { ...asked, headers }));
        assert.equal(response.statusCode, 401);
      }
      const headers = { "content-type": "text/nonsense" };
      const asked = { method: "POST", url: "/v1/features", payload: "x", headers } as const;
      assert.equal((await app.inject(as("nothing", asked))).statusCode, 403);
      assert.equal((await app.inject(as("all", asked))).statusCode, 415);
    });
  });

  it("takes the header in any of the forms of RFC 6750, and no other place for a key", async () => {
    const key = keyOf.get("describe") ?? "";
    const status = async (headers: Record<string, string>, query = "") =>
      (await app.inject({ url: `/v1/services${query}`, headers })).statusCode;
    for (const authorization of [`Bearer ${key}`, `bearer ${key}`, `BEARER   ${key}`])
      assert.equal(await status({ authorization }), 200);
    for (const authorization of [
      "",
      "Bearer",
      "Bearer ",
      key,
      `Basic ${key}`,
      `Token ${key}`,
      `Bearer ${key},`,
      `Bearer ${key} x`,
      `Bearer x, Bearer ${key}`,
      `Bearer "${key}"`,
      `Bearer=${key}`,
    ])
      assert.equal(await status({ authorization }), 401, authorization);
    assert.equal(await status({}, `?access_token=${key}&key=${key}`), 401);
    assert.equal(await status({ cookie: `key=${key}`, "x-api-key": key }), 401);
  });

  it("ends within moments of a revocation", async () => {
    const { writing, redis } = example;
    const { key, id } = await addKey(writing, redis.prefix, ["describe"]);
    const status = async () =>
      (await app.inject({ url: "/v1/services", headers: bearer(key) })).statusCode;
    await until("the key works", async () => (await status()) === 200);
    await revokeKey(writing, redis.prefix, id);
    await until("the key is refused", async () => (await status()) === 401);
  });

  it("sends no header by which a browser would let another site read an answer", async () => {
    for (const request of [
      { method: "OPTIONS", url: "/v1/features" },
      { method: "GET", url: "/v1/services" },
      { method: "GET", url: "/healthz" },
    ] as const)
      for (const role of ["nobody", "admin"] as const) {
        const origin = { origin: "https://evil.example", "access-control-request-method": "POST" };
        const response = await app.inject(as(role, { ...request, headers: origin }));
        const names = Object.keys(response.headers);
        assert.deepEqual(
          names.filter((name) => name.startsWith("access-control-")),
          [],
        );
      }
  });

  describe("at rates", () => {
    const ask = (made: FastifyInstance, key: string, request: InjectOptions = {}) =>
      made.inject({
        url: "/v1/services",
        ...request,
        headers: { ...request.headers, ...bearer(key) },
      });
    const describing = () => keyOf.get("describe") ?? "";

    it("is limited for each key, with the time to wait", async () => {
      const own = await open({ callerRate: { perSecond: 0.1, burst: 3 } });
      const replies = [];
      for (let i = 0; i < 4; i++) replies.push(await ask(own, describing()));
      assert.deepEqual(
        replies.map(({ statusCode }) => statusCode),
        [200, 200, 200, 429],
      );
      const { code, retry_after_seconds } = replies[3]?.json<Record<string, unknown>>() ?? {};
      assert.equal(code, "RATE_LIMITED");
      assert.ok(retry_after_seconds === 9 || retry_after_seconds === 10);
      assert.equal(replies[3]?.headers["retry-after"], `${retry_after_seconds}`);
      assert.equal((await ask(own, keyOf.get("admin") ?? "")).statusCode, 200);
      // Probes do not go out for it.
      assert.equal((await ask(own, describing(), { url: "/readyz" })).statusCode, 200);
    });

    it("is limited for each client address, whoever it says it is", async () => {
      const own = await open({ addressRate: { perSecond: 0.1, burst: 2 } });
      const from = (remoteAddress: string, key = describing(), forwarded = "") =>
        ask(own, key, { remoteAddress, headers: { "x-forwarded-for": forwarded } });
      assert.equal((await from("10.0.0.1")).statusCode, 200);
      assert.equal((await from("10.0.0.1", "wrong")).statusCode, 401);
      for (const forwarded of ["10.0.0.2", "127.0.0.1", "", "10.0.0.1, 10.9.9.9"])
        assert.equal((await from("10.0.0.1", describing(), forwarded)).statusCode, 429);
      assert.equal((await from("10.0.0.2")).statusCode, 200);
    });

    it("believes X-Forwarded-For of the listed proxies alone", async () => {
      const own = await open({
        addressRate: { perSecond: 0.1, burst: 1 },
        trustProxy: ["10.0.0.0/24"],
      });
      const from = async (remoteAddress: string, forwarded: string) =>
        (await ask(own, describing(), { remoteAddress, headers: { "x-forwarded-for": forwarded } }))
          .statusCode;
      assert.equal(await from("10.0.0.1", "192.0.2.1"), 200);
      assert.equal(await from("10.0.0.2", "192.0.2.2"), 200);
      // What the client itself wrote stands to the left of what the proxy added.
      assert.equal(await from("10.0.0.1", "192.0.2.3, 192.0.2.1"), 429);
      assert.equal(await from("192.0.2.9", "192.0.2.4"), 200);
      assert.equal(await from("192.0.2.9", "192.0.2.5"), 429);
    });
  });

  it("takes an address for the same however a proxy spells it, its own among them", async () => {
    const own = await open({
      addressRate: { perSecond: 0.1, burst: 1 },
      trustProxy: ["10.0.0.0/24", "2001:db8::/64"],
    });
    const from = async (forwarded: string) => {
      const headers = { ...bearer(keyOf.get("describe") ?? ""), "x-forwarded-for": forwarded };
      const request = { url: "/v1/services", remoteAddress: "10.0.0.1", headers };
      return (await own.inject(request)).statusCode;
    };
    for (const [first, ...same] of [
      ["192.0.2.1", "192.0.2.1:5678", "::ffff:192.0.2.1", "[::ffff:c000:201]:80"],
      ["2001:db8:1::1", "[2001:DB8:1:0::2]:443", "2001:0db8:0001:0000:ffff::9"],
      // Behind another proxy, which writes the ports of those before it.
      ["192.0.2.7, 10.0.0.2:99", "192.0.2.7:1, [2001:db8::5]:9", "192.0.2.7, ::ffff:10.0.0.3"],
      ["unknown", "_hidden", "1.2.3.4.5"],
    ]) {
      assert.equal(await from(first ?? ""), 200, first);
      for (const forwarded of same) assert.equal(await from(forwarded), 429, forwarded);
    }
  });

  it("answers under addresses and localhost alone where it is so set, and under the names given", async () => {
    const nobody = { keys: false, tokens: undefined };
    const status = async (own: FastifyInstance, host: string, url: string) =>
      (await own.inject({ url, headers: { host } })).statusCode;
    const guarded = await open({ ...nobody, hosts: [] });
    const named = await open({ ...nobody, hosts: ["Features.example"] });
    const anyHost = await open(nobody);
    const ours = ["127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "10.1.2.3:1", "localhost:8080"];
    const others = [
      "evil.example",
      "evil.example:8080",
      "127.0.0.1.evil.example",
      "localhost.evil",
    ];
    for (const { url = "/v1/catalogue", method } of [
      ...Object.entries(routes).map(([route, { request }]) => {
        const [method = "", url = ""] = route.split(" ");
        return { method, url, ...request };
      }),
      { url: "/none", method: "GET" },
    ]) {
      if (method !== "GET") continue;
      for (const host of others)
        assert.equal(await status(guarded, host, url as string), 421, url as string);
    }
    for (const host of [...ours, "LOCALHOST", "a.localhost", "localhost."])
      assert.equal(await status(guarded, host, "/v1/services"), 200, host);
    for (const host of others) assert.equal(await status(anyHost, host, "/v1/services"), 200, host);
    for (const host of [...ours, "features.example", "FEATURES.EXAMPLE:443", "features.example."])
      assert.equal(await status(named, host, "/v1/services"), 200, host);
    assert.equal(await status(named, "x.features.example", "/v1/services"), 421);
    const refused = await guarded.inject({
      method: "POST",
      url: "/v1/features",
      headers: { host: "evil.example" },
      payload: { service: "model_x", entities: [{ id: "11" }] },
    });
    assert.equal(refused.json<{ code: string }>().code, "UNKNOWN_HOST");
  });

  describe("in the log", () => {
    const lines = () => log.map((line) => JSON.parse(line) as Record<string, unknown>);

    it("has one line for each caller that is refused, without a secret", async () => {
      const own = await open();
      for (const role of ["nobody", "garbage", "wrong", "expired", "revoked", "nothing"] as const)
        await own.inject(as(role, { url: "/v1/services/model_x?secret=1" }));
      const admin = keyOf.get("admin")?.split("_")[1];
      assert.deepEqual(
        lines().map(({ code, why, key, caller }) => [code, why ?? caller, key]),
        [
          ["UNAUTHENTICATED", "no header", undefined],
          ["UNAUTHENTICATED", "no bearer", undefined],
          ["UNAUTHENTICATED", "key wrong", admin],
          ["UNAUTHENTICATED", "key ended", keyOf.get("expired")?.split("_")[1]],
          ["UNAUTHENTICATED", "key ended", keyOf.get("revoked")?.split("_")[1]],
          ["FORBIDDEN", `key ${keyOf.get("nothing")?.split("_")[1]}`, undefined],
        ],
      );
      for (const { audit, address, method, route } of lines())
        assert.deepEqual(
          [audit, address, method, route],
          ["refused", "127.0.0.1", "GET", "/v1/services/:name"],
        );
      for (const key of keyOf.values()) assert.ok(!log.join("").includes(key.slice(-43)));
      assert.doesNotMatch(log.join(""), /secret/);
    });

    it("has a line for each that asks for features it may not read", async () => {
      const own = await open();
      const payload = { features: ["has_pet"], entities: [{ id: "11" }] };
      await own.inject(as("this service", { method: "POST", url: "/v1/features", payload }));
      assert.deepEqual(
        lines().map(({ audit, code, caller, route }) => [audit, code, caller, route]),
        [
          [
            "refused",
            "FORBIDDEN",
            `key ${keyOf.get("this service")?.split("_")[1]}`,
            "/v1/features",
          ],
        ],
      );
    });

    it("is not filled by a flood, and counts what it leaves out", async () => {
      const own = await open();
      for (let i = 0; i < 500; i++) await own.inject({ url: "/v1/services" });
      assert.ok(log.length >= 20 && log.length < 200, `${log.length} lines`);
      await until("a line again", async () => {
        await own.inject({ url: "/v1/services" });
        return lines().some(({ left_out }) => Number(left_out) > 0);
      });
    });
  });

  it("is not asked for where nothing is set", async () => {
    const own = await open({ keys: false });
    assert.equal((await own.inject({ url: "/v1/services" })).statusCode, 200);
    const readiness = (await own.inject({ url: "/readyz" })).json<Record<string, unknown>>();
    assert.ok("views" in readiness);
  });
});
