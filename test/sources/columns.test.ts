/** How a declared column finds its column in a file: the same in every format. */
import assert from "node:assert/strict";
import pl from "nodejs-polars";
import { toSeries } from "../../engine/compile/frame.ts";
import {
  type ColumnTypes,
  entity,
  type Source,
  source,
} from "../../engine/language/definitions.ts";
import {
  column,
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
} from "../../engine/language/dtypes.ts";
import { type Ending, fileFormats } from "../../engine/language/formats.ts";
import { parseTimestamp } from "../../engine/wire.ts";
import { writeInt32 } from "../../sources/thrift.ts";
import { editFooter } from "../support/files/parquet-edit.ts";
import { plainInt96, plainParquet, plainText, text } from "../support/files/plain-parquet.ts";
import { failureOf } from "../support/fails-with.ts";
import { anyInterval, readAll, temporaryFolder } from "../support/files/source-files.ts";

const person = entity("person", { key: "id" });

function sourceOf(columns: ColumnTypes): Source {
  return source("people", { files: "x", columns, entity: person });
}

/** One row: an id "a", then 1, 2, 3, … under these names. */
const content = {
  ".csv": (names) => {
    const header = names.map((name) => `"${name.replaceAll('"', '""')}"`).join(",");
    return Buffer.from(`id,${header}\na,${names.map((_, i) => i + 1).join(",")}\n`);
  },
  ".parquet": (names) => {
    const numbers = names.map((_, i) => toSeries(`n${i}`, "int64", [i + 1]));
    const bytes = pl.DataFrame([toSeries("id", "string", ["a"]), ...numbers]).writeParquet();
    // polars writes no two columns of one name.
    return names.reduce(
      (file, name, i) => editFooter(file, [2, i + 2, 4], () => text(name)),
      bytes,
    );
  },
} satisfies Record<Ending, (names: readonly string[]) => Buffer>;

