import assert from "node:assert/strict";
import { ApplicationFailure } from "@temporalio/common";
import { MockActivityEnvironment } from "@temporalio/testing";
import { withFailures } from "../../activities/failure.ts";
import { OnceflowError } from "../../engine/errors.ts";

describe("What an activity throws", () => {
  /** What an attempt comes to that throws. */
  async function failureOf(by: "us" | "users", attempt: number, thrown: Error): Promise<unknown> {
    const { activity } = withFailures({ activity: () => Promise.reject(thrown) }, by);
    const environment = new MockActivityEnvironment({ attempt });
    return environment.run(activity).then(
      () => assert.fail("it did not fail"),
      (error: unknown) => error,
    );
  }
  const isFinal = (failure: unknown) =>
    failure instanceof ApplicationFailure && failure.nonRetryable === true;

  it("ends the attempts of ours where nobody foresaw it, and never those of a user's task", async () => {
    const down = new Error("the printer is down");
    assert.equal(isFinal(await failureOf("us", 4, down)), false);
    assert.equal(isFinal(await failureOf("us", 5, down)), true);
    assert.equal(isFinal(await failureOf("users", 500, down)), false);
  });

  it("keeps its code, which says whether another attempt can help", async () => {
    for (const by of ["us", "users"] as const) {
      const wrong = await failureOf(by, 1, new OnceflowError("SCHEMA_MISMATCH", "no column x."));
      assert.ok(wrong instanceof ApplicationFailure && wrong.type === "SCHEMA_MISMATCH");
      assert.equal(isFinal(wrong), true);
      const missing = await failureOf(by, 500, new OnceflowError("SOURCE_MISSING", "no file."));
      assert.equal(isFinal(missing), false);
    }
  });
});
