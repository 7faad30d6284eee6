import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeAbsences } from "../dev/example-data.ts";
import { childOf } from "./support/child-of.ts";
import { until } from "./support/until.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const started = new Set<ChildProcess>();

/** Runs the demo with its own folder for temporary files; resolves with its exit code. */
function startDemo(
  args: readonly string[],
  temporary: string,
  env: NodeJS.ProcessEnv = process.env,
) {
  const child = spawn(process.execPath, ["--import", "tsx", "dev/demo.ts", ...args], {
    cwd: root,
    env: { ...env, TMPDIR: temporary },
    stdio: ["ignore", "pipe", "pipe"],
  });
  started.add(child);
  child.once("exit", () => started.delete(child));
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, "exit").then(([code]) => code as number | null);
  return { child, exited, output: () => output };
}

function lines(path: string): string[] {
  return readFileSync(path, "utf8").trimEnd().split("\n");
}

describe("The demo", function () {
  this.timeout(120_000);
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "onceflow-demo-test-"))));
  afterEach(() => {
    // Where a test failed; it stops what it has started.
    for (const child of started) child.kill("SIGINT");
    rmSync(folder, { recursive: true, force: true });
  });

  it("does the main job on a given file, with equal values online and offline", async () => {
    const data = writeAbsences(join(folder, "in"), 150, 7);
    const out = join(folder, "out");
    const demo = startDemo(["--data", data, "--out", out], folder);
    assert.equal(await demo.exited, 0, demo.output());

    const [header, ...rows] = lines(join(out, "training_set.csv"));
    assert.equal(
      header,
      "age_mean,age_std_dev,age_zero_mean,age_zero_mean_unit_variance,seasons_1,seasons_2," +
        "seasons_3,seasons_4,day_of_the_week_2,day_of_the_week_3,day_of_the_week_4," +
        "day_of_the_week_5,day_of_the_week_6,has_children,has_pet,is_summer",
    );
    const raw = lines(data)
      .slice(1)
      .map((line) => line.split(";"));
    assert.equal(rows.length, raw.length);
    // The values again, in plain JavaScript from the raw file.
    const ages = raw.map((cells) => Number(cells[8]));
    const mean = ages.reduce((sum, age) => sum + age, 0) / ages.length;
    const squares = ages.reduce((sum, age) => sum + (age - mean) ** 2, 0);
    const deviation = Math.sqrt(squares / (ages.length - 1));
    const requested = lines(join(out, "online_request.ndjson"));
    assert.equal(requested.length, raw.length);
    raw.forEach((cells, i) => {
      const values = (rows[i] ?? "").split(",").map(Number);
      const near = (value: number | undefined, want: number) =>
        assert.ok(Math.abs((value ?? NaN) - want) < 1e-9, `${value} is not ${want}`);
      near(values[0], mean);
      near(values[1], deviation);
      near(values[3], (Number(cells[8]) - mean) / deviation);
      assert.equal(values[13], Number(cells[13]) > 0 ? 1 : 0);
      assert.equal(values[15], [1, 2, 12].includes(Number(cells[2])) ? 1 : 0);
      const answer = JSON.parse(requested[i] ?? "") as {
        features: Record<string, number>;
        statuses: Record<string, string>;
        snapshot: Record<string, string>;
      };
      assert.equal(answer.features["age_zero_mean_unit_variance"], values[3]);
      assert.deepEqual(new Set(Object.values(answer.statuses)), new Set(["PRESENT"]));
      assert.deepEqual(Object.keys(answer.snapshot), ["absences"]);
    });
    const ids = [...new Set(raw.map(([id]) => id))];
    const stored = lines(join(out, "online_store.ndjson")).map(
      (line) => JSON.parse(line) as { entity: { id: string }; features: Record<string, number> },
    );
    assert.deepEqual(
      stored.map(({ entity }) => entity.id),
      ids,
    );
    for (const { entity, features } of stored) {
      const newest = raw.findLast(([id]) => id === entity.id);
      assert.equal(features["day_of_the_week_3"], Number(newest?.[3]) === 3 ? 1 : 0);
      assert.equal(features["has_pet"], Number(newest?.[16]) > 0 ? 1 : 0);
    }
    const report = JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as {
      skew: Record<string, number>;
      columns_decoded: Record<string, string[]>;
    };
    assert.deepEqual(new Set(Object.values(report.skew)), new Set([0]));
    assert.deepEqual(report.columns_decoded["absences"], [
      "age",
      "day_of_the_week",
      "has_children",
      "has_pet",
      "month_of_absence",
    ]);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith("onceflow-")),
      [],
    );
  });

  it("names file, row and column of a wrong value, and leaves nothing behind", async () => {
    const data = writeAbsences(join(folder, "in"), 50, 7);
    const broken = readFileSync(data, "utf8").replace(/;(\d+)\n$/, ";many\n");
    const { writeFileSync } = await import("node:fs");
    writeFileSync(data, broken);
    const demo = startDemo(["--data", data], folder);
    assert.equal(await demo.exited, 1);
    assert.match(demo.output(), /VALUE_UNPARSABLE .*absences\.csv.*row 50.*many/s);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith("onceflow-")),
      [],
    );
  });

  it("ends, says so and leaves nothing behind where a part of what it keeps ends", async () => {
    const env = { ...process.env };
    delete env["REDIS_URL"];
    const demo = startDemo(["--rows", "500", "--keep"], folder, env);
    const isKept = () => demo.output().includes("keeps running until Ctrl-C.");
    await until("it is through", () => isKept() || demo.child.exitCode !== null);
    assert.ok(isKept(), demo.output());
    process.kill(await childOf(demo.child.pid ?? 0, /redis/), "SIGKILL");
    assert.equal(await demo.exited, 1, demo.output());
    assert.match(demo.output(), /^SETUP_FAILED redis-server ended with signal SIGKILL, /m);
    await until("its folders are gone", () =>
      readdirSync(folder).every((name) => !name.startsWith("onceflow-")),
    );
  });

  it("leaves nothing behind on Ctrl-C while it runs", async () => {
    const demo = startDemo(["--rows", "500"], folder);
    await until("workers are being started", () => demo.output().includes("Start two workers"));
    demo.child.kill("SIGINT");
    assert.equal(await demo.exited, 130, demo.output());
    await until("its folders are gone", () =>
      readdirSync(folder).every((name) => !name.startsWith("onceflow-")),
    );
  });
});
