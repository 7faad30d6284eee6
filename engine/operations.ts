/**
 * The table of operations: one row each, with its dtype rule, its null and NaN rule, and its two
 * translations (`row` for JavaScript, `batch` for polars); for a few `code` is `row` once more. A
 * new operation is a new row in the family it belongs to; without one of its translations it does
 * not compile.
 *
 * `docs/semantics.md` is tested against this table, and the parity suite runs every row of it in
 * both translations.
 */
import { arithmeticOperations } from "./operations/arithmetic.ts";
import { castOperations } from "./operations/cast.ts";
import { comparisonOperations } from "./operations/comparison.ts";
import { floatOperations } from "./operations/float.ts";
import { logicOperations } from "./operations/logic.ts";
import type { Operation } from "./operations/operation.ts";
import { textOperations } from "./operations/text.ts";
import { timeOperations } from "./operations/time.ts";

export type {
  BatchContext,
  DtypeRule,
  LiteralInputs,
  Operation,
  Polars,
  PolarsExpr,
  RowCode,
  RowFunction,
} from "./operations/operation.ts";

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
