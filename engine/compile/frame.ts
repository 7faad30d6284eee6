/**
 * The seam between polars frames and JavaScript values: exact in both directions.
 *
 * polars' own ways out (records, rows, arrays) round int64 beyond 2^53 and cut microseconds to
 * milliseconds; typed arrays do neither, but hold no null. A column leaves as a typed array whose
 * nulls are filled, beside a mask.
 */
import pl from "nodejs-polars";
import type { Dtype, Int64, Value } from "../language/dtypes.ts";
import { OnceflowError } from "../errors.ts";
import { INT64_MAX, INT64_MIN, int64FromWords } from "../language/int64.ts";

/** The dtype that polars stores each of our dtypes as. */
const polarsTypes = {
  bool: pl.Bool,
  int64: pl.Int64,
  float64: pl.Float64,
  string: pl.Utf8,
  timestamp: pl.Datetime("us"),
  list_float64: pl.List(pl.Float64),
} as const satisfies Record<Dtype, pl.DataType>;

/** The dtype that polars stores a dtype as: Bool, Int64, Float64, Utf8, Datetime(µs), List(Float64). */
export function polarsType(dtype: Dtype): pl.DataType {
  return polarsTypes[dtype];
}

/** Our dtype of a polars column, or undefined where it is none of ours. */
export function dtypeOf(type: pl.DataType): Dtype | undefined {
  const variant = type.variant as string;
  switch (variant) {
    case "Bool":
      return "bool";
    case "Int64":
      return "int64";
    case "Float64":
      return "float64";
    case "Utf8":
    case "String":
      return "string";
    case "Datetime":
      return /^Datetime\(us\b/.test(describeType(type)) ? "timestamp" : undefined;
    case "List":
      return describeType(type) === "List(Float64)" ? "list_float64" : undefined;
    default:
      return undefined;
  }
}

/** How people read a polars dtype, for example `List(Float64)` or `Datetime(us, UTC)`. */
export function describeType(type: pl.DataType): string {
  // `inner` is declared protected: the dtype of a list, the unit and zone of a datetime.
  const { variant, inner } = type as unknown as { variant: string; inner: unknown[] | null };
  const parts = (inner ?? []).flatMap((part) => {
    if (typeof part === "object" && part !== null && "variant" in part)
      return [describeType(part as pl.DataType)];
    return (typeof part === "string" && part !== "") || typeof part === "number" ? [part] : [];
  });
  return parts.length === 0 ? variant : `${variant}(${parts.join(", ")})`;
}

/**
 * The number of rows of a frame.
 *
 * A column hides the property of a frame that has its name: with a column "height",
 * `frame.height` is that column. Names of columns are snake_case, so `getColumn` and the like are
 * safe, and `height`, `columns`, `select` or `filter` are not.
 */
export function heightOf(frame: pl.DataFrame): number {
  return nativeOf(frame).height;
}

/** Whether all columns have as many rows: out of a damaged file polars makes frames that have not. */
export function isRectangular(frame: pl.DataFrame): boolean {
  const { height } = nativeOf(frame);
  return nativeOf(frame)
    .getColumns()
    .every((column) => column.len() === height);
}

/** The bytes that a frame's values take, about. */
export function sizeOf(frame: pl.DataFrame): number {
  return nativeOf(frame).estimatedSize();
}

/** The names of a frame's columns, in order. */
export function columnNamesOf(frame: pl.DataFrame): string[] {
  return nativeOf(frame).columns;
}

/** The dtypes of a frame's columns, in order: a series for each would cost 0.3 ms. */
export function dtypesOf(frame: pl.DataFrame): pl.DataType[] {
  return nativeOf(frame)
    .dtypes()
    .map((dtype) => pl.DataType.deserialize(dtype));
}

/**
 * The least and greatest value of a column of numbers, NaN left out; without a series around it, which
 * costs 0.3 ms.
 */
export function extremesOf(
  frame: pl.DataFrame,
  name: string,
): { readonly min: unknown; readonly max: unknown } {
  const column = nativeOf(frame).column(name);
  return { min: column.min(), max: column.max() };
}

/** A frame as a lazy one, whose properties no column hides. */
export function lazyOf(frame: pl.DataFrame): pl.LazyDataFrame {
  const names = columnNamesOf(frame);
  if (!names.includes("lazy")) return frame.lazy();
  return pl
    .DataFrame(frame.getColumns().map((column, i) => column.alias(`column_${i}`)))
    .lazy()
    .select(...names.map((name, i) => pl.col(`column_${i}`).alias(name)));
}

/** Some rows of a frame, without copying them. */
export function sliceOf(frame: pl.DataFrame, from: number, count: number): pl.DataFrame {
  const isHidden = columnNamesOf(frame).includes("slice");
  return isHidden ? lazyOf(frame).slice(from, count).collectSync() : frame.slice(from, count);
}

/** The columns of frames of as many rows, in one frame; no two have a name in common. */
export function sideBySide(frames: readonly pl.DataFrame[]): pl.DataFrame {
  const [first] = frames;
  if (first !== undefined && frames.length === 1) return first;
  // A column "inner" hides what `concat` asks each frame for.
  if (frames.some((frame) => columnNamesOf(frame).includes("inner")))
    return pl.DataFrame(frames.flatMap((frame) => frame.getColumns()));
  return pl.concat([...frames], { how: "horizontal" });
}

const namedColumns = new Map<string, pl.Expr>();

/** The expression of a column: one costs more to build than to run, so each is built once. */
export function columnNamed(name: string): pl.Expr {
  let column = namedColumns.get(name);
  if (column === undefined) namedColumns.set(name, (column = pl.col(name)));
  return column;
}

/** What lies below the proxy of a frame; no column's name begins with one underscore. */
function nativeOf(frame: pl.DataFrame): NativeFrame {
  return (frame as unknown as { _df: NativeFrame })._df;
}

interface NativeFrame {
  readonly estimatedSize: () => number;
  readonly height: number;
  readonly columns: string[];
  dtypes(): unknown[];
  column(name: string): NativeSeries;
  getColumns(): NativeSeries[];
}

interface NativeSeries {
  len(): number;
  min(): unknown;
  max(): unknown;
  nullCount(): number;
  toTypedArray(): unknown;
}

/** One row's place in a mask: 1 where the value is null; null where no value of the column is. */
type Nulls = Uint8Array | null;

/** A column out of polars: `data` holds a filler where `nulls` has a 1. */
export type ColumnData =
  | { readonly dtype: "bool"; readonly nulls: Nulls; readonly data: Uint8Array }
  | {
      /** A timestamp is in microseconds since the epoch. */
      readonly dtype: "int64" | "timestamp";
      readonly nulls: Nulls;
      readonly data: BigInt64Array;
      /** The same memory as pairs of 32-bit words, low first, to read without a bigint. */
      readonly words: Int32Array;
    }
  | { readonly dtype: "float64"; readonly nulls: Nulls; readonly data: Float64Array }
  | { readonly dtype: "string"; readonly nulls: Nulls; readonly data: readonly string[] }
  | {
      readonly dtype: "list_float64";
      readonly nulls: Nulls;
      readonly data: readonly (readonly number[])[];
    };

/**
 * Takes columns out of a frame, exactly.
 *
 * Cost: a copy of the memory for numbers, about 0.4 µs a row and column for strings, 0.3 µs an
 * element for lists.
 *
 * @throws INTERNAL where a column has a dtype that is none of ours
 */
export function toColumns(frame: pl.DataFrame, names?: readonly string[]): ColumnData[] {
  const series = names?.map((name) => frame.getColumn(name)) ?? frame.getColumns();
  return series.map(toColumn);
}

function toColumn(series: pl.Series): ColumnData {
  const type = series.dtype as pl.DataType;
  const dtype = dtypeOf(type);
  if (dtype === undefined)
    throw new OnceflowError(
      "INTERNAL",
      `column "${series.name}" has the polars dtype ${describeType(type)}; cast it to one of ours in polars first.`,
    );
  const hasNulls = series.nullCount() > 0;
  const nulls = hasNulls ? toTypedArray<Uint8Array>(evaluate(series, isNull)) : null;
  switch (dtype) {
    case "bool": {
      const bytes = hasNulls ? evaluate(series, asBytes) : series.cast(pl.UInt8);
      return { dtype, nulls, data: toTypedArray<Uint8Array>(bytes) };
    }
    case "int64":
    case "timestamp": {
      const integers = dtype === "int64" ? series : series.cast(pl.Int64);
      const data = toTypedArray<BigInt64Array>(hasNulls ? evaluate(series, asIntegers) : integers);
      const words = new Int32Array(data.buffer, data.byteOffset, data.length * 2);
      return { dtype, nulls, data, words };
    }
    case "float64": {
      const floats = hasNulls ? evaluate(series, asFloats) : series;
      return { dtype, nulls, data: toTypedArray<Float64Array>(floats) };
    }
    case "string": {
      const texts = hasNulls ? evaluate(series, asText) : series;
      return { dtype, nulls, data: texts.toArray() as string[] };
    }
    case "list_float64": {
      const lists = series.toArray() as unknown as (number[] | null)[];
      return { dtype, nulls, data: lists.map((list) => list ?? []) };
    }
  }
}

/** Characters of a column that become one JavaScript string at a time. */
const charactersAtOnce = 2 ** 26;

/**
 * Takes a string column out of a frame as UTF-8, exactly: that of row i is bytes
 * [offsets[i], offsets[i + 1]), none where it is null.
 *
 * Cost: about 0.1 µs a row, since no row becomes a JavaScript string of its own.
 */
export function toUtf8(
  frame: pl.DataFrame,
  name: string,
): { readonly bytes: Uint8Array; readonly offsets: Uint32Array; readonly nulls: Nulls } {
  const series = frame.getColumn(name);
  const hasNulls = series.nullCount() > 0;
  const texts = hasNulls ? evaluate(series, asText) : series;
  const lengths = toTypedArray<Uint32Array>(evaluate(texts, lengthInCharacters));
  const parts: Buffer[] = [];
  for (let from = 0; from < lengths.length;) {
    let to = from;
    for (let sum = 0; to < lengths.length && sum < charactersAtOnce;) sum += lengths[to++] ?? 0;
    const whole = from === 0 && to === lengths.length;
    const joined = evaluate(whole ? texts : texts.slice(from, to - from), allInOne).get(
      0,
    ) as string;
    parts.push(Buffer.from(joined, "utf8"));
    from = to;
  }
  const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  return {
    bytes,
    offsets: offsetsOf(bytes, lengths),
    nulls: hasNulls ? toTypedArray<Uint8Array>(evaluate(series, isNull)) : null,
  };
}

/** Where the texts of these lengths in characters begin and end. */
function offsetsOf(bytes: Uint8Array, lengths: Uint32Array): Uint32Array {
  const offsets = new Uint32Array(lengths.length + 1);
  let at = 0;
  for (let row = 0; row < lengths.length; row++) offsets[row + 1] = at += lengths[row] as number;
  if (at === bytes.length) return offsets;
  at = 0;
  for (let row = 0; row < lengths.length; row++) {
    for (let character = lengths[row] as number; character > 0; character--) {
      const lead = bytes[at] as number;
      at += lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    }
    offsets[row + 1] = at;
  }
  return offsets;
}

function toTypedArray<T extends ArrayBufferView>(series: pl.Series): T {
  const array: unknown = series.toTypedArray();
  return array as T;
}

const value = columnNamed("value");
const isNull = value.isNull().cast(pl.UInt8);
const asBytes = value.cast(pl.UInt8).fillNull(pl.lit(0).cast(pl.UInt8));
const asIntegers = value.cast(pl.Int64).fillNull(pl.lit(0).cast(pl.Int64));
const asFloats = value.fillNull(pl.lit(0).cast(pl.Float64));
const asText = value.fillNull(pl.lit(""));
const lengthInCharacters = value.str.lengths().cast(pl.UInt32);
const allInOne = value.str.concat("");
const whereKept = pl.when(pl.col("kept").eq(1)).then(value).otherwise(pl.lit(null)).alias("value");

function evaluate(series: pl.Series, expression: pl.Expr): pl.Series {
  return pl
    .DataFrame([series.alias("value")])
    .select(expression)
    .getColumn("value");
}

/** One value of a column, in the canonical form of dtypes.ts. */
export function valueAt(column: ColumnData, row: number): Value {
  if (column.nulls !== null && column.nulls[row] === 1) return null;
  switch (column.dtype) {
    case "bool":
      return column.data[row] === 1;
    case "int64":
    case "timestamp":
      return int64FromWords(column.words[2 * row] ?? 0, column.words[2 * row + 1] ?? 0);
    case "float64":
    case "string":
    case "list_float64":
      return column.data[row] ?? null;
  }
}

/**
 * Builds a polars column from canonical values, exactly.
 *
 * @throws VALUE_INVALID where a value is not of the dtype: an int64 out of range or with a
 *   fraction, a string of ill-formed UTF-16 (polars would replace it in silence)
 */
export function toSeries(name: string, dtype: Dtype, values: readonly Value[]): pl.Series {
  const read = <T extends Value>(row: number, accepts: (value: Value) => value is T): T | null => {
    const value = values[row];
    if (value === null) return null;
    if (value !== undefined && accepts(value)) return value;
    throw new OnceflowError(
      "VALUE_INVALID",
      `row ${row} of column "${name}" holds ${describeValue(value)}, which is no ${dtype}.`,
      { column: name, row, dtype },
    );
  };
  switch (dtype) {
    case "int64":
    case "timestamp": {
      const data = new BigInt64Array(values.length);
      const series = masked(name, data, (row) => {
        const value = read(row, isInt64);
        if (value !== null) data[row] = BigInt(value);
        return value !== null;
      });
      return dtype === "int64" ? series : series.cast(polarsTypes.timestamp);
    }
    case "float64": {
      const data = new Float64Array(values.length);
      return masked(name, data, (row) => {
        const value = read(row, isNumber);
        if (value !== null) data[row] = value;
        return value !== null;
      });
    }
    case "bool":
      return pl.Series(
        name,
        values.map((_, row) => read(row, isBoolean)),
        pl.Bool,
      );
    case "string":
      return pl.Series(
        name,
        values.map((_, row) => read(row, isText)),
        pl.Utf8,
      );
    case "list_float64": {
      const lists: unknown[] = [[], ...values.map((_, row) => read(row, isNumbers))];
      // Without one list among its values the constructor fails, so the first row is a dummy.
      return pl.Series(name, lists, polarsType(dtype)).slice(1, values.length);
    }
  }
}

/** A series of numbers; `fill` writes each row and says whether it holds a value. */
function masked(
  name: string,
  data: BigInt64Array | Float64Array,
  fill: (row: number) => boolean,
): pl.Series {
  const kept = new Uint8Array(data.length);
  let nullCount = 0;
  for (let row = 0; row < data.length; row++) {
    if (fill(row)) kept[row] = 1;
    else nullCount++;
  }
  const series = pl.Series(data);
  if (nullCount === 0) return series.alias(name);
  const frame = pl.DataFrame([series.alias("value"), pl.Series("kept", kept)]);
  return frame.select(whereKept).getColumn("value").alias(name);
}

/**
 * Puts the values of a float64 column through JavaScript: gives, of a frame that has it, one of the
 * column `output`, null where the input is. A series costs more than ten thousand values, so there is
 * no more than one.
 */
export function compileOverwrite(
  input: string,
  output: string,
  overwrite: (values: Float64Array) => void,
): (frame: pl.DataFrame) => pl.DataFrame {
  const x = columnNamed(input);
  const filled = x.fillNull(pl.lit(0).cast(pl.Float64)).alias(output);
  const none = pl.lit(null);
  const masked = pl.when(x.isNull()).then(none).otherwise(columnNamed(output)).alias(output);
  return (frame) => {
    const own = nativeOf(frame).column(input);
    const hasNulls = own.nullCount() > 0;
    const source = hasNulls ? nativeOf(frame.select(filled)).column(output) : own;
    const values = source.toTypedArray() as Float64Array;
    overwrite(values);
    const made = pl.DataFrame([pl.Series(output, values)]);
    return hasNulls ? sideBySide([frame, made]).select(masked) : made;
  };
}

function isInt64(value: Value): value is Int64 {
  if (typeof value === "number") return Number.isSafeInteger(value);
  return typeof value === "bigint" && value >= INT64_MIN && value <= INT64_MAX;
}

function isNumber(value: Value): value is number {
  return typeof value === "number";
}

function isBoolean(value: Value): value is boolean {
  return typeof value === "boolean";
}

function isText(value: Value): value is string {
  return typeof value === "string" && value.isWellFormed();
}

function isNumbers(value: Value): value is readonly number[] {
  return Array.isArray(value) && value.every((element) => typeof element === "number");
}

function describeValue(value: Value | undefined): string {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
