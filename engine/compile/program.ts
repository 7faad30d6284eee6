/**
 * Expressions as a straight list of steps, each node once: what both forms of the online compiler
 * (closures, generated code) run.
 */
import type { Dtype, Int64, Value } from "../language/dtypes.ts";
import { messageOf, OnceflowError } from "../errors.ts";
import { fingerprintOf } from "../fingerprint.ts";
import { toInt64 } from "../language/int64.ts";
import type { MapNode, Node } from "../language/node.ts";
import { toTimestamp } from "../operations/scalar.ts";
import { operationOf, type RowCode, type RowFunction } from "../operations/table.ts";
import { showValue } from "../wire.ts";

/** One step; the place of a step in the list is the place of its value. */
export type Step =
  | { readonly kind: "register"; readonly register: number }
  | { readonly kind: "constant"; readonly value: Value }
  | {
      readonly kind: "call";
      readonly call: RowFunction;
      readonly inputs: readonly number[];
      /** Whether one null input makes the result null without a call. */
      readonly propagates: boolean;
      /** The call as an expression, where there is one; see `Operation`. */
      readonly code: RowCode | undefined;
    };

export interface Program {
  readonly steps: readonly Step[];
  /** For each output, the step that has its value. */
  readonly outputs: readonly number[];
}

/**
 * Puts nodes in order of computation.
 *
 * @param registerOf - the input register of a node whose value is given; undefined where it is computed
 */
export function linearize(
  outputs: readonly Node[],
  registerOf: (node: Node) => number | undefined,
): Program {
  const steps: Step[] = [];
  const placeOf = new Map<string, number>();
  const place = (node: Node): number => {
    const key = fingerprintOf(node);
    let at = placeOf.get(key);
    if (at === undefined) {
      const step = stepOf(node, registerOf(node), place);
      at = steps.push(step) - 1;
      placeOf.set(key, at);
    }
    return at;
  };
  return { outputs: outputs.map(place), steps };
}

function stepOf(node: Node, register: number | undefined, place: (node: Node) => number): Step {
  if (register !== undefined) return { kind: "register", register };
  switch (node.kind) {
    case "literal":
      return { kind: "constant", value: node.value };
    case "operation": {
      const row = operationOf(node.operation);
      const inputs = node.inputs.map(place);
      const dtypes = node.inputs.map((input) => input.dtype);
      const { propagates } = row;
      return { kind: "call", call: row.row(dtypes), inputs, propagates, code: row.code?.(dtypes) };
    }
    case "map": {
      const inputs = node.inputs.map((input) => place(input.node));
      return { kind: "call", call: callMap(node), inputs, propagates: false, code: undefined };
    }
    case "column":
    case "aggregate":
    case "invalid":
      // The planner gives a register to each of the first two; the catalogue refuses the third.
      throw new Error(`a ${node.kind} node has no register`);
  }
}

/** The user's function over values in the order of the node's inputs, its result checked. */
export function callMap(node: MapNode): (...values: readonly Value[]) => Value {
  const names = node.inputs.map((input) => input.name);
  return (...values) => {
    const inputs = Object.fromEntries(names.map((name, i) => [name, values[i] ?? null]));
    let result: unknown;
    try {
      result = node.compute(inputs);
    } catch (error) {
      throw mapError(node, `threw: ${messageOf(error)}`, error);
    }
    if (result instanceof Promise) {
      // Nobody waits for it, and a rejection that nobody handles could end the process.
      result.catch(() => undefined);
      throw mapError(node, "returned a promise; its function must not be async.");
    }
    const value = canonical(node.dtype, result);
    if (isOf(node.dtype, value)) return value;
    throw mapError(node, `returned ${showValue(result)}, which is no ${node.dtype}.`);
  };
}

/** An integer in its one form: Math.round gives −0, and bigint arithmetic gives small bigints. */
function canonical(dtype: Dtype, value: unknown): unknown {
  if (dtype !== "int64" && dtype !== "timestamp") return value;
  if (typeof value === "bigint") return toInt64(value) ?? value;
  return Object.is(value, -0) ? 0 : value;
}

function mapError(node: MapNode, problem: string, cause?: unknown): OnceflowError {
  return new OnceflowError(
    "VALUE_INVALID",
    `map "${node.name}" version ${node.version} ${problem}`,
    { map: node.name },
    cause,
  );
}

function isInt64(value: unknown): value is Int64 {
  if (typeof value === "number") return Number.isSafeInteger(value) && !Object.is(value, -0);
  return typeof value === "bigint" && typeof toInt64(value) === "bigint";
}

/** Whether a value is null or of the dtype, in canonical form. */
export function isOf(dtype: Dtype, value: unknown): value is Value {
  if (value === null) return true;
  switch (dtype) {
    case "bool":
      return typeof value === "boolean";
    case "int64":
      return isInt64(value);
    case "timestamp":
      return isInt64(value) && toTimestamp(value) !== null;
    case "float64":
      return typeof value === "number";
    case "string":
      return typeof value === "string" && value.isWellFormed();
    case "list_float64":
      return Array.isArray(value) && value.every((item) => typeof item === "number");
  }
}
