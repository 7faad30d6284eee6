import assert from "node:assert/strict";
import { reasonOf } from "../../engine/errors.ts";

const coded = (message: string, code: unknown) => Object.assign(new Error(message), { code });

describe("the reason of a failure", () => {
  for (const [thrown, reason] of [
    [new Error("Connection is closed."), "Connection is closed"],
    [coded("connect ECONNREFUSED 127.0.0.1:1", "ECONNREFUSED"), "connect ECONNREFUSED 127.0.0.1:1"],
    [coded("self-signed certificate", "SELF_SIGNED"), "self-signed certificate (SELF_SIGNED)"],
    [coded("14 UNAVAILABLE", 14), "14 UNAVAILABLE"],
    // What `fetch` throws where a name leads to several addresses and none answers.
    [
      new TypeError("fetch failed", {
        cause: Object.assign(new AggregateError([]), { code: "ECONNREFUSED" }),
      }),
      "ECONNREFUSED",
    ],
    ["text", "text"],
    [undefined, "undefined"],
  ] as const)
    it(`is ${JSON.stringify(reason)}, to stand within a sentence`, () => {
      assert.equal(reasonOf(thrown), reason);
    });
});
