import assert from "node:assert/strict";
import fs from "node:fs/promises";
import path from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import pl from "nodejs-polars";
import { columnNamesOf, heightOf, toColumns, toSeries } from "../../engine/compile/frame.ts";
import { entity, source } from "../../engine/language/definitions.ts";
import {
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
} from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { interval } from "../../engine/calendar/interval.ts";
import { readChunks } from "../../sources/scan.ts";
import { type ThriftValue, writeInteger, writeList, writeStruct } from "../../sources/thrift.ts";
import { editFooter, type FooterPath, shiftData } from "../support/files/parquet-edit.ts";
import { failureOf } from "../support/fails-with.ts";
import {
  anyInterval,
  describeFile,
  readAll,
  temporaryFolder,
  valuesOf,
} from "../support/files/source-files.ts";

const person = entity("person", { key: "id" });
const fixtures = fileURLToPath(new URL("./fixtures/", import.meta.url));

/** Rows enough for several row groups as polars divides them. */
const rowCount = 600_000;
const at0 = Date.parse("2026-01-01") * 1000;

describe("row groups of parquet", () => {
  const { folder, write, remove } = temporaryFolder();
  after(remove);

  const people = source("people", {
    files: "x",
    columns: { id: int64, x: nullable(float64), at: timestamp, inner: int64 },
    entity: person,
    eventTime: "at",
  });
  const numbers = (change: (row: number) => number) =>
    pl.Series(new Float64Array(rowCount).map((_, row) => change(row)));
  const columnsOf = (timeOf: (row: number) => number, unit: "us" | "ns") => [
    numbers(timeOf).cast(pl.Int64).cast(pl.Datetime(unit)).alias("at"),
    numbers((row) => row / 3).alias("x"),
    numbers((row) => -row)
      .cast(pl.Int64)
      .alias("id"),
    // A column of this name hides what polars puts frames together by.
    numbers((row) => 2 * row)
      .cast(pl.Int64)
      .alias("inner"),
  ];
  /** One row for each of 600 000 µs of the first day. */
  const large = () => pl.DataFrame(columnsOf((row) => at0 + row, "us")).writeParquet();

  it("come from other writers in one chunk where they are small", async () => {
    // Made by pyarrow 26.0.1 and duckdb 2.0.1: 20 rows in groups of 7 (duckdb: one group); a nested
    // column `junk`, dictionaries, pages of version 2, page index, bloom filter, delta encoding.
    const from = source("people", {
      files: "x",
      columns: {
        id: string,
        n: int64,
        x: nullable(float64),
        list: nullable(listFloat64),
        at: timestamp,
      },
      entity: person,
    });
    const rows = Array.from({ length: 20 }, (_, row) => row);
    const names = (await fs.readdir(fixtures)).filter((name) => name.endsWith(".parquet"));
    assert.equal(names.length, 4);
    for (const name of names) {
      const file = await describeFile(path.join(fixtures, name));
      let chunks = 0;
      for await (const frame of readChunks(from, file, anyInterval)) {
        chunks++;
        assert.deepEqual(
          valuesOf(frame),
          {
            id: rows.map((row) => `k${row % 7}`),
            n: rows,
            x: rows.map((row) => (row % 3 === 0 ? null : row / 4)),
            list: rows.map((row) => (row % 5 === 0 ? null : [0, 1].slice(0, row % 3))),
            at: rows.map((row) => 1_700_000_000_000_000 + row),
            __ordinal: rows,
          },
          name,
        );
      }
      assert.equal(chunks, 1, name);
    }
  });

  it("come in chunks where they are large, numbered on, and other work goes on in between", async () => {
    const file = await write("large.parquet", large(), 3);
    let [first, chunks, turns] = [0, 0, 0];
    for await (const frame of readChunks(people, file, anyInterval, { chunkValues: 400_000 })) {
      const height = heightOf(frame);
      assert.ok(height > 0 && height <= 100_000, String(height));
      assert.deepEqual(columnNamesOf(frame), ["id", "x", "at", "inner", "__ordinal"]);
      const columns = toColumns(frame);
      const [id, x, at, inner, ordinal] = columns.map(({ data }) => data);
      for (let row = 0; row < height; row++) {
        const n = first + row;
        const got = [id?.[row], x?.[row], at?.[row], inner?.[row], ordinal?.[row]];
        const expected = [-n, n / 3, at0 + n, 2 * n, 3 * 2 ** 32 + n];
        if (got.some((value, i) => Number(value) !== expected[i]))
          assert.deepEqual(got, expected, `row ${n}`);
      }
      first += height;
      chunks++;
      assert.ok(chunks === 1 || turns >= chunks - 2, `${turns} turns before chunk ${chunks}`);
      void turn().then(() => turns++);
    }
    assert.equal(first, rowCount);
    assert.ok(chunks >= 6);
  });

  it("give only the rows of the interval, wherever it begins", async () => {
    const file = await write("large.parquet", large());
    const whole = interval("2026-01-01", "2026-01-01T00:00:00.300Z");
    const rows = await readAll(people, file, whole, { columns: ["x", "__ordinal"] });
    assert.deepEqual(rows.__ordinal?.length, 300_000);
    assert.deepEqual([rows.x?.at(-1), rows.__ordinal?.at(-1)], [299_999 / 3, 299_999]);
    const none = await readAll(people, file, interval("2026-01-02", "2026-01-03"));
    assert.deepEqual(none, { id: [], x: [], at: [], inner: [], __ordinal: [] });
  });

  it("are filtered at times whose lower 32 bits are around 2^31", async () => {
    const middle = Math.floor(at0 / 2 ** 32) * 2 ** 32 + 2 ** 31;
    const times = [middle - 2000, middle + 2000];
    const file = await write(
      "middle.parquet",
      pl
        .DataFrame([
          toSeries("at", "timestamp", times),
          ...["x", "id", "inner"].map((name) =>
            toSeries(name, name === "x" ? "float64" : "int64", [1, 2]),
          ),
        ])
        .writeParquet(),
    );
    const iso = (us: number) => new Date(Math.floor(us / 1000)).toISOString();
    const before = interval(iso(middle - 10_000), iso(middle));
    assert.deepEqual((await readAll(people, file, before)).id, [1]);
  });

  it("name the row of the file where a value is refused", async () => {
    const bad = 400_001;
    const holed = columnsOf((row) => at0 + row, "us").map((column) =>
      column.name === "id" ? numbers((row) => (row === bad ? NaN : row)).alias("id") : column,
    );
    const frame = pl
      .DataFrame(holed)
      .withColumns(
        pl
          .when(pl.col("id").isNan())
          .then(pl.lit(null))
          .otherwise(pl.col("id"))
          .cast(pl.Int64)
          .alias("id"),
      );
    const nulled = await write("nulled.parquet", frame.writeParquet());
    const error = await failureOf(() => readAll(people, nulled));
    assert.deepEqual(
      [error.code, /row \d+/.exec(error.message)?.[0]],
      ["NULL_NOT_ALLOWED", "row 400002"],
    );

    const lossy = pl.DataFrame(columnsOf((row) => (row === bad ? 1500 : 1000 * row), "ns"));
    const timed = await write("lossy.parquet", lossy.writeParquet());
    const inexact = await failureOf(() => readAll(people, timed));
    assert.equal(inexact.code, "VALUE_UNPARSABLE");
    assert.match(inexact.message, /row 400002: "at" is "1500 ns/);
  });

  it("are read at any offset, also beyond 2 GiB", async () => {
    const small = pl.DataFrame([
      toSeries("at", "timestamp", [at0]),
      toSeries("x", "float64", [0.5]),
      toSeries("id", "int64", [7]),
      toSeries("inner", "int64", [8]),
    ]);
    const hole = 3 * 2 ** 30;
    const file = path.join(folder, "sparse.parquet");
    const handle = await fs.open(file, "w");
    await handle.write(shiftData(small.writeParquet(), hole), 0, null, hole);
    await handle.close();
    const described = await describeFile(file);
    assert.ok(described.sizeBytes > hole);
    assert.deepEqual(await readAll(people, described), {
      id: [7],
      x: [0.5],
      at: [at0],
      inner: [8],
      __ordinal: [0],
    });
  });

  it("refuse a footer that lies, saying how", async () => {
    const file = await fs.readFile(path.join(fixtures, "pyarrow-gzip-delta.parquet"));
    const from = source("people", {
      files: "x",
      columns: { id: string, n: int64 },
      entity: person,
    });
    const to = (n: number) => () => writeInteger(n);
    const metadata = (group: number, chunk: number, field: number) => [
      4,
      group,
      1,
      chunk,
      3,
      field,
    ];
    const nested = () => {
      let value: ThriftValue = writeStruct(new Map());
      for (let i = 0; i < 100; i++) value = writeStruct(new Map([[1, value]]));
      return value;
    };
    const lastChunk = 6;
    const lies: [FooterPath, (value: ThriftValue) => ThriftValue | undefined, RegExp][] = [
      [metadata(1, lastChunk, 9), to(10 ** 9), /row group 2, column "n": its bytes lie elsewhere/],
      [metadata(1, lastChunk, 9), to(-5), /negative size/],
      [metadata(1, lastChunk, 7), to(2 ** 50), /its bytes lie elsewhere/],
      [metadata(1, lastChunk, 7), to(-1), /negative size/],
      [metadata(0, lastChunk, 5), to(6), /6 values for 7 rows/],
      [metadata(0, lastChunk, 7), () => undefined, /lacks a number/],
      [[4, 2, 3], to(5), /is no whole parquet file/],
      [[4, 2, 3], to(0), /it has 14 rows, and 20 by its footer/],
      [[4, 2, 3], to(2 ** 40), /values for 1099511627776 rows/],
      [[4, 2], () => undefined, /it has 14 rows, and 20 by its footer/],
      [[3], to(21), /it has 20 rows, and 21 by its footer/],
      [[3], to(2 ** 40), /it has 1099511627776 rows/],
      [[4, 1, 1, 0], () => undefined, /row group 2 has 6 of 7 columns/],
      [[4, 1, 1, lastChunk, 3], () => undefined, /ends early/],
      [[2, 2, 5], to(50), /its schema is no tree/],
      [[2, 0], () => undefined, /is no whole parquet file|has no column/],
      [[2], () => writeList([]), /its schema is no tree/],
      [[4], nested, /lacks a list|nests too deep/],
      [[2, 1, 4], nested, /nests too deep/],
    ];
    for (const [at, change, problem] of lies) {
      const lying = await write("lies.parquet", editFooter(file, at, change));
      const error = await failureOf(() => readAll(from, lying));
      assert.ok(["SOURCE_CORRUPT", "SCHEMA_MISMATCH"].includes(error.code), error.message);
      assert.match(error.message, problem, at.join("."));
    }
    const unread = await write(
      "lies.parquet",
      editFooter(file, metadata(1, lastChunk, 9), to(10 ** 9)),
    );
    const ids = await readAll(from, unread, anyInterval, { columns: ["id"] });
    assert.equal(ids.id?.length, 20);
  });

  it("refuse an encrypted footer, and one as long as no file is", async () => {
    const file = await fs.readFile(path.join(fixtures, "pyarrow-v1-snappy.parquet"));
    const endings: [Buffer, RegExp][] = [
      [Buffer.from([9, 0, 0, 0, ...Buffer.from("PARE")]), /its footer is encrypted/],
      [Buffer.from([0, 0, 1, 0, ...Buffer.from("PAR1")]), /would have 65536 bytes/],
      [Buffer.from([255, 255, 255, 255, ...Buffer.from("PAR1")]), /would have 4294967295 bytes/],
    ];
    for (const [ending, problem] of endings) {
      const bytes = Buffer.concat([file.subarray(0, -8), ending]);
      const error = await failureOf(async () => readAll(people, await write("end.parquet", bytes)));
      assert.equal(error.code, "SOURCE_CORRUPT");
      assert.match(error.message, problem);
    }
  });

  it("give all rows or a coded error where any byte of the footer is damaged", async () => {
    const file = await fs.readFile(path.join(fixtures, "pyarrow-v1-snappy.parquet"));
    const from = source("people", {
      files: "x",
      columns: { id: string, n: int64 },
      entity: person,
    });
    const length = file.readUInt32LE(file.length - 8);
    const damage = fc.array(fc.tuple(fc.nat(length + 7), fc.nat(255)), {
      minLength: 1,
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(damage, async (changes) => {
        const bytes = Buffer.from(file);
        for (const [at, byte] of changes) bytes[bytes.length - 1 - at] = byte;
        try {
          const rows = await readAll(from, await write("damaged.parquet", bytes));
          assert.equal(rows.__ordinal?.length, 20);
        } catch (error) {
          if (!(error instanceof OnceflowError)) throw error;
        }
      }),
      { numRuns: 150, seed: 7 },
    );
  });

  it("end in an error where the file is cut while it is read, and stay whole where it is replaced", async () => {
    const bytes = large();
    const file = await write("cut.parquet", bytes);
    const cut = readChunks(people, file, anyInterval);
    await cut.next();
    await fs.truncate(file.path, Math.floor(bytes.length / 4));
    const error = await failureOf(async () => {
      while ((await cut.next()).done !== true);
    });
    assert.equal(error.code, "SOURCE_CORRUPT");
    assert.match(error.message, /it ends at byte \d+/);

    const replaced = await write("replaced.parquet", bytes);
    let rows = 0;
    for await (const frame of readChunks(people, replaced, anyInterval)) {
      rows += heightOf(frame);
      const other = await write("other.parquet", bytes.subarray(100));
      await fs.rename(other.path, replaced.path);
    }
    assert.equal(rows, rowCount);
  });
});

describe("columns asked for", () => {
  const { write, remove } = temporaryFolder();
  after(remove);

  const from = source("people", {
    files: "x",
    columns: { id: string, inner: int64, at: timestamp, drop: float64 },
    entity: person,
    eventTime: "at",
  });
  const day = Date.parse("2026-01-01") * 1000;
  const series = [
    toSeries("drop", "float64", [0.5, null, 2]),
    toSeries("at", "timestamp", [day, day + 1, day - 1]),
    toSeries("inner", "int64", [1, 2, 3]),
  ];
  const csv = "inner,at,drop\n1,2026-01-01,x\n2,2026-01-01T00:00:00.000001Z,\n3,2025-12-31,2\n";

  it("are all that is read, in declared order, of the rows of the interval", async () => {
    const parquet = pl.DataFrame(series).writeParquet();
    for (const file of [await write("x.parquet", parquet), await write("x.csv", csv)]) {
      assert.deepEqual(await readAll(from, file, anyInterval, { columns: ["inner"] }), {
        inner: [1, 2],
      });
      assert.deepEqual(
        Object.keys(
          await readAll(from, file, anyInterval, { columns: ["__ordinal", "at", "inner"] }),
        ),
        ["inner", "at", "__ordinal"],
      );
      const other = interval("2027-01-01", "2027-01-02");
      assert.deepEqual(await readAll(from, file, other, { columns: ["inner"] }), {
        inner: [],
      });
      assert.equal(
        (await failureOf(() => readAll(from, file, anyInterval, { columns: ["id"] }))).code,
        "SCHEMA_MISMATCH",
      );
    }
  });

  it("are no fewer than one, and declared", async () => {
    const file = await write("x.csv", csv);
    for (const columns of [[], ["other"], ["__ordinal"]])
      assert.equal(
        (await failureOf(() => readAll(from, file, anyInterval, { columns }))).code,
        "INTERNAL",
      );
  });

  it("are read where another column's data is damaged", async () => {
    const bytes = pl.DataFrame(series).writeParquet({ compression: "uncompressed" });
    // The data of the file's first column.
    bytes.fill(0xff, 4, 24);
    const file = await write("x.parquet", bytes);
    const narrow = await readAll(from, file, anyInterval, { columns: ["inner"] });
    assert.deepEqual(narrow.inner, [1, 2]);
    const error = await failureOf(() =>
      readAll(from, file, anyInterval, { columns: ["inner", "drop"] }),
    );
    assert.equal(error.code, "SOURCE_CORRUPT");
  });
});
