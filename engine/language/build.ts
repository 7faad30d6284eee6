/** Builds nodes of the expression tree by the operation table, without the typed wrapper. */
import type { Dtype, Value } from "./dtypes.ts";
import { toInt64 } from "./int64.ts";
import type { InvalidNode, Node, Shape } from "./node.ts";
import {
  type LiteralInputs,
  type Operation,
  operationOf,
  type OperationName,
} from "../operations/table.ts";
import { toTimestamp } from "../operations/scalar.ts";
import { showValue } from "../wire.ts";

/** A literal node. An integer is int64 and takes a float64 neighbour's dtype by promotion. */
export function literal(value: unknown): Node & { readonly value?: Value } {
  const made = (dtype: Dtype, exact: Value) =>
    Object.freeze({ kind: "literal", dtype, shape: "scalar", value: exact } as const);
  switch (typeof value) {
    case "boolean":
      return made("bool", value);
    case "string":
      if (value.isWellFormed()) return made("string", value);
      break;
    case "number":
      // −0 and integers beyond 2^53 are doubles: as integers they would be rounded.
      return Number.isSafeInteger(value) && !Object.is(value, -0)
        ? made("int64", value)
        : made("float64", value);
    case "bigint": {
      const exact = toInt64(value);
      if (exact !== null) return made("int64", exact);
      break;
    }
    default:
      if (value instanceof Date && !Number.isNaN(value.getTime())) {
        const exact = toTimestamp(BigInt(value.getTime()) * 1000n);
        if (exact !== null) return made("timestamp", toInt64(BigInt(exact)));
        const problem = `the Date ${value.toISOString()} lies outside the years 1 to 9999.`;
        return invalidNode("timestamp", "scalar", problem, []);
      }
  }
  return invalidNode("float64", "scalar", `${showValue(value)} is no value of a dtype.`, []);
}

/** A node that the catalogue will refuse, for this reason. */
export function invalidNode(
  dtype: Dtype,
  shape: Shape,
  problem: string,
  inputs: readonly Node[],
  saidOf: InvalidNode["saidOf"] = "used",
): InvalidNode {
  return Object.freeze({ kind: "invalid", dtype, shape, problem, saidOf, inputs } as const);
}

const shapeOf = (nodes: readonly Node[]): Shape =>
  nodes.some((node) => node.shape === "column") ? "column" : "scalar";

/** Applies a row of the operation table: promotes the inputs, then asks its dtype rule. */
export function operationNode(name: OperationName, given: readonly Node[]): Node {
  const row = operationOf(name);
  const inputs = Object.freeze(promote(row.promotes, given));
  const shape = shapeOf(inputs);
  if (row.arity === "variadic" ? inputs.length < 2 : inputs.length !== row.arity)
    return invalidNode(
      "float64",
      shape,
      `${row.spelling} got ${inputs.length - 1} operands.`,
      inputs,
    );
  const dtype = row.dtype(inputs.map((input) => input.dtype));
  if (typeof dtype !== "string") {
    const got = given.map((input) => input.dtype).join(", ");
    const problem = `${row.spelling} takes ${dtype.expected}; got ${got}.`;
    return invalidNode(inputs[0]?.dtype ?? "float64", shape, problem, inputs);
  }
  const [problem, saidOf] = (row.literals && literalProblem(row, row.literals, inputs)) ?? [];
  if (problem !== undefined) return invalidNode(dtype, shape, problem, inputs, saidOf);
  return Object.freeze({ kind: "operation", operation: name, inputs, dtype, shape } as const);
}

/** Why the inputs that must be literals are none, or of no use, and of what that is said. */
function literalProblem(
  { spelling }: Operation,
  { from, problem }: LiteralInputs,
  inputs: readonly Node[],
): readonly [string, InvalidNode["saidOf"]] | undefined {
  const values: Value[] = [];
  for (const input of inputs.slice(from)) {
    // What is wrong with it is said of itself.
    if (input.kind === "invalid") return undefined;
    if (input.kind !== "literal") return [`${spelling} takes literals; got an expression.`, "used"];
    values.push(input.value);
  }
  const own = problem?.(values);
  return own === undefined ? undefined : [own, "feature"];
}

/** Casts numeric inputs to one dtype, as the rule says. */
export function promote(rule: "none" | "common" | "float64", inputs: readonly Node[]): Node[] {
  const numeric = (node: Node) => node.dtype === "int64" || node.dtype === "float64";
  const mixed = inputs.every(numeric) && inputs.some((input) => input.dtype === "float64");
  if (rule === "none" || (rule === "common" && !mixed)) return [...inputs];
  return inputs.map((input) => {
    if (input.dtype !== "int64") return input;
    if (input.kind === "literal")
      return Object.freeze({ ...input, dtype: "float64", value: Number(input.value) } as const);
    return operationNode("to_float64", [input]);
  });
}
