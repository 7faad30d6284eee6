import assert from "node:assert/strict";
import fc from "fast-check";
import { formatInterval } from "../../../engine/calendar/interval.ts";
import { fromStretches, toStretches } from "../../../filling/publish/generations.ts";
import { runsOf } from "../../support/property.ts";

describe("The generations of a publish", () => {
  const minute = 60_000;
  const startMs = Date.parse("2026-01-01T00:00:00Z");
  const named = (from: number, to: number) =>
    formatInterval({ startMs: startMs + from * minute, endMs: startMs + to * minute });

  it("take a line for a whole grid, and one more for each correction", () => {
    const grid = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, i): [string, number] => [named(5 * i, 5 * i + 5), 1]),
    );
    assert.deepEqual(toStretches(grid), [["2026-01-01T00:00:00.000Z", 5 * minute, 10_000, 1]]);
    const corrected = { ...grid, [named(50, 55)]: 2 };
    assert.equal(toStretches(corrected).length, 3);
    assert.deepEqual(fromStretches(toStretches(corrected)), corrected);
  });

  it("come back as they were, whatever their lengths, gaps and generations", () => {
    const step = fc.record({
      gap: fc.constantFrom(0, 0, 0, 7),
      length: fc.constantFrom(5, 5, 5, 9, 60),
      generation: fc.constantFrom(1, 1, 1, 2, 3),
      // A full refresh covers all that came before it.
      isWhole: fc.constantFrom(false, false, true),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const generations: Record<string, number> = {};
        let at = 0;
        for (const { gap, length, generation, isWhole } of steps) {
          at += gap;
          generations[named(at, at + length)] = generation;
          at += length;
          if (isWhole) generations[named(-1000, at)] = 1;
        }
        assert.deepEqual(fromStretches(toStretches(generations)), generations);
      }),
      runsOf(300),
    );
  });
});
