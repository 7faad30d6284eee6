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
  /** What is wrong, in words. */
  readonly problem: string;
  /** Of what they are said: of the feature (`reads "agee", …`), or what it uses (`a.add(b) takes …`). */
  readonly saidOf: "feature" | "used";
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
