/**
 * The dtypes of onceflow and how their values look in JavaScript.
 *
 * | dtype         | in JavaScript                                                            |
 * | ------------- | ------------------------------------------------------------------------ |
 * | bool          | boolean                                                                  |
 * | int64         | number within ±(2^53 − 1), bigint beyond; never both for one value       |
 * | float64       | number                                                                   |
 * | string        | string of well-formed UTF-16                                             |
 * | timestamp     | microseconds since 1970-01-01T00:00:00Z, as an int64                     |
 * | list_float64  | readonly number[]                                                        |
 *
 * A null of any dtype is `null`.
 */

import { isRecord } from "./record.ts";

export const dtypes = ["bool", "int64", "float64", "string", "timestamp", "list_float64"] as const;
export type Dtype = (typeof dtypes)[number];

/** An exact 64-bit integer: a number where that is exact (|x| ≤ 2^53 − 1), else a bigint. */
export type Int64 = number | bigint;

/** A value of any dtype, or null. */
export type Value = boolean | number | bigint | string | readonly number[] | null;

/** Declares the dtype of a source column; values must not be null unless `nullable` wraps it. */
export interface ColumnType<D extends Dtype = Dtype> {
  readonly dtype: D;
  readonly nullable: boolean;
  /** What its files call the column, where that is not the name that it is declared by. */
  readonly from?: string;
}

function columnType<D extends Dtype>(dtype: D): ColumnType<D> {
  return Object.freeze({ dtype, nullable: false });
}

/** True or false. */
export const bool = columnType("bool");
/** A 64-bit signed integer, exact over its whole range. */
export const int64 = columnType("int64");
/** An IEEE 754 double. */
export const float64 = columnType("float64");
/** Unicode text. */
export const string = columnType("string");
/** A UTC instant with microseconds. */
export const timestamp = columnType("timestamp");
/** A list of doubles, for embeddings; no element is null. */
export const listFloat64 = columnType("list_float64");

/** The same column type, with nulls allowed; what is no column type stays so, for the catalogue to report. */
export function nullable<D extends Dtype>(type: ColumnType<D>): ColumnType<D> {
  return isColumnType(type) ? Object.freeze({ ...type, nullable: true }) : type;
}

/**
 * The same column type, for a column that files call by a name of their own:
 * `user_id: column("userId", string)`. It is the column of exactly that name.
 */
export function column<D extends Dtype>(from: string, type: ColumnType<D>): ColumnType<D> {
  return isColumnType(type) ? Object.freeze({ ...type, from }) : type;
}

/** Whether a value declares the dtype of a column. */
export function isColumnType(value: unknown): value is ColumnType {
  return (
    isRecord(value) &&
    dtypes.includes(value["dtype"] as Dtype) &&
    typeof value["nullable"] === "boolean"
  );
}
