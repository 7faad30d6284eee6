/**
 * Reads many damaged copies of a parquet file, and prints how often each outcome came.
 *
 * A program of its own: a panic in polars writes to stderr, and an abort would end the test run.
 */
import pl from "nodejs-polars";
import { seeded } from "../../../dev/seeded.ts";
import { toColumns, toSeries } from "../../../engine/compile/frame.ts";
import { entity, source } from "../../../engine/language/definitions.ts";
import {
  bool,
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
} from "../../../engine/language/dtypes.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import { readChunks } from "../../../sources/scan.ts";
import { anyInterval, temporaryFolder } from "./source-files.ts";

const rows = Array.from({ length: 200 }, (_, row) => row);
const whole = pl
  .DataFrame([
    toSeries(
      "id",
      "string",
      rows.map((row) => `k${row % 40}`),
    ),
    toSeries("n", "int64", rows),
    toSeries(
      "x",
      "float64",
      rows.map((row) => row / 3),
    ),
    toSeries(
      "flag",
      "bool",
      rows.map((row) => (row % 3 === 0 ? null : true)),
    ),
    toSeries(
      "at",
      "timestamp",
      rows.map((row) => row * 1e9),
    ),
    toSeries(
      "list",
      "list_float64",
      rows.map((row) => [row, NaN]),
    ),
  ])
  .writeParquet({ compression: "zstd" });
const people = source("people", {
  files: "x.parquet",
  entity: entity("person", { key: "id" }),
  columns: {
    id: string,
    n: int64,
    x: float64,
    flag: nullable(bool),
    at: timestamp,
    list: listFloat64,
  },
});

/** The same damage in every run. */
const draw = seeded(5);
const random = (below: number) => Math.floor(draw() * below);

const { write, remove } = temporaryFolder();
const outcomes: Record<string, number> = {};
try {
  for (let i = 0; i < Number(process.argv[2]); i++) {
    const bytes = Buffer.from(whole);
    for (let flips = 1 + random(3); flips > 0; flips--) {
      // The footer, where damage does most, is at the end.
      const at = random(2) === 0 ? random(bytes.length) : bytes.length - 1 - random(1500);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    }
    const outcome = await read(bytes);
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
} finally {
  remove();
}
console.log(JSON.stringify(outcomes));

async function read(bytes: Buffer): Promise<string> {
  const file = await write("x.parquet", bytes);
  try {
    for await (const frame of readChunks(people, file, anyInterval)) toColumns(frame);
    return "read";
  } catch (error) {
    return error instanceof OnceflowError ? error.code : `uncoded: ${String(error)}`;
  }
}
