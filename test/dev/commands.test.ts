/** The programs of development and of the benchmarks, given what they cannot take. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

describe("a program of development", () => {
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), "onceflow-commands-"))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function run(line: string, env: NodeJS.ProcessEnv = {}) {
    const child = spawn(process.execPath, ["--import", "tsx", ...line.split(" ")], {
      cwd: root,
      env: { ...process.env, ONCEFLOW_DATA: join(folder, "data"), ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [out, err] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    return { code, out, err };
  }

  const wrong: readonly (readonly [line: string, said: RegExp])[] = [
    ["dev/write-example-data.ts --rows abc", /'--rows <n>' argument 'abc' .* whole number from 1/],
    ["dev/write-example-data.ts --rows 10 --days 0", /'--days <n>' argument '0' is invalid/],
    ["dev/demo.ts --rows 1e9", /'--rows <n>' argument '1e9' is invalid/],
    ["dev/up.ts --dta x", /unknown option '--dta' \(Did you mean --data\?\)/],
    ["bench/run.ts batch --pairs 0", /'--pairs <count>' argument '0' is invalid/],
    ["bench/run.ts batsh", /no benchmark is called "batsh".* Did you mean "batch"\?/],
  ];
  for (const [line, said] of wrong)
    it(`answers "${line}" with one coded line and exit code 2`, async () => {
      const { code, out, err } = await run(line);
      assert.equal(code, 2, err);
      assert.equal(out, "");
      assert.match(err, said);
      assert.match(err, /^REQUEST_INVALID .* See --help\.\n$/);
      assert.ok(!existsSync(join(folder, "data")), "something was written");
    });

  it("says what it cannot use, code first and without a stack, with exit code 1", async () => {
    const { code, err } = await run("dev/up.ts", { REDIS_URL: "localhost:6379" });
    assert.equal(code, 1, err);
    assert.match(err, /^CONFIG_INVALID REDIS_URL is "localhost:6379"/m);
    assert.doesNotMatch(err, /^ +at /m);
  });

  it("writes as many rows of the example as it is told", async () => {
    const { code, out } = await run("dev/write-example-data.ts --rows 20 --days 1 --json");
    assert.equal(code, 0);
    const { absences, badge_days } = JSON.parse(out) as { absences: string; badge_days: number };
    assert.equal(readFileSync(absences, "utf8").trimEnd().split("\n").length, 21);
    assert.equal(badge_days, 1);
  });
});
