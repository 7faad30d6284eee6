import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import pl from "nodejs-polars";
import { toSeries } from "../../../engine/compile/frame.ts";
import { entity, source } from "../../../engine/language/definitions.ts";
import {
  type Dtype,
  float64,
  int64,
  nullable,
  string,
  timestamp,
  type Value,
} from "../../../engine/language/dtypes.ts";
import { INT64_MAX, INT64_MIN } from "../../../engine/language/int64.ts";
import { interval } from "../../../engine/calendar/interval.ts";
import { timestampMax, timestampMin } from "../../../engine/operations/scalar.ts";
import { toCsv } from "../../../store/offline/csv-export.ts";
import type { PartitionRef } from "../../../store/offline/keys.ts";
import { createOfflineStore } from "../../../store/offline/offline-store.ts";
import { failureOf } from "../../support/fails-with.ts";
import { runsOf } from "../../support/property.ts";
import {
  describeFile,
  readAll,
  temporaryFolder,
  valuesOf,
} from "../../support/files/source-files.ts";

const partition: PartitionRef = {
  view: "badges",
  fingerprint: "0a1b2c",
  interval: interval("2026-01-01", "2026-01-02T06:30"),
  generation: 7,
};

const awkward: [name: string, dtype: Dtype, values: Value[]][] = [
  ["id", "string", ["é\0", "", "__proto__"]],
  ["height", "int64", [INT64_MIN, INT64_MAX, null]],
  ["x", "float64", [-0, NaN, 5e-324]],
  ["flag", "bool", [true, false, null]],
  ["at", "timestamp", [timestampMin, timestampMax, -1]],
  ["list", "list_float64", [[1, NaN], [], null]],
];
const frameOf = (columns: readonly [string, Dtype, Value[]][]) =>
  pl.DataFrame(columns.map(([name, dtype, values]) => toSeries(name, dtype, values)));

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await fs.readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort();
}

