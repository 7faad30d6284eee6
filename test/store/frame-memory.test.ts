import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { countFrame } from "../../store/frame-memory.ts";

describe("memory of frames", () => {
  /** Makes something that nobody holds once this has returned. */
  const abandoned = () => new WeakRef({ rows: Array<number>(10).fill(1) });

  it("is given back after many values were read, and not after each frame", async () => {
    const held = abandoned();
    await turn();
    countFrame(1_000, 20);
    await turn();
    assert.notEqual(held.deref(), undefined);
    // What was dereferenced lives until the turn ends.
    await turn();
    countFrame(1_000_000, 20);
    await turn();
    assert.equal(held.deref(), undefined);
  });
});