describe("columns of files", () => {
  const { write, remove } = temporaryFolder();
  after(remove);

  for (const ending of Object.keys(fileFormats) as Ending[])
    describe(`of ${ending}`, () => {
      const open = (names: readonly string[]) => write(`x${ending}`, content[ending](names));

      const reads = async (names: readonly string[], columns: ColumnTypes, expected: object) => {
        const { __ordinal, id, ...rows } = await readAll(
          sourceOf({ id: string, ...columns }),
          await open(names),
        );
        assert.deepEqual([rows, id, __ordinal], [expected, ["a"], [0]]);
      };

      const refuses = async (
        names: readonly string[],
        columns: ColumnTypes,
        ...parts: readonly string[]
      ) => {
        const file = await open(names);
        const error = await failureOf(() => readAll(sourceOf({ id: string, ...columns }), file));
        assert.equal(error.code, "SCHEMA_MISMATCH", error.message);
        assert.ok(error.message.startsWith(`source "people", file ${file.path}: has `));
        for (const part of parts) assert.ok(error.message.includes(part), error.message);
      };

      it("are found by their names, whatever their case and blanks", async () => {
        await reads(["USER_ID"], { user_id: int64 }, { user_id: [1] });
        await reads(["userId"], { userid: int64 }, { userid: [1] });
        await reads(
          [" Work load \t Average/day ", "x"],
          { work_load_average_per_day: int64 },
          { work_load_average_per_day: [1] },
        );
      });

      it("of exactly the name win over such", async () => {
        await reads(["N", "n", "n "], { n: int64 }, { n: [2] });
        await refuses(
          ["N", "x", "n "],
          { n: nullable(int64) },
          'has two columns that may be "n": "N", "n ". For one of them, declare n: column("N", nullable(int64)).',
        );
      });

      it("are found by any name that a source maps, to the letter", async () => {
        const names = [
          "Größe (cm)",
          "userId",
          "  two  blanks ",
          'a "quote", a\nline',
          "__proto__",
          "1",
          "👩‍🚀",
          "x.y",
          "constructor",
        ];
        const columns = names.map((name, i) => [`c${i}`, column(name, int64)] as const);
        const expected = names.map((_, i) => [`c${i}`, [i + 1]] as const);
        await reads(names, Object.fromEntries(columns), Object.fromEntries(expected));
        await reads(
          names,
          Object.fromEntries(columns.toReversed()),
          Object.fromEntries(expected.toReversed()),
        );
        await refuses(
          ["Größe (CM)", "x"],
          { height: column("Größe (cm)", int64) },
          'no column "Größe (cm)" (height). Did you mean "Größe (CM)"?',
          'Expected: id, "Größe (cm)" (height). Got: id, "Größe (CM)", x.',
          'If so, declare height: column("Größe (CM)", int64).',
        );
      });

      it("of names that differ in case alone are each their own", async () => {
        const one = { n: int64, other: column("N", int64) };
        await reads(["N", "n"], one, { n: [2], other: [1] });
        await reads(["n", "N"], one, { n: [1], other: [2] });
        await reads(
          ["a", "b"],
          { a: column("b", int64), b: column("a", int64) },
          { a: [2], b: [1] },
        );
        const three = { a: column("n", int64), b: column("N", int64), c: column("N ", int64) };
        await reads(["N ", "N", "n"], three, { a: [3], b: [2], c: [1] });
        // What another column is mapped to is no column of this name, also where only one is read.
        await refuses(["N"], one, 'has no column "n". Expected: id, n, "N" (other). Got: id, N.');
        const file = await open(["N"]);
        const from = sourceOf({ id: string, ...one });
        const error = await failureOf(() => readAll(from, file, anyInterval, { columns: ["n"] }));
        assert.equal(error.code, "SCHEMA_MISMATCH");
        assert.deepEqual(
          (await readAll(from, file, anyInterval, { columns: ["other"] })).other,
          [1],
        );
      });

      it("that are there twice are refused where they are declared", async () => {
        await refuses(["n", "n"], { n: int64 }, 'has two columns "n". Write the file with');
        await refuses(["N", "N"], { n: int64 }, 'has two columns "N".');
        await refuses(["M", "M"], { n: column("M", int64) }, 'has two columns "M".');
        await reads(["M", "M", "n"], { n: int64 }, { n: [3] });
      });

      it("that are missing are named with the mapping that may be meant", async () => {
        const meant: [name: string, declared: string, type: ColumnTypes[string], fix: string][] = [
          ["userId", "user_id", int64, 'user_id: column("userId", int64)'],
          ["User-ID", "user_id", nullable(int64), 'column("User-ID", nullable(int64))'],
          ["Größe (cm)", "groesse_cm", float64, 'groesse_cm: column("Größe (cm)", float64)'],
          ["n\u200b", "n", int64, 'n: column("n\\u200b", int64)'],
          ["éte\u0301", "ete", int64, 'ete: column("éte\\u0301", int64)'],
        ];
        for (const [name, declared, type, fix] of meant)
          await refuses(
            [name, "zzzzzzzz"],
            { [declared]: type },
            `has no column "${declared}"`,
            fix,
          );
        await refuses(
          ["zzzzzzzz"],
          { n: int64 },
          'has no column "n". Expected: id, n. Got: id, zzz',
        );
        const many = Array.from({ length: 1000 }, (_, i) => `column${i}`);
        await refuses(many, { n: int64 }, "column98 and 901 more.");
      });

      it("are named in messages as the file does, beside the declared name", async () => {
        const other = ending === ".csv" ? timestamp : string;
        const file = await open(["Größe (cm)"]);
        const from = sourceOf({ id: string, height: column("Größe (cm)", other) });
        const { message } = await failureOf(() => readAll(from, file));
        const said =
          ending === ".csv"
            ? 'row 1 (line 2): "Größe (cm)" (height) is "1", which is no timestamp.'
            : 'has another dtype in "Größe (cm)". Expected: id string, "Größe (cm)" string. Got: id String, "Größe (cm)" Int64.';
        assert.ok(message.includes(said), message);
      });
    });

  it("of every kind of parquet are decoded under another name", async () => {
    const at = parseTimestamp("2300-01-01T00:00:00.000001Z") ?? null;
    const from = sourceOf({
      id: column("ID", string),
      list: column("Liste", listFloat64),
      at: column("Zeit", timestamp),
      label: column("id", string),
    });
    const columns = [
      pl.Series("Liste", [[0.5], []], pl.List(pl.Float64)),
      toSeries("Zeit", "timestamp", [at, 0]),
      toSeries("id", "string", ["x", "y"]).cast(pl.Categorical),
      toSeries("ID", "int64", [7, 8]),
    ];
    const file = await write("kinds.parquet", pl.DataFrame(columns).writeParquet());
    const expected = { id: ["7", "8"], list: [[0.5], []], at: [at, 0], label: ["x", "y"] };
    assert.deepEqual(await readAll(from, file), { ...expected, __ordinal: [0, 1] });
    const int96 = plainParquet([
      { name: "Zeit", type: 3, values: [plainInt96(1000n, 2_440_588 + 120_530)] },
      { name: "ID", type: 6, element: new Map([[6, writeInt32(0)]]), values: [plainText("a")] },
    ]);
    const bytes = await write("int96.parquet", int96);
    const moments = sourceOf({ id: column("ID", string), at: column("Zeit", timestamp) });
    assert.deepEqual((await readAll(moments, bytes)).at, [at]);
  });

  it("that are null are named as their files do", async () => {
    const file = await write("null.csv", "ID,Größe\na,\n");
    const from = sourceOf({ id: string, height: column("Größe", int64) });
    const { message } = await failureOf(() => readAll(from, file));
    assert.ok(message.includes('row 1 (line 2): "Größe" (height) is null.'), message);
  });
});
