import assert from "node:assert/strict";
import { explainPlan } from "../../serving/explain.ts";
import { deepSharing } from "../support/engine/deep-sharing.ts";

describe("the explanation of a plan", () => {
  it("names once what a formula uses over and over", () => {
    const { planned } = deepSharing();
    const bound = planned.bind(new Set(["deep.x"]), new Set());
    const [output] = explainPlan(planned, bound).outputs;
    assert.deepEqual([output?.how, output?.request], ["computed", ["deep.x"]]);
  });
});
