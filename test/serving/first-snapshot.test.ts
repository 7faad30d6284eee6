import assert from "node:assert/strict";
import { loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { createLookup } from "../../serving/lookup.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { aggregateValues } from "../support/http/example-store.ts";
import { fillView } from "../support/redis/fill.ts";
import { patient, testRedis } from "../support/redis/server.ts";

describe("A lookup that runs before anything is materialized", () => {
  it("answers as soon as the first snapshot is committed, whatever its refresh time", async () => {
    const redis = await testRedis();
    const [serving, writing] = [
      connectRedis(redis.url, "serving", patient),
      connectRedis(redis.url, "writing"),
    ];
    const catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    await serving.ready();
    const { prefix } = redis;
    const lookup = createLookup({ catalogue, redis: serving, prefix, refreshMs: 3_600_000 });
    try {
      await assert.rejects(lookup.answer({ features: ["age_mean"] }), (error) => {
        assert.ok(error instanceof OnceflowError);
        return error.code === "NO_SNAPSHOT";
      });
      const absences = viewNamed(catalogue, "absences");
      const id = await fillView(writing, absences, {
        prefix,
        start: "2026-03-01",
        end: "2026-03-02",
        rows: [],
        aggregates: aggregateValues(absences, { mean: 36.5, std: 2 }),
      });
      const answer = await lookup.answer({ features: ["age_mean"] });
      assert.deepEqual(answer.results[0]?.features, { age_mean: 36.5 });
      assert.deepEqual(answer.snapshot, { absences: id });
    } finally {
      lookup.close();
      await Promise.all([serving.close(), writing.close()]);
      await redis.stop();
    }
  });
});
