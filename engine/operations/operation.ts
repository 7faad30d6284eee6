/** What a row of the operation table is. */
import type * as polars from "nodejs-polars";
import type { Dtype, Value } from "../language/dtypes.ts";

export type Polars = typeof polars.default;
export type PolarsExpr = polars.Expr;

/** What `batch` gets besides its inputs. */
export interface BatchContext {
  readonly pl: Polars;
  /** Dtypes of the inputs. */
  readonly dtypes: readonly Dtype[];
  /** The values of those inputs that are literals, for the few that polars wants as such. */
  readonly values: readonly (Value | undefined)[];
  /** A typed literal: a JS number alone would become Float64, a bigint UInt64. */
  readonly literal: (dtype: Dtype, value: Value) => PolarsExpr;
}

/** A function of JavaScript values; a row with `propagates` is never called with null. */
export type RowFunction = (...values: never[]) => Value;

/**
 * A JavaScript expression over the texts of inputs, which are names or literals. It stands alone
 * after `=`, or as the last branch of `… ? null : …`.
 */
export type RowCode = (...inputs: readonly string[]) => string;

/** A dtype, or in words what the operation would have taken. */
export type DtypeRule = (inputs: readonly Dtype[]) => Dtype | { readonly expected: string };

/** Inputs that must be literals. */
export interface LiteralInputs {
  /** The place of the first; all after it are literals too. */
  readonly from: number;
  /** What is wrong with their values, in words that are said of the feature; undefined for nothing. */
  readonly problem?: (values: readonly Value[]) => string | undefined;
}

export interface Operation {
  /** How a user writes it. */
  readonly spelling: string;
  readonly summary: string;
  readonly arity: number | "variadic";
  /** Casts the inputs before the dtype rule: to one common dtype, or all to float64. */
  readonly promotes: "none" | "common" | "float64";
  readonly dtype: DtypeRule;
  /** For what polars takes as plain values: which inputs must be literals, and of which values. */
  readonly literals?: LiteralInputs;
  /** Whether one null input makes the result null without a call. */
  readonly propagates: boolean;
  /** The null rule, for people; where `propagates`, what else gives null. */
  readonly nulls: string;
  /** The NaN and special value rule, for people. */
  readonly nan: string;
  /** Raised where it gives other values than before, even by a bit; part of fingerprints. */
  readonly version?: number;
  readonly row: (dtypes: readonly Dtype[]) => RowFunction;
  /**
   * The same as an expression, where one says it in a few operators and gives null for null inputs
   * alone: for generated code, in which it costs no call. It gets inputs that are not null.
   */
  readonly code?: (dtypes: readonly Dtype[]) => RowCode | undefined;
  /** The same over columns, bit for bit. */
  readonly batch: InPolars | InJavaScript;
}

export type InPolars = (context: BatchContext, ...inputs: PolarsExpr[]) => PolarsExpr;

/**
 * A function of one double from the mathematical library, of which polars has another, with other last
 * bits. The loop is each operation's own: only a call whose target never changes is fast.
 */
export interface InJavaScript {
  readonly overwrite: (values: Float64Array) => void;
}

/** Every input is of one dtype, and so is the result. */
export function rule(want: Dtype, result: Dtype): DtypeRule {
  return (inputs) => (inputs.every((dtype) => dtype === want) ? result : { expected: want });
}

/** All inputs are of the same dtype, which is the result's. */
export const sameRule: DtypeRule = (inputs) =>
  inputs.every((dtype) => dtype === inputs[0])
    ? (inputs[0] ?? "float64")
    : { expected: "values of one dtype" };

/** Whether the first input is float64. */
export function isFloat(dtypes: readonly Dtype[]): boolean {
  return dtypes[0] === "float64";
}
