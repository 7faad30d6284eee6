import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { entity, source } from "../../engine/language/definitions.ts";
import { string, timestamp } from "../../engine/language/dtypes.ts";
import { interval } from "../../engine/calendar/interval.ts";
import { assertUnchanged, listSourceFiles } from "../../sources/files.ts";
import { failureOf } from "../support/fails-with.ts";
import { anyInterval, temporaryFolder } from "../support/files/source-files.ts";

const person = entity("person", { key: "id" });

function sourceOf(files: string) {
  return source("events", { files, entity: person, columns: { id: string } });
}

function timedSourceOf(files: string) {
  const columns = { id: string, at: timestamp };
  return source("events", { files, entity: person, columns, eventTime: "at" });
}

describe("source files", () => {
  const { folder, write, remove } = temporaryFolder();
  after(remove);

  const list = async (files: string, selected = anyInterval, overrides?: Record<string, string>) =>
    (await listSourceFiles(sourceOf(files), selected, { dataDir: folder, overrides })).map((file) =>
      path.relative(folder, file.path),
    );

  before(async () => {
    await write("one.csv", "id\na\n");
    for (const day of ["2025-12-31", "2026-01-01", "2026-01-02", "2026-01-03"])
      await write(`days/date=${day}.parquet`, day);
    for (const hour of ["2026-01-01T23", "2026-01-02T00"])
      await write(`hours/${hour.slice(0, 10)}/${hour}.csv`, hour);
    for (const name of ["part-10.csv", "part-2.csv", "part-1.csv", ".part-0.csv", "part-1.csv.tmp"])
      await write(`parts/${name}`, name);
    await write("parts/deeper/part-3.csv", "");
    await write("a.b(c)/x.csv", "");
    await write("a_b(c)/x.csv", "");
  });

  it("describes a file as it is on the disk", async () => {
    const [file] = await listSourceFiles(sourceOf("one.csv"), anyInterval, { dataDir: folder });
    const stats = await fs.stat(path.join(folder, "one.csv"));
    assert.deepEqual(file, {
      path: path.join(folder, "one.csv"),
      index: 0,
      sizeBytes: 5,
      mtimeMs: stats.mtimeMs,
    });
  });

  it("selects the file of each UTC day that the interval touches, and no other", async () => {
    const files = "days/date={date}.parquet";
    assert.deepEqual(await list(files, interval("2026-01-01", "2026-01-03")), [
      "days/date=2026-01-01.parquet",
      "days/date=2026-01-02.parquet",
    ]);
    const partial = interval("2025-12-31T23:59:59.999Z", "2026-01-02T00:00:00.001Z");
    const listed = await listSourceFiles(timedSourceOf(files), partial, { dataDir: folder });
    assert.deepEqual(
      listed.map((file) => [path.basename(file.path), file.index]),
      [
        ["date=2025-12-31.parquet", 0],
        ["date=2026-01-01.parquet", 1],
        ["date=2026-01-02.parquet", 2],
      ],
    );
  });

  it("selects the file of each hour, with its day beside it", async () => {
    assert.deepEqual(
      await list("hours/{date}/{hour}.csv", interval("2026-01-01T23:00", "2026-01-02T01:00")),
      ["hours/2026-01-01/2026-01-01T23.csv", "hours/2026-01-02/2026-01-02T00.csv"],
    );
  });

  it("matches * within a folder, in the order of names, without hidden files", async () => {
    assert.deepEqual(await list("parts/*.csv"), [
      "parts/part-1.csv",
      "parts/part-10.csv",
      "parts/part-2.csv",
    ]);
    assert.deepEqual(await list("*/deeper/part-*.csv"), ["parts/deeper/part-3.csv"]);
    assert.deepEqual(await list("a.b(*)/x.csv"), ["a.b(c)/x.csv"]);
  });

  it("takes an override by source name, outside the data folder too", async () => {
    const elsewhere = path.join(folder, "one.csv");
    const dataDir = path.join(folder, "parts");
    const overrides = { events: elsewhere, others: "x" };
    const [file] = await listSourceFiles(sourceOf("x.csv"), anyInterval, { dataDir, overrides });
    assert.equal(file?.path, elsewhere);
    const template = { events: path.join(folder, "days", "date={date}.parquet") };
    assert.deepEqual(await list("x.csv", anyInterval, template), ["days/date=2026-01-01.parquet"]);
    const inherited = sourceOf("one.csv");
    const named = { ...inherited, name: "toString" };
    const [own] = await listSourceFiles(named, anyInterval, { dataDir: folder, overrides: {} });
    assert.equal(own?.path, elsewhere);
  });

  it("refuses an override without {date} of dated files without event time", async () => {
    const overrides = { events: path.join(folder, "one.csv") };
    for (const files of ["days/date={date}.parquet", "hours/{date}/{hour}.csv"]) {
      const error = await failureOf(() => list(files, anyInterval, overrides));
      assert.equal(error.code, "CONFIG_INVALID");
      assert.equal(
        error.message,
        `source "events" has dated files and no event time, and "${overrides.events}", which replaces its path, selects the same files for every interval. Put {date} or {hour} into it.`,
      );
    }
    const timed = timedSourceOf("days/date={date}.parquet");
    const [file] = await listSourceFiles(timed, anyInterval, { dataDir: folder, overrides });
    assert.equal(file?.path, overrides.events);
  });

  it("refuses a missing day, naming path, source and interval", async () => {
    const error = await failureOf(() =>
      list("days/date={date}.parquet", interval("2026-01-03", "2026-01-05")),
    );
    assert.equal(error.code, "SOURCE_MISSING");
    assert.equal(error.retryable, true);
    assert.equal(
      error.message,
      `${folder}/days/date=2026-01-04.parquet does not exist; source "events" needs it for the interval 2026-01-03T00:00:00.000Z/2026-01-05T00:00:00.000Z.`,
    );
  });

  it("refuses a pattern that matches nothing, rather than to succeed with no rows", async () => {
    for (const files of ["parts/*.parquet", "nowhere/*.csv", "one.csv/*.csv"]) {
      const error = await failureOf(() => list(files));
      assert.equal(error.code, "SOURCE_MISSING");
      assert.match(error.message, /matches no file; source "events"/);
    }
  });

  it("refuses an interval that cuts a day of a source without event time", async () => {
    for (const files of ["days/date={date}.parquet", "hours/{date}/{hour}.csv"]) {
      const error = await failureOf(() =>
        list(files, interval("2026-01-01T00:00", "2026-01-01T12:30")),
      );
      assert.equal(error.code, "INTERVAL_INVALID");
      assert.match(
        error.message,
        /2026-01-01T12:30:00.000Z cuts a (day|hour), and source "events"/,
      );
    }
  });

  it("refuses paths and links that lead out of the data folder", async () => {
    await fs.mkdir(path.join(folder, "inner"), { recursive: true });
    await fs.symlink(path.join(folder, "one.csv"), path.join(folder, "inner", "link.csv"));
    await fs.symlink(path.join(folder, "days"), path.join(folder, "inner", "linked"));
    const dataDir = path.join(folder, "inner");
    const outside = [
      "../one.csv",
      "/etc/passwd",
      "x/../../one.csv",
      "link.csv",
      "linked/*.parquet",
    ];
    for (const files of [...outside, "."]) {
      const error = await failureOf(() =>
        listSourceFiles(sourceOf(files), anyInterval, { dataDir }),
      );
      assert.equal(error.code, "DEFINITION_INVALID", files);
      assert.match(error.message, /source "events": .* leads out of the data folder/);
    }
    const within = await listSourceFiles(sourceOf("inner/link.csv"), anyInterval, {
      dataDir: folder,
    });
    assert.equal(within.length, 1);
  });

  it("refuses folders, pipes, devices and broken links without opening them", async () => {
    await fs.mkdir(path.join(folder, "odd", "folder.parquet"), { recursive: true });
    execFileSync("mkfifo", [path.join(folder, "odd", "pipe.csv")]);
    await fs.symlink("nowhere", path.join(folder, "odd", "broken.csv"));
    const problems = {
      "odd/folder.parquet": /folder.parquet is a folder/,
      "odd/pipe.csv": /pipe.csv is no regular file/,
      "odd/broken.csv": /broken.csv cannot be read: ENOENT/,
    };
    for (const [files, message] of Object.entries(problems)) {
      const error = await failureOf(() => list(files));
      assert.equal(error.code, "SOURCE_MISSING");
      assert.match(error.message, message);
    }
    const device = await failureOf(() => list("x.csv", anyInterval, { events: "/dev/null" }));
    assert.match(device.message, /\/dev\/null is no regular file/);
  });

  it("refuses more files than ordinals can number", async () => {
    const error = await failureOf(() =>
      list("hours/{hour}.csv", interval("2000-01-01", "2026-01-01")),
    );
    assert.equal(error.code, "REQUEST_TOO_LARGE");
  });

  it("notices a file that changed, grew or went away since it was listed", async () => {
    const file = await write("changing.csv", "id\na\n");
    await assertUnchanged([file]);
    await fs.utimes(file.path, new Date(), new Date(file.mtimeMs + 5));
    const touched = await failureOf(() => assertUnchanged([file]));
    assert.equal(touched.code, "SOURCE_CHANGED");
    assert.equal(touched.retryable, true);
    await fs.writeFile(file.path, "id\nab\n");
    assert.match((await failureOf(() => assertUnchanged([file]))).message, /was 5 bytes .* is 6/);
    await fs.rm(file.path);
    assert.match((await failureOf(() => assertUnchanged([file]))).message, /is gone/);
  });
});
