import assert from "node:assert/strict";
import { readdir, readlink, truncate } from "node:fs/promises";
import { heightOf, polarsType } from "../../engine/compile/frame.ts";
import { entity, source } from "../../engine/language/definitions.ts";
import {
  bool,
  type Dtype,
  float64,
  int64,
  nullable,
  string,
  timestamp,
  type Value,
} from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { INT64_MAX, INT64_MIN } from "../../engine/language/int64.ts";
import { interval } from "../../engine/calendar/interval.ts";
import { timestampMax } from "../../engine/operations/scalar.ts";
import { parseTimestamp } from "../../engine/wire.ts";
import { readChunks } from "../../sources/scan.ts";
import { assertUnchanged } from "../../sources/files.ts";
import { failureOf } from "../support/fails-with.ts";
import { csvFiles, sourceOf } from "../support/files/csv-files.ts";
import { anyInterval, readAll, valuesOf } from "../support/files/source-files.ts";

const person = entity("person", { key: "id" });
const us = (text: string): Value => parseTimestamp(text) ?? null;

describe("scan of CSV", () => {
  const { write, read, refuses, remove } = csvFiles();
  after(remove);

  const plain = sourceOf({ id: string, n: int64 });

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
    const twice = ",id,,X,n,x, x ,\n,a,,1,1,2,3,\n1e400,b, ,\t,2,\r,x\r,4\n";
    assert.deepStrictEqual(await read(plain, twice), { id: ["a", "b"], n: [1, 2] });
  });

  it("ignores undeclared columns that are no UTF-8, in name and content", async () => {
    const from = sourceOf({ id: string, n: int64, x: nullable(float64), at: nullable(timestamp) });
    const text = `id,café,n,\xa0id,x,at\n"é,""\xfc""\n",à,1,\xff,0.5,2026-01-01\nb,x,2,"\xe9\n",,\n`;
    // The declared cell is UTF-8, all else Latin-1.
    const latin1 = Buffer.from(text.replace('"é,""\xfc""', '"\xc3\xa9,""\xc3\xbc""'), "latin1");
    assert.deepStrictEqual(await read(from, latin1), {
      id: ['é,"ü"\n', "b"],
      n: [1, 2],
      x: [0.5, null],
      at: [us("2026-01-01"), null],
    });
    await refuses(
      sourceOf({ id: string, n: int64, caf: string }),
      latin1,
      "SOURCE_CORRUPT",
      "is no UTF-8 text",
    );
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
    const values =
      "0.1 5e-324 1e-400 1.7976931348623157e308 -1.7976931348623158079e308 NaN nan inf -Infinity -0 .5 1. 1e22 36.45".split(
        " ",
      );
    const rows = await read(from, `id,x\n${values.map((value) => `a,${value}\n`).join("")}`);
    assert.deepStrictEqual(rows.x, [
      0.1,
      5e-324,
      0,
      Number.MAX_VALUE,
      -Number.MAX_VALUE,
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
