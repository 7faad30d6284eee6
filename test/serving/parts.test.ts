import assert from "node:assert/strict";
import { buildCatalogue } from "../../engine/catalogue.ts";
import { plan } from "../../engine/planner.ts";
import * as example from "../../features/index.ts";
import { createPartBinder } from "../../serving/ready-parts.ts";

const catalogue = buildCatalogue(example);
const ids = (...columns: string[]) => new Set(columns.map((column) => `absences.${column}`));
const byId = new Set(["id"]);

describe("parts that are kept", () => {
  it("are the same for the same inputs in any order, and others for other inputs", () => {
    const bind = createPartBinder()(plan(catalogue, { service: "model_x" }));
    assert.equal(bind(ids("age", "pet"), byId), bind(ids("pet", "age"), new Set(["id"])));
    assert.notEqual(bind(ids("age"), byId), bind(ids("pet"), byId));
    assert.notEqual(bind(ids("age"), byId), bind(ids("age", "pet"), byId));
  });

  it("stay as long as they are used, however many others come in between", () => {
    const columns = Object.keys(example.absences.absences.columns).filter((name) => name !== "id");
    const features = columns.map((name) => `absences.${name}`);
    const bind = createPartBinder()(plan(catalogue, { features }));
    const hot = bind(new Set(), byId);
    for (let mask = 1; mask <= 200; mask++) {
      bind(ids(...columns.filter((_, i) => (mask >> i) & 1)), byId);
      assert.equal(bind(new Set(), byId), hot);
    }
  });
});
