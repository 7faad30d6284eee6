import assert from "node:assert/strict";
import {
  bool,
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
} from "../../engine/language/dtypes.ts";
import { failureOf } from "../support/fails-with.ts";
import { csvFiles, sourceOf } from "../support/files/csv-files.ts";
import { anyInterval, readAll } from "../support/files/source-files.ts";

describe("CSV that is refused", () => {
  const { write, read, refuses, remove } = csvFiles();
  after(remove);

  const plain = sourceOf({ id: string, n: int64 });

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
        " ",
        "\t",
        "\n",
        "\n1",
        "\r1",
        "\u00a01",
        "\u00a0",
        "\v1",
        "\ufeff1",
        "1\n",
      ],
    ],
    [
      "float64",
      [
        ...["1,5", "abc", "1e", "1.5 ", ".", "0x1p3", "1.2.3", "1_000.5", "1e400", "-1e400"],
        ...[" 1e309", "1.7976931348623159e308", `1${"0".repeat(309)}`, "infinit", "∞"],
        ...[" ", " \t", "\n1.5", "\u00a01.5", "\u2009", "\f1"],
      ],
    ],
    ["bool", ["1", "0", "yes", "t", " true", " ", "\t", "true ", "\ntrue", "\u00a0true"]],
    [
      "timestamp",
      [
        "yesterday",
        "2026-02-30",
        "2026-13-01",
        "1700000000",
        "2026-01-01T25:00:00Z",
        "2026-01-01T24:00:00.5Z",
        "2026-01-01T24:01:00Z",
        "2016-12-31T23:59:60Z",
        "9999-12-31T24:00:00Z",
        "2026-01-01T00:00:00.1234567Z",
        "+010000-01-01",
        "-000001-01-01",
        "01/02/2026",
        " ",
        "\t",
        "\n2026-01-01",
        "\u00a02026-01-01",
        "2026-01-01 ",
      ],
    ],
  ];
  const types = { bool, int64, float64, timestamp };
  for (const [dtype, values] of unreadable)
    it(`text that is no ${dtype}`, async () => {
      for (const value of values)
        for (const type of [types[dtype], nullable(types[dtype])])
          await refuses(
            sourceOf({ id: string, v: type }),
            `id,v\na,"${value}"\nb,\n`,
            "VALUE_UNPARSABLE",
            `row 1 (line 2): "v" is ${JSON.stringify(value.slice(0, 60)).slice(0, -1)}`,
            `, which is no ${dtype}.`,
          );
    });

  it("a blank or infinite cell behind good ones, by its own row and line", async () => {
    const from = sourceOf({ id: string, n: nullable(int64), x: nullable(float64) });
    const rows = '" \n", 1, inf\n" ",,\nc,\t2,-Infinity\n';
    for (const [row, column] of [
      ["d,  ,1\n", '"n" is "  "'],
      ["d,1, \n", '"x" is " "'],
      ["d,1,-1e999\n", '"x" is "-1e999"'],
    ] as const)
      await refuses(
        from,
        `id,n,x\n${rows}${row}${rows}`,
        "VALUE_UNPARSABLE",
        `row 4 (line 6): ${column}, which is no `,
      );
    assert.deepStrictEqual(await read(from, `id,n,x\n${rows}`), {
      id: [" \n", " ", "c"],
      n: [1, null, 2],
      x: [Infinity, null, -Infinity],
    });
  });

  it("a carriage return that polars would drop", async () => {
    const at = "row 2 (line 3): ";
    await refuses(plain, "id,n\na,1\nb\r,2\n", "SOURCE_CORRUPT", `${at}"id" ends in a carriage`);
    await refuses(plain, "id,n\na,1\n\r,2\n", "SOURCE_CORRUPT", `${at}"id" ends in a carriage`);
    const kept = 'n,id\r\n1,"a\r"\r\n2,b\rc\r\n';
    assert.deepStrictEqual(await read(plain, kept), { id: ["a\r", "b\rc"], n: [1, 2] });
    assert.deepStrictEqual(await read(plain, "n,id\r\n1,a\r\n2,b\r"), {
      id: ["a", "b"],
      n: [1, 2],
    });
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
    await refuses(plain, 'id,n\na,1\n"b"c,1\n', "SOURCE_CORRUPT", "row 2 (line 3) has text after");
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
    await refuses(plain, "\nid,n\na,1\n", "SCHEMA_MISMATCH", 'no column "id", "n". Expected: ');
    await refuses(plain, "\ufeff", "SCHEMA_MISMATCH", 'Expected: id, n. Got: "".');
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

  it("lines that end in carriage returns alone, which make them all one header", async () => {
    const fix = "A carriage return ends no line: end lines with a line feed";
    await refuses(plain, "id,n\ra,1\rb,2\r", "SCHEMA_MISMATCH", 'no column "n"', fix);
    await refuses(plain, "n,id\r1,a", "SCHEMA_MISMATCH", 'no column "id"', fix);
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