describe("offline store", () => {
  const { folder, remove } = temporaryFolder();
  after(remove);
  let count = 0;
  const open = () => createOfflineStore({ root: path.join(folder, String(count++)) });

  it("keeps the rows of a part exactly", async () => {
    const store = open();
    await store.writePart(partition, { file: 0, chunk: 0 }, frameOf(awkward));
    assert.deepStrictEqual(
      valuesOf(await store.readPart(partition, { file: 0, chunk: 0 })),
      Object.fromEntries(awkward.map(([name, , values]) => [name, values])),
    );
    const empty = frameOf(awkward.map(([name, dtype]) => [name, dtype, []]));
    await store.writePart(partition, { file: 1, chunk: 0 }, empty);
    assert.deepEqual(valuesOf(await store.readPart(partition, { file: 1, chunk: 0 })).height, []);
  });

  it("lays files out as Hive partitions", async () => {
    const store = open();
    await store.writePart(partition, { file: 12, chunk: 0 }, frameOf(awkward));
    await store.writeJson(partition, "_manifest.json", { rows: 3 });
    await store.writeSnapshot("badges", "abc", "{}");
    await store.journal.beginPublish(partition, 12, {});
    await store.journal.noteRevision("badges", "3.0a1b");
    await store.journal.makeVoid(partition, new Map([["a", 1]]));
    const view = "views/badges/fingerprint=0a1b2c";
    const run = `${view}/interval=2026-01-01T00-00-00.000Z_2026-01-02T06-30-00.000Z/generation=7`;
    assert.deepEqual(await filesBelow(store.root), [
      `${run}/_manifest.json`,
      `${run}/part-00012-000.parquet`,
      `${view}/publishes/0000000012.json`,
      `${view}/resets/1.json`,
      "views/badges/revisions/3.0a1b",
      "views/badges/snapshots/abc.json",
    ]);
  });

  it("gives back JSON and snapshots, and undefined where there is none", async () => {
    const store = open();
    assert.equal(await store.readJson(partition, "_manifest.json"), undefined);
    assert.equal(await store.readSnapshot("badges", "abc"), undefined);
    await store.writeJson(partition, "_manifest.json", { rows: 1 });
    await store.writeJson(partition, "_manifest.json", { rows: 2, files: ["a"] });
    await store.writeSnapshot("badges", "abc", '["é"]');
    assert.deepEqual(await store.listSnapshots("badges"), ["abc"]);
    assert.deepEqual(await store.listSnapshots("others"), []);
    assert.deepEqual(await store.readJson(partition, "_manifest.json"), { rows: 2, files: ["a"] });
    assert.equal(await store.readSnapshot("badges", "abc"), '["é"]');
  });

  it("lists the intervals of one fingerprint, oldest first, and no other folder", async () => {
    const store = open();
    assert.deepEqual(await store.listIntervals(partition), []);
    const intervals = [
      interval("0001-01-01", "2026-01-01T10:30:00.250Z"),
      interval("2026-01-01", "2026-01-02"),
      interval("2026-01-01", "2026-01-03"),
    ];
    for (const each of [...intervals].reverse())
      await store.writeJson({ ...partition, interval: each }, "a.json", 1);
    await store.writeJson({ ...partition, fingerprint: "other" }, "a.json", 1);
    const folder = path.join(
      store.root,
      "views",
      partition.view,
      `fingerprint=${partition.fingerprint}`,
    );
    for (const name of ["interval=", "interval=a_b", "interval=2026-01-01_2026-01-02", "x"])
      await fs.mkdir(path.join(folder, name));
    assert.deepEqual(await store.listIntervals(partition), intervals);
  });

  it("lists generations, and removes one of them", async () => {
    const store = open();
    const next = { ...partition, interval: interval("2026-01-02", "2026-01-03") };
    assert.deepEqual(await store.listGenerations(partition), []);
    for (const generation of [10, 9, 2])
      await store.writeJson({ ...next, generation }, "a.json", 1);
    await store.writeJson(partition, "a.json", 1);
    assert.deepEqual(await store.listGenerations(next), [2, 9, 10]);
    await store.removePartition({ ...next, generation: 10 });
    await store.removePartition({ ...next, generation: 10 });
    assert.deepEqual(await store.listGenerations(next), [2, 9]);
    assert.deepEqual(await store.listGenerations(partition), [7]);
  });

  it("shows a reader one whole part or the other while a part is replaced", async () => {
    const store = open();
    const parts = ["a", "b"].map((id) => frameOf([["id", "string", Array<string>(2000).fill(id)]]));
    const write = (i: number) =>
      store.writePart(partition, { file: 0, chunk: 0 }, parts[i % 2] as pl.DataFrame);
    await write(0);
    let isWriting = true;
    const writing = (async () => {
      for (let i = 1; i < 40; i++) await write(i);
      isWriting = false;
    })();
    let reads = 0;
    while (isWriting) {
      const { id } = valuesOf(await store.readPart(partition, { file: 0, chunk: 0 }));
      assert.deepEqual([id?.length, new Set(id).size], [2000, 1]);
      reads++;
    }
    await writing;
    assert.ok(reads > 1);
  });

  it("leaves no half part when a process is killed, and cleans up after it", async () => {
    const store = open();
    const program = `
      const { default: pl } = await import("nodejs-polars");
      const { createOfflineStore } = await import(${JSON.stringify(fileURLToPath(new URL("../../../store/offline/offline-store.ts", import.meta.url)))});
      const store = createOfflineStore({ root: ${JSON.stringify(store.root)} });
      const frame = pl.DataFrame([pl.Series("x", Float64Array.from({ length: 2e5 }, Math.random))]);
      for (let i = 0; ; i++) {
        await store.writePart({ ...${JSON.stringify(partition)} }, { file: 0, chunk: 0 }, frame);
        console.log(i);
      }`;
    const child = spawn(
      process.execPath,
      ["--import", "tsx", "--input-type=module", "-e", program],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await once(child, "exit");
    const run = path.join(store.root, path.dirname((await filesBelow(store.root))[0] ?? ""));
    // Whether the kill hit a write is chance; this is what it leaves where it did.
    await fs.writeFile(path.join(run, ".part-00000-000.parquet.killed.tmp"), "half");
    assert.equal(
      valuesOf(await store.readPart(partition, { file: 0, chunk: 0 })).x?.length,
      200_000,
    );
    await store.cleanPartition({ ...partition, generation: partition.generation - 1 });
    assert.ok((await fs.readdir(run)).includes(".part-00000-000.parquet.killed.tmp"));
    await store.cleanPartition({ ...partition, generation: partition.generation + 1 });
    assert.deepEqual(await fs.readdir(run), ["part-00000-000.parquet"]);
  });

  it("fails with the file's name where the file system refuses, and leaves nothing behind", async () => {
    const store = open();
    await store.writePart(partition, { file: 0, chunk: 0 }, frameOf(awkward));
    const [part = ""] = await filesBelow(store.root);
    const run = path.join(store.root, path.dirname(part));
    await fs.mkdir(path.join(run, "part-00001-000.parquet", "occupied"), { recursive: true });
    const error = await failureOf(() =>
      store.writePart(partition, { file: 1, chunk: 0 }, frameOf(awkward)),
    );
    assert.equal(error.code, "OFFLINE_UNAVAILABLE");
    assert.equal(error.retryable, true);
    assert.ok(
      error.message.startsWith(`the offline store cannot write ${run}/part-00001-000.parquet: `),
    );
    assert.deepEqual((await fs.readdir(run)).sort(), [
      "part-00000-000.parquet",
      "part-00001-000.parquet",
    ]);

    const blocked = createOfflineStore({ root: path.join(store.root, part) });
    const write = await failureOf(() => blocked.writeJson(partition, "a.json", 1));
    assert.deepEqual([write.code, write.details.errno], ["OFFLINE_UNAVAILABLE", "ENOTDIR"]);
    assert.match(write.message, /ENOTDIR.*\. See to that disk, or correct ONCEFLOW_OFFLINE\.$/);

    const missing = await failureOf(() => store.readPart(partition, { file: 5, chunk: 0 }));
    assert.match(missing.message, /cannot read .*part-00005-000\.parquet: ENOENT/);
    await fs.truncate(path.join(store.root, part), 100);
    const damaged = await failureOf(() => store.readPart(partition, { file: 0, chunk: 0 }));
    assert.match(
      damaged.message,
      /cannot decode .*part-00000-000\.parquet: .* Materialize its interval/,
    );
  });

  it("refuses names that would lead out of their folder", async () => {
    const store = open();
    for (const name of ["..", "a/b", "", ".hidden", "a\0", "x".repeat(201), "-x"]) {
      const attempts = [
        () => store.writeJson(partition, name, 1),
        () => store.writeSnapshot("view", name, ""),
        () => store.writeTrainingSet("service", name, frameOf(awkward), {}),
        () => store.listGenerations({ ...partition, view: name }),
      ];
      for (const attempt of attempts)
        assert.equal((await failureOf(attempt)).code, "REQUEST_INVALID");
    }
    await assert.rejects(fs.readdir(store.root));
  });

  it("writes a training set as parquet and CSV with a manifest", async () => {
    const store = open();
    const written = await store.writeTrainingSet("model_x", "f00", frameOf(awkward), { rows: 3 });
    assert.equal(written, path.join(store.root, "training_sets", "model_x", "f00"));
    assert.deepEqual(await filesBelow(written), ["data.csv", "data.parquet", "manifest.json"]);
    assert.deepEqual(JSON.parse(await fs.readFile(path.join(written, "manifest.json"), "utf8")), {
      rows: 3,
    });
    const parquet = pl.readParquet(await fs.readFile(path.join(written, "data.parquet")));
    assert.deepStrictEqual(valuesOf(parquet).height, [INT64_MIN, INT64_MAX, null]);
    assert.equal(
      await fs.readFile(path.join(written, "data.csv"), "utf8"),
      [
        "id,height,x,flag,at,list",
        'é\0,-9223372036854775808,-0.0,true,0001-01-01T00:00:00.000000Z,"[1,""NaN""]"',
        '"",9223372036854775807,NaN,false,9999-12-31T23:59:59.999999Z,[]',
        "__proto__,,5e-324,,1969-12-31T23:59:59.999999Z,",
        "",
      ].join("\n"),
    );
  });
});

describe("CSV of a frame", () => {
  const { folder, remove } = temporaryFolder();
  after(remove);

  const column = (dtype: Dtype, values: Value[]) =>
    toCsv(frameOf([["v", dtype, values]]))
      .toString()
      .split("\n")
      .slice(1, -1);

  it("spells floats so that they read back as the same double", () => {
    const values = [36.45, 1e21, 1e-7, 5e-324, -0, NaN, Infinity, -Infinity, 1 / 3, 2 ** 53, 1e16];
    assert.deepStrictEqual(column("float64", values).map(Number), values);
    assert.equal(column("float64", [36.45])[0], "36.45");
    fc.assert(
      fc.property(fc.array(fc.double(), { minLength: 1, maxLength: 200 }), (doubles) =>
        assert.deepStrictEqual(column("float64", doubles).map(Number), doubles),
      ),
      runsOf(30),
    );
  });

  it("puts a ' before text that a spreadsheet would run", () => {
    const texts = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "\tx", "a=b", " =x", null, ""];
    const shown = ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@x", "'\tx", "a=b", " '=x", "", '""'];
    assert.deepEqual(column("string", texts), shown);
    assert.deepEqual(column("string", ["＝1", "2-1", "a-b", "x;"]), ["'＝1", "2-1", "a-b", "x;"]);
    assert.deepEqual(column("int64", [-1]), ["-1"]);
    const whole = (text: string) => toCsv(frameOf([["v", "string", [text]]])).toString();
    assert.equal(whole("\rx"), `v\n"'\rx"\n`);
    assert.equal(whole("\n=1+1"), `v\n"'\n'=1+1"\n`);
  });

  it("puts a ' before what would begin a cell where another separator than the comma is read", () => {
    const texts = ["a;=1+1", "a;;=1", "a; =1", "=a;+b;c", "a\t@x", "a|-1", "a,=1"];
    const shown = ["a;'=1+1", "a;;'=1", "a; '=1", "'=a;'+b;c", "a\t'@x", "a|'-1", '"a,=1"'];
    assert.deepEqual(column("string", texts), shown);
    const csv = toCsv(frameOf([["v", "string", ["a\n=1+1"]]])).toString();
    assert.equal(csv, `v\n"a\n'=1+1"\n`);
  });

  it("does the same to names of columns, and quotes them where it must", () => {
    const names = ["=1+1", "a;=1", "\n=x", 'a,"b"', "plain", "'=1+1"];
    const csv = toCsv(frameOf(names.map((name) => [name, "int64", [1]]))).toString();
    assert.equal(csv, `'=1+1,a;'=1,"'\n'=x","a,""b""",plain,'=1+1\n1,1,1,1,1,1\n`);
  });

  it("reads back exactly as a source, null and empty text included", async () => {
    const columns: [string, Dtype, Value[]][] = [
      ["id", "string", ["", "a,b", 'c"\n', "é"]],
      ["text", "string", [null, "", "NULL", "x"]],
      ["n", "int64", [INT64_MIN, null, 2n ** 53n + 1n, -1]],
      ["x", "float64", [-0, NaN, -Infinity, null]],
      ["at", "timestamp", [timestampMin, timestampMax, null, 1]],
    ];
    const file = path.join(folder, "x.csv");
    await fs.writeFile(file, toCsv(frameOf(columns)));
    const people = source("people", {
      files: "x.csv",
      entity: entity("person", { key: "id" }),
      columns: {
        id: string,
        text: nullable(string),
        n: nullable(int64),
        x: nullable(float64),
        at: nullable(timestamp),
      },
    });
    const { __ordinal, ...rows } = await readAll(people, await describeFile(file));
    assert.deepStrictEqual(
      rows,
      Object.fromEntries(columns.map(([name, , values]) => [name, values])),
    );
    assert.equal(__ordinal?.length, 4);
  });
});
