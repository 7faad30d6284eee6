import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";

interface Found {
  readonly priorities: readonly number[];
  readonly session: string | null;
}

async function run(script: string, detached: boolean): Promise<{ readonly stdout: string }> {
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  const child = spawn(process.execPath, args, { detached, stdio: ["ignore", "pipe", "inherit"] });
  let stdout = "";
  child.stdout.on("data", (chunk) => (stdout += String(chunk)));
  await once(child, "close");
  return { stdout };
}

describe("the priority of offline work", () => {
  it("is below all else, in every thread that there is or comes", async function () {
    if (!existsSync("/proc/self/task")) this.skip();
    const path = new URL("../../activities/priority.ts", import.meta.url).href;
    const script = `
      const { yieldToOthers } = await import(${JSON.stringify(path)});
      yieldToOthers();
      const pl = (await import("nodejs-polars")).default;
      await pl.DataFrame({ a: [1, 2] }).lazy().select(pl.col("a").sum()).collect();
      const { existsSync, readdirSync, readFileSync } = await import("node:fs");
      const { getPriority } = await import("node:os");
      const group = "/proc/self/autogroup";
      console.log(JSON.stringify({
        priorities: readdirSync("/proc/self/task").map((id) => getPriority(Number(id))),
        session: existsSync(group) ? readFileSync(group, "utf8") : null,
      }));
    `;
    for (const leads of [true, false]) {
      // Of a session of its own it yields as a whole; that of the tests is not its to lower.
      const { stdout } = await run(script, leads);
      const { priorities, session } = JSON.parse(stdout) as Found;
      assert.ok(priorities.length > 4);
      assert.deepEqual(new Set(priorities), new Set([10]));
      if (session !== null) assert.equal(/ nice 10\n$/.test(session), leads, session);
    }
  });
});
