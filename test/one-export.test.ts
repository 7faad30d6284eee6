import assert from "node:assert/strict";
import { compileBatch } from "../engine/compile/batch.ts";
import { toColumns, valueAt } from "../engine/compile/frame.ts";
import { buildCatalogue, type Catalogue, loadCatalogue, viewNamed } from "../engine/catalogue.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import { between, when } from "../engine/index.ts";
import { lineageAround } from "../engine/lineage.ts";
import { toJson } from "../engine/wire.ts";
import { writeAbsences } from "../dev/example-data.ts";
import * as features from "../features/index.ts";
import { createLookup } from "../serving/lookup.ts";
import { connectRedis } from "../store/redis/connection.ts";
import { readChunks } from "../sources/scan.ts";
import { listSourceFiles } from "../sources/files.ts";
import { interval } from "../engine/calendar/interval.ts";
import { compareFeatures, outputsOf } from "./support/engine/feature-parity.ts";
import { type Deployment, startDeployment } from "./support/temporal/deployment.ts";
import { patient } from "./support/redis/server.ts";

/** The one export that a user adds; its name is the key in the modules below. */
function addedFeature() {
  const { age, son } = features.absences.absences.columns;
  const { age_mean } = features.absences;
  return when(son.gt(1))
    .then(age.sub(age_mean))
    .otherwise(0)
    .describe("Added")
    .expect(between(-120, 120));
}

describe("A feature that is added by one export", function () {
  this.timeout(60_000);
  let deployment: Deployment;
  let today: Catalogue;
  let then: Catalogue;

  before(async () => {
    deployment = await startDeployment();
    today = await loadCatalogue(() => import("../features/index.ts"));
    then = buildCatalogue({
      ...features,
      absences: { ...features.absences, age_of_large_families: addedFeature() },
    });
    writeAbsences(deployment.settings.dataDir, 200);
    await deployment.startWorker();
    const run = await deployment.runs.startMaterialize({
      view: "absences",
      start: "2026-01-01T00:00:00Z",
      end: "2026-01-02T00:00:00Z",
      fingerprint: viewNamed(today, "absences").fingerprint,
      definition: viewNamed(today, "absences").definition,
    });
    await run.result();
  });
  after(() => deployment.stop());

  it("moves no row: the fingerprints of rows and aggregates stay", () => {
    for (const name of today.views.keys()) {
      const [old, now] = [viewNamed(today, name), viewNamed(then, name)];
      assert.equal(now.fingerprint, old.fingerprint);
      assert.equal(now.aggregatesFingerprint, old.aggregatesFingerprint);
    }
  });

  it("is served at once from the rows that were there, equal to batch bit for bit", async () => {
    const { settings } = deployment;
    const dump = await deployment.dump();
    const redis = connectRedis(settings.redisUrl, "serving", patient);
    const lookup = createLookup({ catalogue: then, redis, prefix: settings.prefix });
    const view = viewNamed(then, "absences");
    const always = interval("0001-01-01", "9999-12-31");
    const [file] = await listSourceFiles(view.source, always, settings);
    assert.ok(file);
    const answerOf = (ids: string[]) =>
      lookup.answer({
        features: ["age_of_large_families", "age_mean"],
        entities: ids.map((id) => ({ id })),
      });
    for await (const chunk of readChunks(view.source, file, always)) {
      const ids = toColumns(chunk, ["id"])[0]?.data as string[];
      const distinct = [...new Set(ids)];
      const answer = await answerOf(distinct);
      const mean = answer.results[0]?.features["age_mean"];
      const node = then.features.get("age_of_large_families")?.node;
      assert.ok(node);
      const program = compileBatch([{ name: "added", node }]);
      const [aggregate] = program.aggregates;
      assert.ok(aggregate);
      const frame = await program.run(chunk, new Map([[fingerprintOf(aggregate), Number(mean)]]));
      const [column] = toColumns(frame);
      assert.ok(column);
      for (const [place, id] of distinct.entries()) {
        const batch = toJson("float64", valueAt(column, ids.lastIndexOf(id)));
        assert.deepEqual(answer.results[place]?.features["age_of_large_families"], batch);
        assert.equal(answer.results[place]?.statuses["age_of_large_families"], "PRESENT");
      }
    }
    assert.equal(await deployment.dump(), dump);
    lookup.close();
    await redis.close();
  });

  it("is in the lineage and the catalogue", () => {
    const { nodes } = lineageAround(then, "age_of_large_families", "up");
    assert.deepEqual(nodes.map((node) => node.name).sort(), [
      "absences.age",
      "absences.son",
      "age_mean",
      "age_of_large_families",
      // The same expression as one of its parts, so the graph knows it by that name.
      "age_zero_mean",
    ]);
    assert.equal(then.features.get("age_of_large_families")?.notes.description, "Added");
  });

  it("is compared by the parity suite, which goes through every feature of a view", async () => {
    const view = viewNamed(then, "absences");
    assert.ok(outputsOf(view).some(({ name }) => name === "age_of_large_families"));
    assert.deepEqual(await compareFeatures(view, { rows: 200, seed: 1 }), []);
  });
});
