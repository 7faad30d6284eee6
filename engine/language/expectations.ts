/** What must hold of a feature's values; evaluated by the same compilers as the features. */
import type { Value } from "./dtypes.ts";
import { invalidNode, literal, operationNode } from "./build.ts";
import type { Node } from "./node.ts";
import { showValue } from "../wire.ts";

/** A condition on one value. */
export interface Predicate {
  readonly text: string;
  /** The bool expression that is true where the value does not satisfy the condition. */
  readonly violated: (value: Node) => Node;
}

/** A condition, and what a materialization does where it does not hold. */
export interface Expectation {
  readonly predicate: Predicate;
  readonly onFail: "fail" | "warn";
}

/** A condition that the catalogue will refuse, for this reason. */
function refused(text: string, problem: string): Predicate {
  return Object.freeze({
    text,
    violated: (value: Node) => invalidNode("bool", "column", problem, [value]),
  });
}

/** Null satisfies every condition but `notNull`, so an unknown outcome is no violation. */
function unless(condition: Node): Node {
  return operationNode("not", [operationNode("fill_null", [condition, literal(true)])]);
}

/** Within [low, high]; NaN is not, null is let through. */
export function between(low: number, high: number): Predicate {
  const isNumber = [low, high].every((each) => ["number", "bigint"].includes(typeof each));
  if (!isNumber || !(low <= high)) {
    const got = `${showValue(low)}, ${showValue(high)}`;
    return refused(`between(${got})`, `between(low, high) takes numbers, low ≤ high; got ${got}.`);
  }
  return Object.freeze({
    text: `between(${low}, ${high})`,
    violated: (value: Node) =>
      unless(
        operationNode("and", [
          operationNode("gte", [value, literal(low)]),
          operationNode("lte", [value, literal(high)]),
        ]),
      ),
  });
}

/** Never null. */
export function notNull(): Predicate {
  return Object.freeze({
    text: "notNull()",
    violated: (value: Node) => operationNode("is_null", [value]),
  });
}

/** Equal to one of these; null is let through. */
export function oneOf(...values: readonly Exclude<Value, null>[]): Predicate {
  if (values.some((value) => literal(value).kind === "invalid")) {
    const got = values.map(showValue).join(", ");
    return refused(`oneOf(${got})`, `oneOf(…) takes literals; got ${got}.`);
  }
  return Object.freeze({
    text: `oneOf(${values.map(String).join(", ")})`,
    violated: (value: Node) => unless(operationNode("is_in", [value, ...values.map(literal)])),
  });
}
