/**
 * The table of operations: one row each, with its dtype rule, its null and NaN rule, and its two
 * translations (`row` for JavaScript, `batch` for polars); for a few `code` is `row` once more. A
 * new operation is a new row in the family it belongs to; without one of its translations it does
 * not compile.
 *
 * `docs/semantics.md` is tested against this table, and the parity suite runs every row of it in
 * both translations.
 */
import { arithmeticOperations } from "./arithmetic.ts";
import { castOperations } from "./cast.ts";
import { comparisonOperations } from "./comparison.ts";
import { floatOperations } from "./float.ts";
import { logicOperations } from "./logic.ts";
import type { Operation } from "./operation.ts";
import { textOperations } from "./text.ts";
import { timeOperations } from "./time.ts";

export type {
  BatchContext,
  DtypeRule,
  InJavaScript,
  LiteralInputs,
  Operation,
  Polars,
  PolarsExpr,
  RowCode,
  RowFunction,
} from "./operation.ts";

export const operations = {
  ...arithmeticOperations,
  ...floatOperations,
  ...comparisonOperations,
  ...logicOperations,
  ...textOperations,
  ...timeOperations,
  ...castOperations,
} as const satisfies Record<string, Operation>;

export type OperationName = keyof typeof operations;

/** The row of the table, seen through its interface. */
export function operationOf(name: OperationName): Operation {
  return operations[name];
}
