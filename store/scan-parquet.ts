/** Reads parquet: the schema is compared first, then the declared columns are decoded. */
import pl from "nodejs-polars";
import { describeType, dtypeOf, polarsType, toColumns, toSeries } from "../engine/compile/frame.ts";
import type { Dtype } from "../engine/dtypes.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { toInt64 } from "../engine/int64.ts";
import {
  assertColumns,
  type Chunk,
  cut,
  declared,
  fault,
  type Input,
  nullsOf,
  openFile,
  project,
  unparsable,
  unreadable,
} from "./source-chunk.ts";

/** What Node reads into one buffer. */
const parquetBytes = 2 ** 31 - 1;

/** The declared columns of a parquet file, as one chunk. */
export async function* readParquet(input: Input): AsyncGenerator<Chunk> {
  if (input.file.sizeBytes > parquetBytes)
    throw fault("SOURCE_CORRUPT", input, "is larger than 2 GiB; write it as several files");
  const handle = await openFile(input);
  const bytes = await handle
    .readFile()
    .catch((cause: unknown) => {
      throw unreadable(input, cause);
    })
    .finally(() => handle.close());
  const place = (row: number) => `row ${row + 1}`;
  const columns = declared(input.source).map(([name]) => name);
  const types = decode(input, () => {
    const head = pl.readParquet(bytes, { numRows: 0 });
    return new Map(head.getColumns().map(({ name, dtype }) => [name, dtype as pl.DataType]));
  });
  assertTypes(input, types);
  const frame = decode(input, () => project(pl.readParquet(bytes, { columns }), input.source));
  for (const [index, [name, dtype]] of declared(input.source).entries()) {
    const type = types.get(name);
    if (type !== undefined && isExactly(type, dtype)) continue;
    frame.replaceAtIdx(
      index,
      decode(input, () => widen(input, frame.getColumn(name), dtype)),
    );
  }
  const times = new Map(
    declared(input.source).flatMap(([name, dtype]) => {
      const [column] = dtype === "timestamp" ? toColumns(frame, [name]) : [];
      return column?.dtype === "timestamp" ? [[name, column.data] as const] : [];
    }),
  );
  yield { frame: () => frame, nulls: nullsOf(frame), times, firstRow: 0, place };
}

/** Runs polars over a file's bytes: what it throws, panics included, means that they are damaged. */
function decode<T>(input: Input, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof OnceflowError) throw cause;
    throw fault(
      "SOURCE_CORRUPT",
      input,
      `is no whole parquet file: ${cut(messageOf(cause), 200)}`,
      { fix: "Write it again, under another name, and rename it into place." },
      cause,
    );
  }
}

const smallIntegers = ["Int8", "Int16", "Int32", "UInt8", "UInt16", "UInt32"];

/** Whether a parquet dtype holds values of ours, as it is or widened without loss. */
function isAccepted(type: pl.DataType, dtype: Dtype, isKey: boolean): boolean {
  if (dtypeOf(type) === dtype) return true;
  const variant = type.variant as string;
  const name = describeType(type);
  switch (dtype) {
    case "bool":
      return false;
    case "int64":
      return smallIntegers.includes(variant);
    case "float64":
      return variant === "Float32";
    case "string":
      return (
        variant === "Categorical" ||
        (isKey && [...smallIntegers, "Int64", "UInt64"].includes(variant))
      );
    case "timestamp":
      return variant === "Datetime";
    case "list_float64":
      return /^(?:List|FixedSizeList)\(Float(?:32|64)[,)]/.test(name);
  }
}

function assertTypes(input: Input, types: ReadonlyMap<string, pl.DataType>) {
  assertColumns(input, [...types.keys()]);
  const wrong = declared(input.source).filter(([name, dtype]) => {
    const type = types.get(name);
    const isKey = input.source.entity.keys.includes(name);
    return type === undefined || !isAccepted(type, dtype, isKey);
  });
  if (wrong.length === 0) return;
  const got = declared(input.source).map(([name]) => {
    const type = types.get(name);
    return `${name} ${type === undefined ? "none" : describeType(type)}`;
  });
  const expected = declared(input.source).map(([name, dtype]) => `${name} ${dtype}`);
  throw fault(
    "SCHEMA_MISMATCH",
    input,
    `has another dtype in ${wrong.map(([name]) => `"${name}"`).join(", ")}. Expected: ${expected.join(", ")}. Got: ${got.join(", ")}`,
    { expected, got, fix: "Write the file with those dtypes, or change the source." },
  );
}

/** Whether a column can stay as it was read. */
function isExactly(type: pl.DataType, dtype: Dtype): boolean {
  // Lists may hold null elements, and instants may have a zone.
  if (dtype === "list_float64") return false;
  if (dtype === "timestamp") return describeType(type) === "Datetime(us)";
  return dtypeOf(type) === dtype;
}

/** Casts an accepted column to the polars dtype of ours, without loss. */
function widen(input: Input, column: pl.Series, dtype: Dtype): pl.Series {
  if (dtype === "timestamp") return toMicroseconds(input, column);
  const type = column.dtype as pl.DataType;
  const cast = dtypeOf(type) === dtype ? column : column.cast(polarsType(dtype));
  if (dtype === "list_float64") assertNoNullElement(input, cast);
  return cast;
}

/** Instants as µs; the zone of a column names how people see it, the instants are UTC. */
function toMicroseconds(input: Input, column: pl.Series): pl.Series {
  const unit = /^Datetime\((\w+)/.exec(describeType(column.dtype as pl.DataType))?.[1];
  const time = column.cast(pl.Int64);
  if (unit === "us") return time.cast(polarsType("timestamp"));
  const [counts] = toColumns(pl.DataFrame([time]));
  if (counts?.dtype !== "int64") return time;
  const us = BigInt64Array.from(counts.data, (count) =>
    unit === "ms" ? BigInt.asIntN(64, count * 1000n) : count / 1000n,
  );
  const lossy = counts.data.findIndex((count, row) =>
    unit === "ms" ? us[row] !== count * 1000n : count % 1000n !== 0n,
  );
  if (lossy >= 0)
    throw unparsable(
      input,
      `row ${lossy + 1}`,
      column.name,
      "timestamp",
      `${counts.data[lossy]} ${unit}, which is no whole number of µs within 64 bits`,
    );
  const values = Array.from(us, (count, row) =>
    counts.nulls?.[row] === 1 ? null : toInt64(count),
  );
  return toSeries(column.name, "timestamp", values);
}

function assertNoNullElement(input: Input, lists: pl.Series): void {
  const [column] = toColumns(pl.DataFrame([lists]));
  if (column?.dtype !== "list_float64") return;
  const row = column.data.findIndex((list) => list.some((x: number | null) => x === null));
  if (row >= 0)
    throw fault(
      "NULL_NOT_ALLOWED",
      input,
      `row ${row + 1}: an element of the list "${lists.name}" is null`,
      { column: lists.name },
    );
}
