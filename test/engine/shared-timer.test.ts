import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { createDeadlines } from "../../engine/shared-timer.ts";
import { until } from "../support/until.ts";

describe("deadlines", () => {
  it("expire each once, in order, none early, and none that was forgotten", async () => {
    const limitMs = 30;
    const begunMs = new Map<number, number>();
    const expired: number[] = [];
    const deadlines = createDeadlines<number>(limitMs, (each) => {
      assert.ok(performance.now() - (begunMs.get(each) ?? NaN) >= limitMs, `${each} is early`);
      expired.push(each);
      // What expires may begin something.
      if (each === 0) watch(100);
    });
    function watch(each: number): void {
      begunMs.set(each, performance.now());
      deadlines.watch(each);
    }
    for (let each = 0; each < 4; each++) watch(each);
    deadlines.forget(1);
    await until("the first have expired", () => expired.length >= 3);
    watch(4);
    watch(5);
    deadlines.forget(4);
    await until("all have expired", () => expired.includes(5) && expired.includes(100));
    assert.deepEqual(expired, [0, 2, 3, 100, 5]);
    // Begun anew after a time in which nothing was watched.
    watch(6);
    await until("it has expired", () => expired.includes(6));
  });

  it("keep no process alive", async () => {
    const url = new URL("../../engine/shared-timer.ts", import.meta.url).href;
    const program = `import { createDeadlines } from ${JSON.stringify(url)};
      createDeadlines(3_600_000, () => undefined).watch("an hour");`;
    const args = ["--import", "tsx", "--input-type=module", "-e", program];
    await promisify(execFile)(process.execPath, args, { timeout: 30_000 });
  });
});
