import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, DefaultLogger } from "@temporalio/worker";
import { dataConverter } from "../../client/temporal.ts";
import * as workflows from "../../workflows/index.ts";

describe("The workflow bundle", () => {
  it("builds, exports every workflow, and stays small", async function () {
    this.timeout(60_000);
    const { code } = await bundleWorkflowCode({
      workflowsPath: fileURLToPath(new URL("../../workflows/", import.meta.url)),
      ...dataConverter,
      logger: new DefaultLogger("ERROR"),
    });
    for (const name of Object.keys(workflows))
      assert.match(code, new RegExp(`${name}: \\(\\) =>|\\b${name}\\b`), `${name} is not exported`);
    assert.deepEqual(Object.keys(workflows).sort(), [
      "backfill",
      "materialize",
      "pool",
      "presenceDaily",
      "publish",
      "scheduled",
      "trainingSet",
    ]);
    // 1.5 MB is what the SDK itself takes; activities or polars would multiply it.
    assert.ok(code.length < 2_500_000, `the bundle has ${code.length} characters`);
    assert.ok(!code.includes("nodejs-polars"), "polars is in the bundle");
  });
});
