import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startProgram, toEnvironment } from "../dev/application.ts";
import { connectRuns, type Runs } from "../cli/temporal.ts";
import type { OwnedProcess } from "../dev/processes.ts";
import type { FeatureAnswer } from "../serving/answer.ts";
import { createLookup } from "../serving/lookup.ts";
import { readSettings, type Settings } from "../settings.ts";
import { testTemporal } from "./support/temporal/deployment.ts";
import { type ExampleStore, fillExampleStore } from "./support/http/example-store.ts";
import { withoutAges } from "./support/http/without-ages.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

describe("The examples", function () {
  this.timeout(120_000);
  let example: ExampleStore;
  let settings: Settings;
  let worker: OwnedProcess;
  let runs: Runs;
  const folder = mkdtempSync(join(tmpdir(), "onceflow-examples-"));
  before(async () => {
    const [{ address }, store] = await Promise.all([testTemporal(), fillExampleStore()]);
    example = store;
    const { url: redisUrl, prefix } = example.redis;
    settings = { ...readSettings({}), redisUrl, prefix, queue: prefix, temporalAddress: address };
    runs = await connectRuns(settings);
    const args = ["worker.ts", "--queue", "online"];
    worker = await startProgram("online worker", args, settings, folder, /worker polls/);
  });
  after(async () => {
    await worker.stop();
    await runs.close();
    await example.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs an example as its header says, against the store of this test. */
  const run = async (file: string, ...args: readonly string[]) => {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ["--import", "tsx", join("examples", file), ...args],
      { cwd: root, env: toEnvironment(settings) },
    );
    // As the SDK logs; Node may have warnings of its own.
    assert.doesNotMatch(stderr, /\[(INFO|WARN|ERROR)\]/);
    return stdout;
  };

  it("ask without a workflow, and get what the lookup answers", async () => {
    const { catalogue, serving, redis } = example;
    const lookup = createLookup({ catalogue, redis: serving, prefix: redis.prefix });
    const expected = await lookup.answer({ service: "model_x", entities: [{ id: "11" }] });
    lookup.close();
    const answer = JSON.parse(await run("standalone-activity.ts", "11")) as FeatureAnswer;
    assert.deepEqual(withoutAges(answer), withoutAges(expected));
    assert.equal(answer.results[0]?.statuses["has_pet"], "PRESENT");
  });

  it("say the code of what is wrong with a request", async () => {
    await assert.rejects(run("standalone-activity.ts", "x".repeat(600)), {
      code: 1,
      stderr: /^REQUEST_TOO_LARGE: entities\[0\]\.id has over 512 bytes/,
    });
  });

  it("score in a workflow", async () => {
    // Employee 11 has children, and was last absent in July.
    assert.equal(await run("run-workflow.ts", "11"), "score of employee 11: 0.2\n");
    assert.equal(
      await run("run-workflow.ts", "nobody"),
      "no score of employee nobody: a feature that it needs has no value\n",
    );
  });

  it("refuse what Temporal would not carry before it is sent", async () => {
    const inputs = Array.from({ length: 1000 }, () => ({ age: 40, note: "x".repeat(1100) }));
    await assert.rejects(runs.getFeatures({ service: "model_x", inputs }), {
      code: "REQUEST_TOO_LARGE",
      message: /^the request has \d+ bytes; one may have 1048576/,
    });
  });
});
