/** Which types of parquet columns hold values of our dtypes, and how they become those. */
import pl from "nodejs-polars";
import {
  columnNamed,
  describeType,
  dtypeOf,
  extremesOf,
  polarsType,
  sliceOf,
  toColumns,
} from "../engine/compile/frame.ts";
import type { Dtype } from "../engine/language/dtypes.ts";
import { timestampMax, timestampMin } from "../engine/operations/scalar.ts";
import { quote } from "../engine/words.ts";
import { called, type Chunk, declared, fault, type Input, unparsable } from "./chunk.ts";
import { showName } from "./columns.ts";
import { smallIntegers } from "./parquet-schema.ts";

const integers = [...smallIntegers.keys(), "Int32", "UInt32"];

/** Whether a described type holds values of ours, as it is or widened without loss. */
function isAccepted(type: string, dtype: Dtype, isKey: boolean): boolean {
  switch (dtype) {
    case "bool":
      return type === "Bool";
    case "int64":
      return type === "Int64" || integers.includes(type);
    case "float64":
      return type === "Float64" || type === "Float32";
    case "string":
      return (
        ["String", "Utf8", "Categorical"].includes(type) ||
        (isKey && [...integers, "Int64", "UInt64"].includes(type))
      );
    case "timestamp":
      return /^Datetime\(/.test(type);
    case "list_float64":
      return /^(?:List|FixedSizeList)\(Float(?:32|64)[,)]/.test(type);
  }
}

/**
 * Refuses columns whose types, by declared name, hold no values of their declared dtypes.
 *
 * @param names - of the file's columns, by declared name
 * @throws SCHEMA_MISMATCH listing what is expected and what is there
 */
export function assertTypes(
  input: Input,
  types: ReadonlyMap<string, string>,
  names: ReadonlyMap<string, string>,
): void {
  const columns = declared(input.source).map(([name, dtype]) => ({
    name,
    dtype,
    type: types.get(name) ?? "none",
    inFile: names.get(name) ?? name,
  }));
  const wrong = columns.filter(({ name, dtype, type }) => {
    const isKey = input.source.entity.keys.includes(name);
    return !isAccepted(type, dtype, isKey);
  });
  if (wrong.length === 0) return;
  const got = columns.map(({ inFile, type }) => `${showName(inFile)} ${type}`);
  const expected = columns.map(({ inFile, dtype }) => `${showName(inFile)} ${dtype}`);
  throw fault(
    "SCHEMA_MISMATCH",
    input,
    `has another dtype in ${wrong.map(({ inFile }) => quote(inFile)).join(", ")}. Expected: ${expected.join(", ")}. Got: ${got.join(", ")}`,
    { expected, got, fix: "Write the file with those dtypes, or change the source." },
  );
}

/** Whether a column can stay as it was read. */
export function isExactly(type: pl.DataType, dtype: Dtype): boolean {
  // Lists may hold null elements, and instants may have a zone.
  if (dtype === "list_float64") return false;
  if (dtype === "timestamp") return describeType(type) === "Datetime(us)";
  return dtypeOf(type) === dtype;
}

/**
 * Refuses integers that are none of the type that their column says, in fewer than 32 bits.
 *
 * @throws VALUE_UNPARSABLE
 */
export function assertWithin(
  input: Input,
  frame: pl.DataFrame,
  name: string,
  type: string,
  place: Place,
): void {
  const limits = smallIntegers.get(type);
  if (limits === undefined) return;
  const isOutside = (count: unknown) =>
    typeof count === "number" && (count < limits.min || count > limits.max);
  const { min, max } = extremesOf(frame, name);
  if (!isOutside(min) && !isOutside(max)) return;
  const counts = frame.getColumn(name).toArray() as (number | null)[];
  const row = counts.findIndex(isOutside);
  throw fault(
    "VALUE_UNPARSABLE",
    input,
    `${place(row)}: ${called(input.source, name)} is ${counts[row]}, which is no ${type}, as its column says`,
    { column: name, value: String(counts[row]) },
  );
}

/**
 * Casts an accepted column to the polars dtype of ours, without loss.
 *
 * @throws VALUE_UNPARSABLE, NULL_NOT_ALLOWED where a value has no such form
 */
export function widen(input: Input, column: pl.Series, dtype: Dtype, place: Place): pl.Series {
  if (dtype === "timestamp") return toMicroseconds(input, column, place);
  const type = column.dtype as pl.DataType;
  const cast = dtypeOf(type) === dtype ? column : column.cast(polarsType(dtype));
  if (dtype === "list_float64") assertNoNullElement(input, cast, place);
  return cast;
}

type Place = Chunk["place"];

const value = columnNamed("value");
const integer = (text: string) => pl.lit(text).cast(pl.Int64);

/** By unit: the µs of a count of it, and whether that is inexact; integer sums wrap in polars. */
const conversions = {
  ns: [value.div(integer("1000")), value.modulo(integer("1000")).neq(integer("0"))],
  ms: [
    value.mul(integer("1000")),
    value.gt(integer("9223372036854775")).or(value.lt(integer("-9223372036854775"))),
  ],
} as const;

/** Instants as µs; the zone of a column names how people see it, the instants are UTC. */
function toMicroseconds(input: Input, column: pl.Series, place: Place): pl.Series {
  const unit = /^Datetime\((\w+)/.exec(describeType(column.dtype as pl.DataType))?.[1];
  const counts = column.cast(pl.Int64);
  if (unit !== "ns" && unit !== "ms") return counts.cast(polarsType("timestamp"));
  const [us, isInexact] = conversions[unit];
  const converted = pl
    .DataFrame([counts.alias("value")])
    .select(us.cast(polarsType("timestamp")).alias("us"), isInexact.cast(pl.UInt8).alias("lossy"));
  const lossy = converted.getColumn("lossy");
  if (lossy.sum() === 0) return converted.getColumn("us").alias(column.name);
  const row = (lossy.toArray() as (number | null)[]).indexOf(1);
  const [read] = toColumns(pl.DataFrame([counts]));
  throw unparsable(
    input,
    place(row),
    column.name,
    "timestamp",
    `${read?.dtype === "int64" ? read.data[row] : ""} ${unit}, which is no whole number of µs within 64 bits`,
  );
}

/** The first and last ms of the years 1 to 9999. */
const msMin = integer(String(timestampMin / 1000n));
const msMax = integer(String(timestampMax / 1000n));
const coarse = columnNamed("ms");
/** What the ms leave of an instant, in ns: its count in ns may have wrapped, and theirs wraps alike. */
const fine = value.sub(coarse.mul(integer("1000000")));
const instants = [
  coarse
    .mul(integer("1000"))
    .add(fine.div(integer("1000")))
    .cast(polarsType("timestamp"))
    .alias("us"),
  coarse
    .lt(msMin)
    .or(coarse.gt(msMax))
    .or(fine.modulo(integer("1000")).neq(integer("0")))
    .cast(pl.UInt8)
    .alias("lossy"),
];

/**
 * Instants of INT96 as µs, out of two readings: in ms, which 64 bits hold for every day, and in ns,
 * of which they hold 1677 to 2262 and the remainder of the others.
 *
 * @throws VALUE_UNPARSABLE for one that is no whole µs, or outside the years 1 to 9999
 */
export function readInt96(input: Input, ns: pl.Series, ms: pl.Series, place: Place): pl.Series {
  const counts = pl.DataFrame([ns.cast(pl.Int64).alias("value"), ms.cast(pl.Int64).alias("ms")]);
  const read = counts.select(...instants);
  const lossy = read.getColumn("lossy");
  if (lossy.sum() === 0 || lossy.length === 0) return read.getColumn("us").alias(ns.name);
  const row = (lossy.toArray() as (number | null)[]).indexOf(1);
  const [wrapped, whole] = toColumns(sliceOf(counts, row, 1)).map((column) =>
    column.dtype === "int64" ? (column.data[0] ?? 0n) : 0n,
  );
  const rest = BigInt.asIntN(64, (wrapped ?? 0n) - (whole ?? 0n) * 1_000_000n);
  const instant = formatNanoseconds((whole ?? 0n) * 1_000_000n + rest);
  throw unparsable(input, place(row), ns.name, "timestamp", instant);
}

/** ISO 8601 with nine decimals, or the count where no calendar has the day. */
function formatNanoseconds(ns: bigint): string {
  const rest = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const date = new Date(Number((ns - rest) / 1_000_000n));
  if (Number.isNaN(date.getTime())) return `${ns} ns`;
  return date.toISOString().replace(/\.000Z$/, `.${String(rest).padStart(9, "0")}Z`);
}

const count = (condition: pl.Expr) => condition.cast(pl.Int64).sum();

/** Null elements of lists: exploded, each null and each empty list gives a null as well. */
const nullElements = count(value.explode().isNull())
  .sub(count(value.lst.lengths().fillNull(pl.lit(0)).eq(pl.lit(0))))
  .alias("nulls");

function assertNoNullElement(input: Input, lists: pl.Series, place: Place): void {
  const counted = pl.DataFrame([lists.alias("value")]).select(nullElements);
  if (counted.getColumn("nulls").sum() === 0) return;
  const [column] = toColumns(pl.DataFrame([lists]));
  if (column?.dtype !== "list_float64") return;
  const row = column.data.findIndex((list) => list.some((x: number | null) => x === null));
  if (row >= 0)
    throw fault(
      "NULL_NOT_ALLOWED",
      input,
      `${place(row)}: an element of the list ${called(input.source, lists.name)} is null`,
      { column: lists.name },
    );
}
