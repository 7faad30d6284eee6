/**
 * The expression tree: frozen plain data, discriminated by `kind`, with dtype and shape on every
 * node. `Expr` in expression.ts is the typed way to build it; compilers read nothing else.
 */
import type { AggregateName } from "../aggregates.ts";
import type { Dtype, Value } from "./dtypes.ts";
import type { OperationName } from "../operations/table.ts";

/** One value per row, or one value for all rows. */
export type Shape = "column" | "scalar";

interface Typed {
  readonly dtype: Dtype;
  readonly shape: Shape;
}

/** A raw column of a source. */
export interface ColumnNode extends Typed {
  readonly kind: "column";
  readonly source: string;
  readonly name: string;
  readonly nullable: boolean;
}

export interface LiteralNode extends Typed {
  readonly kind: "literal";
  readonly value: Value;
}

/** A row of the operation table applied to inputs; `dtype` is the target of a cast. */
export interface OperationNode extends Typed {
  readonly kind: "operation";
  readonly operation: OperationName;
  readonly inputs: readonly Node[];
}

/** Many rows to one value, over every committed interval of the source's view. */
export interface AggregateNode extends Typed {
  readonly kind: "aggregate";
  readonly aggregate: AggregateName;
  readonly input: Node;
}

/** A named input of a user function. */
export interface MapInput {
  readonly name: string;
  readonly node: Node;
}

/** Computes a value from the named inputs of one row; must be pure. */
export type MapFunction = (inputs: Readonly<Record<string, Value>>) => Value;

/** Arbitrary code per row: opaque to every compiler, identified by name and version. */
export interface MapNode extends Typed {
  readonly kind: "map";
  readonly name: string;
  readonly version: number;
  readonly inputs: readonly MapInput[];
  readonly compute: MapFunction;
}

/** A misuse, kept in the tree so that the catalogue reports every one of them at once. */
export interface InvalidNode extends Typed {
  readonly kind: "invalid";
  readonly problem: string;
  readonly inputs: readonly Node[];
}

export type Node = ColumnNode | LiteralNode | OperationNode | AggregateNode | MapNode | InvalidNode;

/** The nodes that a node reads directly. */
export function inputsOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case "column":
    case "literal":
      return [];
    case "operation":
    case "invalid":
      return node.inputs;
    case "aggregate":
      return [node.input];
    case "map":
      return node.inputs.map((input) => input.node);
  }
}

/**
 * Visits a node and all that it rests on, inputs first, each object once.
 *
 * @param stop - nodes for which it returns true are visited, their inputs are not
 */
export function visit(
  roots: Iterable<Node>,
  see: (node: Node) => void,
  stop: (node: Node) => boolean = () => false,
): void {
  const seen = new Set<Node>();
  const enter = (node: Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    if (!stop(node)) for (const input of inputsOf(node)) enter(input);
    see(node);
  };
  for (const root of roots) enter(root);
}

/** Whether a node or anything below it is an aggregate. */
export function restsOnAggregate(node: Node): boolean {
  let found = false;
  visit([node], (each) => (found ||= each.kind === "aggregate"));
  return found;
}
