import assert from "node:assert/strict";
import fc from "fast-check";
import { OnceflowError } from "../../engine/errors.ts";
import { decodeExact, encodeExact, nearestDouble, unitsOf } from "../../engine/exact.ts";
import { runsOf } from "../support/property.ts";

describe("exact numbers", () => {
  it("round a tie to even, and what lies a little beyond it away from it", () => {
    // Between two doubles, of which the lower is even.
    const tie = 2n ** 53n + 1n;
    const wide = 2n ** 200n + 1n;
    assert.equal(nearestDouble(tie, 1n, 0), 2 ** 53);
    assert.equal(nearestDouble(tie * wide + 1n, wide, 0), 2 ** 53 + 2);
    assert.equal(nearestDouble(tie * wide - 1n, wide, 0), 2 ** 53);
    assert.equal(nearestDouble(2n ** 53n + 3n, 1n, 0), 2 ** 53 + 4);
    assert.equal(nearestDouble(-tie * wide - 1n, wide, 0), -(2 ** 53) - 2);
  });

  it("round to the smallest doubles, to zero and to infinity", () => {
    assert.equal(nearestDouble(1n, 1n, -1074), 5e-324);
    assert.equal(nearestDouble(1n, 2n, -1074), 0);
    assert.equal(nearestDouble(3n, 4n, -1074), 5e-324);
    assert.equal(nearestDouble(3n, 2n, -1074), 1e-323);
    assert.equal(nearestDouble(1n, 10n ** 400n, 0), 0);
    const beyond = 2n ** 1024n - 2n ** 970n;
    assert.equal(nearestDouble(beyond - 1n, 1n, 0), Number.MAX_VALUE);
    assert.equal(nearestDouble(beyond, 1n, 0), Infinity);
    assert.equal(nearestDouble(-beyond, 1n, 0), -Infinity);
  });

  it("give back every double from its units, and every number from its text", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (x) => {
        const units = unitsOf(x, "float64");
        assert.equal(nearestDouble(units, 1n, -1074), x === 0 ? 0 : x);
        for (const exact of [units, units * units, -units])
          assert.equal(decodeExact(encodeExact(exact)), exact);
      }),
      runsOf(200),
    );
    assert.deepEqual([0n, 1n, -24n, 2n ** 70n].map(encodeExact), ["0p0", "1p0", "-3p3", "1p70"]);
  });

  it("refuse text that is none", () => {
    for (const text of ["", "1", "p1", "1p", "1p-1", "g1p0", "+1p0", "1p99999", " 1p0", 1, null])
      assert.throws(
        () => decodeExact(text),
        (error) => error instanceof OnceflowError && error.code === "VALUE_INVALID",
        String(text),
      );
  });
});
