import assert from "node:assert/strict";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeAbsences, writeBadges } from "../../dev/example-data.ts";
import { type Catalogue, loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import type { TrainingSetInput } from "../../workflows/contract.ts";
import { type Deployment, startDeployment } from "../support/temporal/deployment.ts";
import { failsWith } from "../support/fails-with.ts";
import { until } from "../support/until.ts";

describe("The trainingSet workflow", function () {
  this.timeout(60_000);
  let deployment: Deployment;
  let catalogue: Catalogue;

  before(async () => {
    deployment = await startDeployment();
    catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    writeAbsences(deployment.settings.dataDir, 120);
    writeBadges(deployment.settings.dataDir, Date.parse("2026-01-01"), 2);
    await deployment.startWorker();
  });
  after(() => deployment.stop());

  async function build(input: TrainingSetInput) {
    const run = await deployment.runs.startTrainingSet(input);
    return run.result();
  }

  async function materialize(end: string) {
    const { fingerprint, definition } = viewNamed(catalogue, "absences");
    const start = "1970-01-01T00:00:00Z";
    const run = await deployment.runs.startMaterialize({
      view: "absences",
      start,
      end,
      fingerprint,
      definition,
    });
    return run;
  }

  it("is refused for a service on aggregates of event time, which would leak the future", () =>
    failsWith(
      build({ service: "presence", start: "2026-01-01", end: "2026-01-02" }),
      "REQUEST_INVALID",
      /leak the future/,
    ));

  it("names the service that does not exist, and the nearest one", () =>
    failsWith(
      build({ service: "absenteeism_trainin" }),
      "UNKNOWN_SERVICE",
      /absenteeism_training/,
    ));

  it("waits for a worker that was built with the service that the run names", async () => {
    const run = await deployment.runs.startTrainingSet({
      service: "absenteeism_training",
      fingerprint: "0".repeat(32),
    });
    const handle = deployment.runs.client.workflow.getHandle(run.workflowId);
    await until("the first attempt has failed", async () => {
      const { raw } = await handle.describe();
      return /this worker was built/.test(raw.pendingActivities?.[0]?.lastFailure?.message ?? "");
    });
    await handle.terminate("the test has seen it");
  });

  it("has a row for each row of the source, in order, with the values of one snapshot", async () => {
    const committed = await (await materialize("2026-01-01T00:00:00Z")).result();
    const latest = await build({ service: "absenteeism_training" });
    assert.equal(latest.rows, 120);
    assert.equal(latest.snapshot, committed.published?.snapshot);
    const lines = readFileSync(join(latest.path, "data.csv"), "utf8").trimEnd().split("\n");
    const raw = readFileSync(join(deployment.settings.dataDir, "absences.csv"), "utf8")
      .trimEnd()
      .split("\n");
    const ids = (text: string[]) => text.slice(1).map((line) => line.split(/[;,]/)[0]);
    assert.deepEqual(ids(lines), ids(raw));
    const manifest = JSON.parse(readFileSync(join(latest.path, "manifest.json"), "utf8")) as {
      rows: number;
      snapshot: { id: string };
      files: unknown[];
    };
    assert.equal(manifest.rows, 120);
    assert.equal(manifest.snapshot.id, committed.published?.snapshot);
    assert.equal(manifest.files.length, 1);
  });

  it("takes a pinned snapshot, and refuses one that does not exist", async () => {
    const path = join(deployment.settings.dataDir, "absences.csv");
    const first = await build({ service: "absenteeism_training" });
    // One more row moves the mean, so the next snapshot is another.
    const text = readFileSync(path, "utf8");
    const last = text.trimEnd().split("\n").at(-1) ?? "";
    const cells = last.split(";");
    cells[8] = "58";
    writeFileSync(path, `${text.trimEnd()}\n${cells.join(";")}\n`);
    const second = await (await materialize("2026-01-02T00:00:00Z")).result();
    assert.notEqual(second.published?.snapshot, first.snapshot);
    const mean = (folder: string) =>
      readFileSync(join(folder, "data.csv"), "utf8").split("\n")[1]?.split(",")[1];
    const latest = await build({ service: "absenteeism_training" });
    assert.ok(first.snapshot);
    const pinned = await build({ service: "absenteeism_training", snapshot: first.snapshot });
    assert.equal(pinned.snapshot, first.snapshot);
    assert.equal(mean(pinned.path), mean(first.path));
    assert.notEqual(mean(latest.path), mean(first.path));
    await failsWith(
      build({ service: "absenteeism_training", snapshot: "f00d" }),
      "UNKNOWN_SNAPSHOT",
      /f00d/,
    );
  });

  it("and materialize wait for a file that is missing, and go on when it comes", async () => {
    const path = join(deployment.settings.dataDir, "absences.csv");
    renameSync(path, `${path}.late`);
    assert.ok(!existsSync(path));
    const run = await materialize("2026-01-03T00:00:00Z");
    const handle = deployment.runs.client.workflow.getHandle(run.workflowId);
    await until("the first attempt has failed", async () => {
      const { raw } = await handle.describe();
      return /absences\.csv/.test(raw.pendingActivities?.[0]?.lastFailure?.message ?? "");
    });
    renameSync(`${path}.late`, path);
    assert.equal((await run.result()).outcome, "committed");
  });

  it("and materialize refuse a header that is not the declared one, at once", async () => {
    const path = join(deployment.settings.dataDir, "absences.csv");
    const text = readFileSync(path, "utf8");
    writeFileSync(path, text.replace("Age;", "Agee;"));
    // All but the counter of begun runs.
    const content = async () =>
      (await deployment.dump()).split("\n").filter((line) => !line.includes("2026-01-04"));
    const before = await content();
    const run = await materialize("2026-01-04T00:00:00Z");
    await failsWith(run.result(), "SCHEMA_MISMATCH", /absences\.csv.*age/s);
    assert.deepEqual(await content(), before);
    writeFileSync(path, text);
  });
});
