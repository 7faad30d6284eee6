import assert from "node:assert/strict";
import type { FastifyInstance } from "fastify";
import { buildApp } from "../../../serving/http/app.ts";
import type { Access } from "../../../serving/auth/access.ts";
import { openAccess } from "../../../serving/auth/access.ts";
import type { Lookup } from "../../../serving/lookup.ts";
import { createLookup } from "../../../serving/lookup.ts";
import { exampleRequests } from "../../../serving/http/openapi.ts";
import { accessSettings, addKey } from "../../support/http/access.ts";
import type { ExampleStore } from "../../support/http/example-store.ts";
import { fillExampleStore } from "../../support/http/example-store.ts";
import { fuzz } from "../../support/http/fuzz.ts";

describe("mutated requests", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  let access: Access;
  let app: FastifyInstance;
  const keys: string[] = [];
  const log: string[] = [];
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, writing, redis } = example;
    for (const scopes of [["admin"], ["read:*", "describe"], ["read:view:absences"]])
      keys.push((await addKey(writing, redis.prefix, scopes)).key);
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    access = openAccess(accessSettings(), { redis: serving, prefix: redis.prefix });
    await access.refresh();
    app = buildApp({
      // A machine that pauses is no failure of the service.
      catalogue,
      lookup,
      access,
      load: { deadlineMs: 60_000 },
      logStream: { write: (line) => void log.push(line) },
    });
  });
  after(async () => {
    await app.close();
    access.close();
    lookup.close();
    await example.stop();
  });

  it("get planned answers, 20 000 of them", async () => {
    const { catalogue, snapshots, redis } = example;
    const valid = [
      ...Object.values(exampleRequests(catalogue)),
      { features: ["has_pet", "absences.age"], entities: [{ id: 11 }, { id: "nobody" }] },
      { features: ["left_late"], entities: [{ id: "12" }], max_age: { badges: 3600 } },
      {
        features: ["is_summer", "has_pet"],
        entities: [{ id: 11 }],
        inputs: [{ month_of_absence: 1 }],
      },
      { service: "model_x", entities: [{ id: "11" }], snapshots: { absences: snapshots.absences } },
      { service: "model_x", entities: [{ id: "11" }], form: "columns", max_age: 60 },
    ];
    const secrets = [...keys.map((key) => key.slice(-43)), redis.url, "digest"];
    const counts = await fuzz(app, { seed: 6, count: 20_000, valid, keys, secrets });
    // The mutants are no noise alone: some are still right, and others go wrong in many ways.
    for (const status of [200, 400, 401, 403, 404, 405, 413, 415])
      assert.ok((counts.get(status) ?? 0) >= 5, `${status}: ${counts.get(status)} of them`);
    for (const key of keys) assert.ok(!log.some((line) => line.includes(key.slice(-43))));
  }).timeout(300_000);
});
