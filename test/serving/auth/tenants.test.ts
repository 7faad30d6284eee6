import assert from "node:assert/strict";
import type { FastifyInstance, InjectOptions } from "fastify";
import { type Access, openAccess } from "../../../serving/auth/access.ts";
import { buildApp } from "../../../serving/http/app.ts";
import { createLookup, type Lookup } from "../../../serving/lookup.ts";
import { accessSettings, addKey, bearer } from "../../support/http/access.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { fillView } from "../../support/redis/fill.ts";
import { routesOf } from "../../support/http/routes.ts";

/** Where somebody may try to say which deployment is meant. */
const claims = ["prefix", "tenant", "namespace", "onceflow_prefix", "ONCEFLOW_PREFIX"];

describe("two tenants, each with a deployment, in one Redis", () => {
  let example: ExampleStore;
  const opened: { app: FastifyInstance; access: Access; lookup: Lookup }[] = [];
  const prefixes: string[] = [];
  const keys: string[] = [];
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, writing, redis, absences } = example;
    prefixes.push(redis.prefix, `${redis.prefix}-other`);
    // The other tenant has another employee 11, and one that the first does not have.
    await fillView(writing, absences, {
      prefix: prefixes[1] as string,
      start: "2026-03-01",
      end: "2026-03-02",
      rows: ["11", "77"].map((id) => ({ key: [id], values: { age: 61, has_children: 0 } })),
      aggregates: new Map(),
    });
    for (const prefix of prefixes) {
      keys.push((await addKey(writing, prefix, ["admin"])).key);
      const lookup = createLookup({ catalogue, redis: serving, prefix });
      const access = openAccess(accessSettings(), { redis: serving, prefix });
      await Promise.all([lookup.refresh(), access.refresh()]);
      const app = buildApp({ catalogue, lookup, access, log: "silent" });
      opened.push({ app, access, lookup });
    }
  });
  after(async () => {
    for (const { app, access, lookup } of opened) {
      await app.close();
      access.close();
      lookup.close();
    }
    const { writing } = example;
    const ofOther = (await writing.send(["keys", `${prefixes[1]}:*`])) as Buffer[];
    if (ofOther.length > 0) await writing.send(["del", ...ofOther]);
    await example.stop();
  });

  const inject = (tenant: number, key: string, request: InjectOptions) =>
    (opened[tenant] as { app: FastifyInstance }).app.inject({
      ...request,
      headers: { ...request.headers, ...bearer(key) },
    });
  const asked = {
    features: ["has_children", "absences.age"],
    entities: [{ id: "11" }, { id: "77" }],
  };
  const rowsOf = async (tenant: number, request: InjectOptions = {}) => {
    const url = "/v1/features";
    const sent = { method: "POST" as const, url, payload: asked, ...request };
    const response = await inject(tenant, keys[tenant] ?? "", sent);
    if (response.statusCode !== 200) return response.json<{ code: string }>().code;
    return response
      .json<{ results: { features: Record<string, unknown> }[] }>()
      .results.map(({ features }) => features["absences.age"]);
  };

  it("knows no key of the other, on any route", async () => {
    const [app] = opened.map((each) => each.app);
    const routes = await routesOf(app as FastifyInstance, bearer(keys[0] ?? ""));
    const closed = routes.filter((route) => !/ \/(healthz|readyz)$/.test(route));
    assert.ok(closed.length >= 6, closed.join());
    for (const route of closed)
      for (const tenant of [0, 1]) {
        const [method = "", path = ""] = route.split(" ");
        const url = path.replace(":name", "model_x");
        const request = {
          method: method as "GET",
          url,
          ...(method === "POST" && { payload: asked }),
        };
        const own = await inject(tenant, keys[tenant] ?? "", request);
        const others = await inject(tenant, keys[1 - tenant] ?? "", request);
        assert.deepEqual([own.statusCode, others.statusCode], [200, 401], `${route} of ${tenant}`);
      }
  });

  it("answers each from its own rows", async () => {
    assert.deepEqual(await rowsOf(0), [33, null]);
    assert.deepEqual(await rowsOf(1), [61, 61]);
  });

  it("takes no word of a caller's for whose rows are meant", async () => {
    const [, other = ""] = prefixes;
    for (const claim of claims) {
      const payload = { ...asked, [claim]: other };
      assert.equal(await rowsOf(0, { payload }), "REQUEST_INVALID", claim);
      const url = `/v1/features?${claim}=${encodeURIComponent(other)}`;
      assert.deepEqual(await rowsOf(0, { url }), [33, null], url);
      const headers = { [`x-${claim}`]: other, [claim]: other };
      assert.deepEqual(await rowsOf(0, { headers }), [33, null], claim);
    }
    // Keys of entities are exact texts of their own length, wherever they are put into a key of Redis.
    for (const id of [`${other}:77`, `../${other}/77`, `77\u0000${other}`, `{${other}}77`])
      assert.deepEqual(await rowsOf(0, { payload: { ...asked, entities: [{ id }] } }), [null], id);
  });
});
