import assert from "node:assert/strict";
import fc from "fast-check";
import { createLru } from "../../engine/lru.ts";
import { runsOf } from "../support/property.ts";

describe("a bounded map", () => {
  it("keeps what was used last, as a list in order of use does", () => {
    const step = fc.tuple(
      fc.constantFrom("get", "peek", "set", "delete"),
      fc.integer({ min: 0, max: 8 }),
    );
    // So many that keys come again, and that some give way.
    const steps = fc.array(step, { minLength: 20, maxLength: 100 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5 }), steps, (limit, steps) => {
        const map = createLru<number, string>(limit);
        let used: [key: number, value: string][] = [];
        steps.forEach(([does, key], i) => {
          const known = used.find(([each]) => each === key);
          const others = used.filter((each) => each !== known);
          if (does === "set") {
            map.set(key, `${i}`);
            used = [...others, [key, `${i}`] as [number, string]].slice(-limit);
          } else if (does === "delete") {
            map.delete(key);
            used = others;
          } else {
            assert.equal(map[does](key), known?.[1]);
            if (does === "get" && known) used = [...others, known];
          }
        });
        for (let key = 0; key <= 8; key++)
          assert.equal(map.peek(key), used.find(([each]) => each === key)?.[1]);
      }),
      runsOf(200),
    );
  });
});
