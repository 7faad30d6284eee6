import assert from "node:assert/strict";
import { explainPlan } from "../../serving/explain.ts";
import { deepSharing } from "../support/engine/deep-sharing.ts";

describe("the explanation of a plan", () => {
  it("names once what a formula uses over and over", () => {
    const { planned } = deepSharing();
    const [output] = explainPlan(planned.bind(new Set(["deep.x"]), new Set())).outputs;
    assert.deepEqual([output?.how, output?.request], ["computed", ["deep.x"]]);
  });
});
