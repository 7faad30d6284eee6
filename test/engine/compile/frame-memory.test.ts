import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import pl from "nodejs-polars";
import { countFrame } from "../../../engine/compile/frame-memory.ts";

describe("memory of frames", () => {
  /** Made by polars: an array of JavaScript's own would have V8 collect by itself. */
  const frameOf = (rows: number) => pl.DataFrame([pl.repeat(1.5, rows, "x")]);
  /** Makes something that nobody holds once this has returned. */
  const abandoned = () => new WeakRef({ rows: Array<number>(10).fill(1) });

  it("is given back after many bytes were read, and not after each frame", async () => {
    const held = abandoned();
    await turn();
    countFrame(frameOf(1_000));
    await turn();
    assert.notEqual(held.deref(), undefined);
    // What was dereferenced lives until the turn ends.
    await turn();
    for (let i = 0; i < 4; i++) countFrame(frameOf(10_000_000));
    await turn();
    assert.equal(held.deref(), undefined);
  });
});
