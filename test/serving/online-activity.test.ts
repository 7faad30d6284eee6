import assert from "node:assert/strict";
import { ApplicationFailure, CancelledFailure } from "@temporalio/common";
import { MockActivityEnvironment } from "@temporalio/testing";
import { toFailure, withFailures } from "../../activities/failure.ts";
import { answerLimitBytes, createOnlineActivities } from "../../activities/online.ts";
import { OnceflowError } from "../../engine/errors.ts";
import type { FeatureRequest } from "../../serving/request.ts";
import type { Lookup } from "../../serving/lookup.ts";
import { createLookup } from "../../serving/lookup.ts";
import type { ExampleStore } from "../support/http/example-store.ts";
import { fillExampleStore } from "../support/http/example-store.ts";

describe("online activity", () => {
  let example: ExampleStore;
  let lookup: Lookup;
  before(async () => {
    example = await fillExampleStore();
    const { catalogue, serving, redis } = example;
    lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix, clock: () => 2e12 });
  });
  after(async () => {
    lookup.close();
    await example.stop();
  });

  /** Runs the activity as a worker does. */
  const run = (request: FeatureRequest) =>
    new MockActivityEnvironment().run(
      createOnlineActivities({ lookup }).getOnlineFeatures,
      request,
    );

  it("answers exactly as the lookup does", async () => {
    const request = { service: "presence", entities: [{ id: "11" }, { id: "none" }] };
    assert.deepEqual(await run(request), await lookup.answer(request));
  });

  it("fails without retry, by code, where the request is wrong", async () => {
    await assert.rejects(run({ service: "model_z" }), (failure) => {
      assert.ok(failure instanceof ApplicationFailure);
      assert.equal(failure.type, "UNKNOWN_SERVICE");
      assert.equal(
        failure.message,
        'no feature service is named "model_z". Did you mean "model_x"?',
      );
      assert.equal(failure.nonRetryable, true);
      assert.deepEqual(failure.details, [{ name: "model_z" }]);
      return true;
    });
  });

  it("fails by code, and before Temporal does, where the answer is more than Temporal takes", async () => {
    const service = example.catalogue.services.get("absenteeism_training");
    const features = service?.outputs.map(({ name }) => name) ?? [];
    const columns = Object.keys(example.absences.source.columns).filter((name) => name !== "id");
    const requestOf = (rows: number) => ({
      features: [...features, ...columns.map((name) => `absences.${name}`)],
      entities: Array.from({ length: rows }, (_, i) => ({ id: i })),
    });
    const ask = (rows: number) => run(requestOf(rows));
    assert.ok(JSON.stringify(await ask(100)).length < answerLimitBytes);
    await assert.rejects(ask(1000), (failure) => {
      assert.ok(failure instanceof ApplicationFailure);
      assert.equal(failure.type, "REQUEST_TOO_LARGE");
      assert.match(failure.message, /^the answer has \d{7} bytes, and Temporal takes 2000000 /);
      assert.match(failure.message, /or for the form "columns"\.$/);
      assert.equal(failure.nonRetryable, true);
      return true;
    });
    const { getOnlineFeatures } = createOnlineActivities({ lookup });
    const answer = await getOnlineFeatures({ ...requestOf(1000), form: "columns" });
    // By its type, too, it is the answer in columns.
    assert.equal(answer.values[0]?.length, 1000);
  });

  it("fails with a retry where the registry says that one may help, and keeps the cause", () => {
    const cause = new Error("ECONNREFUSED");
    const error = new OnceflowError("STORE_UNAVAILABLE", "no answer.", { address: "x" }, cause);
    const failure = toFailure(error);
    assert.ok(failure instanceof ApplicationFailure);
    assert.equal(failure.nonRetryable, false);
    assert.equal(failure.cause, cause);
    assert.equal(failure.stack, error.stack);
  });

  it("passes a cancellation and any other error on as it is", async () => {
    const thrown = [new CancelledFailure("cancelled"), new TypeError("x"), "text"];
    const activities = withFailures({
      fail: (i: number) => Promise.reject(thrown[i] as Error),
      double: async (x: number) => x * 2,
    });
    for (const [i, error] of thrown.entries())
      await assert.rejects(activities.fail(i), (caught) => caught === error);
    assert.equal(await activities.double(4), 8);
  });
});
