import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { FastifyInstance } from "fastify";
import { statuses } from "../../../serving/answer.ts";
import { buildApp } from "../../../serving/http/app.ts";
import { headerLimits } from "../../../serving/http/guards.ts";
import { arrivingBytes } from "../../../serving/http/arriving.ts";
import { bodyLimitBytes, depthLimit } from "../../../serving/http/json-body.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { routes, urlOf } from "../../../serving/http/routes.ts";
import { requestLimits } from "../../../serving/request.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { hideHashes } from "../../support/hide-hashes.ts";

const page = await readFile(new URL("../../../docs/http.md", import.meta.url), "utf8");
const examples = [
  ...page.matchAll(/```json request\n(.*?)```\s+```json (answer|problem)\n(.*?)```/gs),
].map(([, request = "", kind = "", answer = ""]) => ({ request, kind, answer }));

/** How the page calls each limit of a request. */
const limitNames: Readonly<Record<keyof typeof requestLimits, string>> = {
  rows: "rows",
  features: "features",
  keyBytes: "entity key, UTF-8",
  nameLength: "name of a feature, service, view or input",
  mixtures: "different sets of members among the rows",
};

describe("docs/http.md", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  let app: FastifyInstance;
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    const clock = () => Date.parse("2026-03-02T06:00:00Z");
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix, clock });
    app = buildApp({ catalogue, lookup });
  });
  after(async () => {
    await app.close();
    lookup.close();
    await example.stop();
  });

  it("has an answer to each request that it shows", () => {
    assert.equal(examples.length, page.split("```json request").length - 1);
    assert.ok(examples.length >= 4);
  });

  for (const [i, { request, kind, answer }] of examples.entries())
    it(`shows in example ${i + 1} the ${kind} that the application gives`, async () => {
      const response = await app.inject({
        method: "POST",
        url: "/v1/features",
        headers: { "content-type": "application/json" },
        payload: request,
      });
      const given = JSON.stringify(hideHashes(response.json()), null, 2);
      // The order of members counts too.
      assert.equal(given, JSON.stringify(JSON.parse(answer), null, 2));
    });

  it("lists every status, route and limit", () => {
    for (const status of statuses) assert.ok(page.includes(`\n| \`${status}\``), status);
    const units = new Map([
      ["MiB", 2 ** 20],
      ["KiB", 2 ** 10],
    ]);
    const limits = new Map(
      [...page.matchAll(/^\| ([a-z].*?) +\| (\d+)(?: (MiB|KiB|B|characters))? +\|$/gm)].map(
        ([, name = "", value, unit = ""]) => [name, Number(value) * (units.get(unit) ?? 1)],
      ),
    );
    assert.deepEqual(Object.fromEntries(limits), {
      body: bodyLimitBytes,
      "bodies on their way to a process, together": arrivingBytes,
      nesting: depthLimit,
      ...Object.fromEntries(
        Object.entries(requestLimits).map(([name, limit]) => [
          limitNames[name as keyof typeof requestLimits],
          limit,
        ]),
      ),
      headers: headerLimits.count,
      "headers, all together": headerLimits.bytes,
    });
    // These are every route there is, which is tested beside them.
    const paths = routes.map((each) => `${each.method} ${urlOf(each)}`);
    const listed = [...page.matchAll(/^\| `((?:GET|POST) \S+)`/gm)].map(([, route]) => route);
    assert.deepEqual(listed.sort(), paths.sort());
  });
});
