import assert from "node:assert/strict";
import { readdir, readlink, truncate } from "node:fs/promises";
import { heightOf, polarsType } from "../../engine/compile/frame.ts";
import {
  type ColumnTypes,
  entity,
  type Source,
  source,
} from "../../engine/language/definitions.ts";
import {
  bool,
  type Dtype,
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
  type Value,
} from "../../engine/language/dtypes.ts";
import { type ErrorCode, OnceflowError } from "../../engine/errors.ts";
import { INT64_MAX, INT64_MIN } from "../../engine/language/int64.ts";
import { interval } from "../../engine/calendar/interval.ts";
import { timestampMax } from "../../engine/operations/scalar.ts";
import { parseTimestamp } from "../../engine/wire.ts";
import { readChunks } from "../../sources/scan.ts";
import { assertUnchanged } from "../../sources/files.ts";
import { failureOf } from "../support/fails-with.ts";
import { anyInterval, readAll, temporaryFolder, valuesOf } from "../support/files/source-files.ts";

const person = entity("person", { key: "id" });

function sourceOf<C extends ColumnTypes>(columns: C, separator = ","): Source {
  return source("people", { files: "x", columns, entity: person, csv: { separator } });
}

const us = (text: string): Value => parseTimestamp(text) ?? null;

describe("scan of CSV", () => {
  const { write, remove } = temporaryFolder();
  after(remove);

  const plain = sourceOf({ id: string, n: int64 });

  /** The rows of a text, read in one chunk and, to find errors of cutting, in tiny ones. */
  const read = async (from: Source, text: string | Buffer) => {
    const file = await write("x.csv", text);
    const { __ordinal, ...rows } = await readAll(from, file);
    for (const chunkBytes of [1, 2, 3, 5, 7]) {
      const { __ordinal: ordinals, ...again } = await readAll(from, file, anyInterval, {
        chunkBytes,
      });
      assert.deepStrictEqual(again, rows);
      assert.deepStrictEqual(ordinals, __ordinal);
    }
    return rows;
  };

  const refuses = async (
    from: Source,
    text: string | Buffer,
    code: ErrorCode,
    ...parts: (string | RegExp)[]
  ) => {
    const file = await write("bad.csv", text);
    for (const options of [{}, { chunkBytes: text.length > 1000 ? 8192 : 1 }]) {
      const error = await failureOf(() => readAll(from, file, anyInterval, options));
      assert.equal(error.code, code, error.message);
      assert.ok(error.message.startsWith(`source "people", file ${file.path}: `), error.message);
      for (const part of parts)
        if (typeof part === "string") assert.ok(error.message.includes(part), error.message);
        else assert.match(error.message, part);
    }
  };

  it("gives the declared columns in declared order and dtypes, and the ordinals", async () => {
    const every = sourceOf({
      flag: bool,
      n: int64,
      x: float64,
      id: string,
      at: timestamp,
    });
    const file = await write(
      "every.csv",
      'x,extra,at,id,n,flag\n1.5,?,2026-01-31T12:00:00.000001Z,a,7,true\n-0,"q""",2026-01-31,"b,",-7,FALSE\n',
      3,
    );
    for await (const frame of readChunks(every, file, anyInterval)) {
      const dtypes: Dtype[] = ["bool", "int64", "float64", "string", "timestamp", "int64"];
      assert.deepEqual(
        frame.getColumns().map((column) => String(column.dtype).replace("Utf8", "String")),
        dtypes.map((dtype) => String(polarsType(dtype)).replace("Utf8", "String")),
      );
      assert.deepStrictEqual(valuesOf(frame), {
        flag: [true, false],
        n: [7, -7],
        x: [1.5, -0],
        id: ["a", "b,"],
        at: [us("2026-01-31T12:00:00.000001Z"), us("2026-01-31")],
        __ordinal: [3 * 2 ** 32, 3 * 2 ** 32 + 1],
      });
    }
  });

  it("normalises the names of the header", async () => {
    const from = sourceOf({ id: string, work_load_average_per_day: float64 }, ";");
    assert.deepStrictEqual(
      await read(from, "\ufeffID;Work load \t Average/day \r\n11;239.554\r\n"),
      { id: ["11"], work_load_average_per_day: [239.554] },
    );
  });

  it("is not misled by columns that are named like a property of a frame", async () => {
    const from = sourceOf({
      height: int64,
      id: string,
      columns: int64,
      lazy: int64,
      filter: int64,
    });
    assert.deepStrictEqual(await read(from, "1,lazy,id,filter,height,columns\n9,1,a,2,172,3\n"), {
      height: [172],
      id: ["a"],
      columns: [3],
      lazy: [1],
      filter: [2],
    });
  });

  it("ignores undeclared columns, whatever their names and content", async () => {
    const text = "9,id,,1,n,__proto__\nx,a,y,z,1,w\n,b,,,2,\n";
    assert.deepStrictEqual(await read(plain, text), { id: ["a", "b"], n: [1, 2] });
  });

  describe("reads awkward text", () => {
    const texts: Record<string, [text: string, id: Value[], n: Value[]]> = {
      "CRLF line ends": ["id,n\r\na,1\r\nb,2\r\n", ["a", "b"], [1, 2]],
      "a text column last, with CRLF": ["n,id\r\n1,a\r\n2,b", ["a", "b"], [1, 2]],
      "no line end at the end": ["id,n\na,1", ["a"], [1]],
      "a byte order mark": ["\ufeffid,n\na,1\n", ["a"], [1]],
      "a byte order mark inside, which is a value": ["id,n\n\ufeffa,1\n", ["\ufeffa"], [1]],
      "quoted cells": ['"id","n"\n"a","1"\n', ["a"], [1]],
      "doubled quotes": ['id,n\n"a ""b""",1\n"""",2\n', ['a "b"', '"'], [1, 2]],
      "separators in quotes": ['id,n\n"a,b",1\n', ["a,b"], [1]],
      "line ends in quotes": ['id,n\n"a\nb\r\nc",1\n"\n",2\n', ["a\nb\r\nc", "\n"], [1, 2]],
      "an empty text in quotes": ['id,n\n"",1\n', [""], [1]],
      "blanks, which stay": ["id,n\n a ,1\n", [" a "], [1]],
      "a comment sign": ["id,n\n#a,1\n", ["#a"], [1]],
      "words for null, which are text": [
        "id,n\nNULL,1\nNA,2\nnull,3\n",
        ["NULL", "NA", "null"],
        [1, 2, 3],
      ],
      "a NUL": ["id,n\na\0b,1\n", ["a\0b"], [1]],
      "numbers as text": [
        "id,n\n007,1\n1e3,2\n9007199254740993,3\n",
        ["007", "1e3", "9007199254740993"],
        [1, 2, 3],
      ],
      "Unicode as it is": [
        "id,n\né,1\ne\u0301,2\n👩‍🚀,3\nمرحبا,4\n\u200b,5\n",
        ["é", "e\u0301", "👩‍🚀", "مرحبا", "\u200b"],
        [1, 2, 3, 4, 5],
      ],
      "names that objects inherit": [
        "id,n\n__proto__,1\nconstructor,2\n",
        ["__proto__", "constructor"],
        [1, 2],
      ],
    };
    for (const [title, [text, id, n]] of Object.entries(texts))
      it(title, async () => {
        assert.deepStrictEqual(await read(plain, text), { id, n });
      });

    it("a cell of a megabyte", async () => {
      const file = await write("big.csv", `id,n\n"${"z\n".repeat(1 << 19)}",1\nb,2\n`);
      const rows = await readAll(plain, file, anyInterval, { chunkBytes: 1000 });
      assert.deepEqual([rows.id?.[0]?.toString().length, rows.id?.[1]], [1 << 20, "b"]);
    });

    it("a header alone, as no rows of the declared schema", async () => {
      for (const text of ["id,n", "id,n\n", "n,id\r\n"])
        assert.deepStrictEqual(await read(plain, text), { id: [], n: [] });
    });

    it("many rows with line ends in quotes, across chunks", async () => {
      const count = 20_000;
      const line = (i: number) => (i % 3 === 0 ? `"k${i}\n,""x""",${i}\n` : `k${i},${i}\n`);
      const file = await write(
        "many.csv",
        `id,n\n${Array.from({ length: count }, (_, i) => line(i)).join("")}`,
      );
      const rows = await readAll(plain, file, anyInterval, { chunkBytes: 1 << 16 });
      assert.deepEqual(
        rows.n,
        Array.from({ length: count }, (_, i) => i),
      );
      assert.deepEqual(rows.__ordinal, rows.n);
      assert.equal(rows.id?.[19_998], 'k19998\n,"x"');
    });
  });

  it("reads every int64 exactly", async () => {
    const values = ["0", "-0", "+5", "9007199254740993", String(INT64_MAX), String(INT64_MIN)];
    const rows = await read(plain, `id,n\n${values.map((value) => `a,${value}\n`).join("")}`);
    assert.deepStrictEqual(rows.n, [0, 0, 5, 9007199254740993n, INT64_MAX, INT64_MIN]);
  });

  it("reads every float64 to the nearest double", async () => {
    const from = sourceOf({ id: string, x: float64 });
    const values = "0.1 5e-324 1e-400 1e400 -1e400 NaN nan inf -Infinity -0 .5 1. 1e22 36.45".split(
      " ",
    );
    const rows = await read(from, `id,x\n${values.map((value) => `a,${value}\n`).join("")}`);
    assert.deepStrictEqual(rows.x, [
      0.1,
      5e-324,
      0,
      Infinity,
      -Infinity,
      NaN,
      NaN,
      Infinity,
      -Infinity,
      -0,
      0.5,
      1,
      1e22,
      36.45,
    ]);
  });

  it("reads times in UTC with microseconds, from any offset", async () => {
    const from = sourceOf({ id: string, at: timestamp });
    const values = [
      "2026-01-31T12:00:00Z",
      "2026-01-31T12:00:00",
      "2026-01-31 12:00:00.5",
      "2026-01-31T14:00:00.123456+02:00",
      "0001-01-01",
      "9999-12-31T23:59:59.999999Z",
      "1969-12-31T23:59:59.999999Z",
    ];
    const rows = await read(from, `id,at\n${values.map((value) => `a,${value}\n`).join("")}`);
    const noon = Date.UTC(2026, 0, 31, 12) * 1000;
    const first = -62_135_596_800_000_000n;
    assert.deepStrictEqual(rows.at, [
      noon,
      noon,
      noon + 500_000,
      noon + 123_456,
      first,
      timestampMax,
      -1,
    ]);
  });

  it("reads an empty cell of a nullable column as null", async () => {
    const from = sourceOf({
      id: string,
      text: nullable(string),
      n: nullable(int64),
      x: nullable(float64),
      flag: nullable(bool),
      at: nullable(timestamp),
    });
    assert.deepStrictEqual(await read(from, 'id,text,n,x,flag,at\na,,,,,\nb,"",,,,\n'), {
      id: ["a", "b"],
      text: [null, ""],
      n: [null, null],
      x: [null, null],
      flag: [null, null],
      at: [null, null],
    });
  });

  it("drops rows outside the half-open interval, and numbers them before", async () => {
    const from = source("people", {
      files: "x",
      columns: { id: string, at: timestamp },
      entity: person,
      eventTime: "at",
    });
    const times = [
      "2025-12-31T23:59:59.999999Z",
      "2026-01-01T00:00:00Z",
      "2026-01-01T23:59:59.999999Z",
      "2026-01-02T00:00:00Z",
      "2026-01-01T12:00:00Z",
    ];
    const file = await write(
      "times.csv",
      `id,at\n${times.map((at, i) => `${i},${at}\n`).join("")}`,
      2,
    );
    for (const options of [{}, { chunkBytes: 40 }]) {
      const rows = await readAll(from, file, anyInterval, options);
      assert.deepEqual(rows.id, ["1", "2", "4"]);
      assert.deepEqual(
        rows.__ordinal,
        [1, 2, 4].map((row) => 2 * 2 ** 32 + row),
      );
    }
    const none = await readAll(from, file, interval("2027-01-01", "2027-01-02"));
    assert.deepEqual(none, { id: [], at: [], __ordinal: [] });
  });

  describe("refuses", () => {
    const good = Array.from({ length: 5000 }, (_, i) => `k${i},${i}\n`).join("");

    it("a value that is not of its dtype, naming row, line, column and value", async () => {
      const file = await write("late.csv", `id,n\n${good}"a\nb",1\nx,oops\n`);
      for (const options of [{}, { chunkBytes: 9999 }]) {
        const error = await failureOf(() => readAll(plain, file, anyInterval, options));
        assert.equal(error.code, "VALUE_UNPARSABLE");
        assert.equal(error.retryable, false);
        assert.equal(
          error.message,
          `source "people", file ${file.path}: row 5002 (line 5004): "n" is "oops", which is no int64.`,
        );
        assert.equal(error.details.column, "n");
      }
    });

    const unreadable: [dtype: "bool" | "int64" | "float64" | "timestamp", values: string[]][] = [
      [
        "int64",
        [
          "1.5",
          "1.0",
          "1e3",
          "9223372036854775808",
          "-9223372036854775809",
          "5 ",
          "0x10",
          "NaN",
          "true",
          "-",
          "1_000",
        ],
      ],
      ["float64", ["1,5", "abc", "1e", "1.5 ", ".", "0x1p3", "1.2.3"]],
      ["bool", ["1", "0", "yes", "t", " true"]],
      [
        "timestamp",
        [
          "yesterday",
          "2026-02-30",
          "2026-13-01",
          "1700000000",
          "2026-01-01T25:00:00Z",
          "2026-01-01T00:00:00.1234567Z",
          "+010000-01-01",
          "-000001-01-01",
          "01/02/2026",
          " ",
        ],
      ],
    ];
    const types = { bool, int64, float64, timestamp };
    for (const [dtype, values] of unreadable)
      it(`text that is no ${dtype}`, async () => {
        for (const value of values)
          await refuses(
            sourceOf({ id: string, v: types[dtype] }),
            `id,v\na,"${value}"\n`,
            "VALUE_UNPARSABLE",
            `row 1 (line 2): "v" is ${JSON.stringify(value)}, which is no ${dtype}.`,
          );
      });

    it("a long value, cutting it in the message", async () => {
      await refuses(
        plain,
        `id,n\na,${"x".repeat(100)}\n`,
        "VALUE_UNPARSABLE",
        `"${"x".repeat(60)}…"`,
      );
    });

    it("bytes that are no UTF-8, in a declared column", async () => {
      const bytes = (cell: Buffer) => Buffer.concat([Buffer.from("id,n,z\na,1,b\n"), cell]);
      const bad = Buffer.from([0xff, 0xfe, 0x2c, 0x32, 0x2c, 0x63, 0x0a]);
      await refuses(plain, bytes(bad), "VALUE_UNPARSABLE", "row 2 (line 3)", '"id"', "no UTF-8");
      await refuses(plain, Buffer.from("\ufeffid,n\na,1\n", "utf16le"), "SOURCE_CORRUPT", "UTF-8");
    });

    it("a null in a column that is not nullable, and in any key", async () => {
      await refuses(
        plain,
        `id,n\n${good}b,\n`,
        "NULL_NOT_ALLOWED",
        'row 5001 (line 5002): "n" is null. Declare it as nullable(int64)',
      );
      await refuses(
        sourceOf({ id: nullable(string), n: int64 }),
        "id,n\n,1\n",
        "NULL_NOT_ALLOWED",
        'row 1 (line 2): "id" is null',
        "key",
      );
      await refuses(plain, 'id,n\n"",""\n', "NULL_NOT_ALLOWED", '"n" is null');
    });

    it("ragged rows, long, short and blank", async () => {
      const nullableLast = sourceOf({ id: string, n: nullable(int64) });
      const ragged = { "x,1,2": 3, "x,1,": 3, x: 1, "": 1 };
      for (const [row, fields] of Object.entries(ragged))
        for (const from of [plain, nullableLast])
          await refuses(
            from,
            `id,n\n${good}${row}\ny,2\n`,
            "SOURCE_CORRUPT",
            `row 5001 (line 5002) has ${fields} field`,
            "the header has 2",
          );
    });

    it("quotes out of place, and one that is never closed", async () => {
      await refuses(plain, 'id,n\na"b,1\n', "SOURCE_CORRUPT", "row 1 (line 2) has a quote inside");
      await refuses(
        plain,
        'id,n\na,1\n"b"c,1\n',
        "SOURCE_CORRUPT",
        "row 2 (line 3) has text after",
      );
      await refuses(
        plain,
        `id,n\na,1\n"b,1\n${good}`,
        "SOURCE_CORRUPT",
        "row 2 (line 3) opens a quote",
      );
    });

    it("missing columns, with what is expected, what is there and a guess", async () => {
      await refuses(
        sourceOf({ id: string, age: int64 }),
        "id,aged,x\na,1,2\n",
        "SCHEMA_MISMATCH",
        'has no column "age". Did you mean "aged"? Expected: id, age. Got: id, aged, x.',
      );
      await refuses(plain, "\nid,n\na,1\n", "SCHEMA_MISMATCH", 'no column "id", "n"');
      await refuses(plain, "a,1\nb,2\n", "SCHEMA_MISMATCH", "Got: a, 1");
    });

    it("another separator, naming the one that would match", async () => {
      await refuses(plain, "ID;N\na;1\n", "SCHEMA_MISMATCH", 'csv: { separator: ";" }');
      await refuses(
        sourceOf({ id: string, n: int64 }, ";"),
        "id\tn\n",
        "SCHEMA_MISMATCH",
        'separator: "\\t"',
      );
    });

    it("two columns that normalise to one name", async () => {
      await refuses(plain, "id,n,N \na,1,2\n", "SCHEMA_MISMATCH", 'has two columns "n"');
    });

    it("a list column, which CSV cannot hold", async () => {
      await refuses(
        sourceOf({ id: string, v: listFloat64 }),
        "id,v\n",
        "SCHEMA_MISMATCH",
        '"v"',
        "parquet",
      );
    });

    it("an empty file, and a file of another ending", async () => {
      await refuses(plain, "", "SOURCE_CORRUPT", "is empty (0 bytes)");
      const file = await write("x.json", "{}");
      const error = await failureOf(() => readAll(plain, file));
      assert.equal(error.code, "SCHEMA_MISMATCH");
    });
  });

  it("survives a file that is cut while it is read, which the listing then tells", async () => {
    const file = await write("shrinking.csv", `id,n\n${"a,1\n".repeat(100_000)}`);
    const read = async () => {
      for await (const frame of readChunks(plain, file, anyInterval, { chunkBytes: 1 << 16 }))
        if (heightOf(frame) > 0) await truncate(file.path, 10);
    };
    await read().catch((error: unknown) => assert.ok(error instanceof OnceflowError));
    assert.equal((await failureOf(() => assertUnchanged([file]))).code, "SOURCE_CHANGED");
  });

  (process.platform === "linux" ? it : it.skip)(
    "leaves no file open when the reader stops early or fails",
    async () => {
      const file = await write("many.csv", `id,n\n${"a,1\n".repeat(1000)}b,x\n`);
      const isOpen = async () => {
        const links = (await readdir("/proc/self/fd")).map((fd) =>
          readlink(`/proc/self/fd/${fd}`).catch(() => ""),
        );
        return (await Promise.all(links)).includes(file.path);
      };
      for await (const frame of readChunks(plain, file, anyInterval, { chunkBytes: 100 })) {
        assert.equal(await isOpen(), true);
        if (heightOf(frame) > 0) break;
      }
      assert.equal(await isOpen(), false);
      await failureOf(() => readAll(plain, file));
      assert.equal(await isOpen(), false);
    },
  );
});
