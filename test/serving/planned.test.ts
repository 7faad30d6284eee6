import assert from "node:assert/strict";
import { buildCatalogue } from "../../engine/catalogue.ts";
import * as example from "../../features/index.ts";
import { createPlans } from "../../serving/planned.ts";

describe("plans of feature lists", () => {
  it("stay as long as they are used, however many others are asked for", () => {
    const plans = createPlans(buildCatalogue(example), "auto");
    const hot = plans({ features: ["has_pet"] });
    const columns = Object.keys(example.absences.absences.columns).map(
      (name) => `absences.${name}`,
    );
    for (const one of columns)
      for (const other of columns.slice(0, 3)) {
        plans({ features: [one, other, "has_pet"] });
        assert.equal(plans({ features: ["has_pet"] }), hot);
      }
  });
});
