/** Columns as writers hold them: typed arrays from a frame, or values one by one. */
import type { Dtype, Int64, Value } from "../../engine/language/dtypes.ts";
import { dtypes } from "../../engine/language/dtypes.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { createByteWriter, reserve } from "./bytes.ts";

/** A stored column: its name and dtype. */
export interface Column {
  readonly name: string;
  readonly dtype: Dtype;
}

/** Row i is null where `nulls[i]` is not 0; without a mask no row is. */
interface Masked {
  readonly nulls?: Uint8Array | undefined;
}

/** Texts as bytes: that of row i is bytes [offsets[i], offsets[i + 1]), in UTF-8. */
export interface Utf8 {
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;
}

/**
 * One column of a batch.
 *
 * | kind   | dtypes           | row i                                                           |
 * | ------ | ---------------- | --------------------------------------------------------------- |
 * | bools  | bool             | values[i] is not 0                                              |
 * | floats | float64          | values[i]                                                       |
 * | words  | int64, timestamp | low word words[2i], high word words[2i + 1]; timestamps in µs   |
 * | utf8   | string           | bytes offsets[i] to offsets[i + 1]                              |
 * | values | any              | get(i), of the dtype's JavaScript form                          |
 */
export type ColumnData =
  | (Masked & { readonly kind: "bools"; readonly values: Uint8Array })
  | (Masked & { readonly kind: "floats"; readonly values: Float64Array })
  | (Masked & { readonly kind: "words"; readonly words: Int32Array })
  | (Masked & Utf8 & { readonly kind: "utf8" })
  | { readonly kind: "values"; readonly get: (row: number) => Value };

/** The columns of rows that are given as arrays of values in storage order. */
export function columnsOfRows(
  columns: readonly Column[],
  rows: readonly (readonly Value[])[],
): ColumnData[] {
  return columns.map((_, i) => ({ kind: "values", get: (row) => rows[row]?.[i] ?? null }));
}

/** Sees a BigInt64Array as the 32-bit words of a `words` column, without copying. */
export function wordsOfBigInt64(values: BigInt64Array): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.length * 2);
}

/**
 * Texts as UTF-8.
 *
 * @throws VALUE_INVALID where one is ill-formed UTF-16, for which UTF-8 has no bytes
 */
export function utf8OfTexts(texts: readonly string[], what: string): Utf8 {
  const bytes = createByteWriter(texts.length * 16);
  const offsets = new Uint32Array(texts.length + 1);
  texts.forEach((text, i) => {
    // Node writes U+FFFD for a lone surrogate, so two texts could become one.
    if (!text.isWellFormed())
      throw new OnceflowError(
        "VALUE_INVALID",
        `${what} is ill-formed UTF-16 (a lone surrogate): send valid text.`,
      );
    // No UTF-16 unit takes more than three bytes.
    reserve(bytes, text.length * 3);
    bytes.length += bytes.bytes.write(text, bytes.length);
    offsets[i + 1] = bytes.length;
  });
  return { bytes: bytes.bytes, offsets };
}

const dtypesOfKind: Readonly<Record<ColumnData["kind"], readonly Dtype[]>> = {
  bools: ["bool"],
  floats: ["float64"],
  words: ["int64", "timestamp"],
  utf8: ["string"],
  values: dtypes,
};

/** @throws INTERNAL where the data's kind cannot hold the column's dtype */
export function requireKind(column: Column, data: ColumnData): void {
  if (!dtypesOfKind[data.kind].includes(column.dtype))
    throw new OnceflowError(
      "INTERNAL",
      `column "${column.name}" is ${column.dtype} and cannot be written from ${data.kind}.`,
    );
}

/** @throws VALUE_INVALID naming the column */
export function refuseValue({ name, dtype }: Column, value: unknown): never {
  const shown = typeof value === "string" ? "a text" : String(value);
  throw new OnceflowError(
    "VALUE_INVALID",
    `column "${name}" is ${dtype} and cannot hold ${shown} (${typeof value}).`,
    { column: name, dtype },
  );
}

/** Whether a value is an int64 in its JavaScript form. */
export function isInt64(value: unknown): value is Int64 {
  return typeof value === "bigint" || Number.isSafeInteger(value);
}
