/** Random expression trees over every row of the operation table. */
import fc from "fast-check";
import { operationNode } from "../../../engine/language/build.ts";
import { type Dtype, dtypes, type Value } from "../../../engine/language/dtypes.ts";
import type { AggregateNode, ColumnNode, MapNode, Node } from "../../../engine/language/node.ts";
import type { OperationName } from "../../../engine/operations/table.ts";
import { valueOf } from "./arbitrary.ts";
import {
  aggregateNode,
  combinationsOf,
  literalNode,
  literalsOf,
  operationNames,
  requiredLiterals,
} from "./cases.ts";
import { columnNode } from "./parity.ts";

/** What the leaves of the trees read: two columns of each dtype. */
export const treeColumns: readonly ColumnNode[] = dtypes.flatMap((dtype) => [
  columnNode(`a_${dtype}`, dtype),
  columnNode(`b_${dtype}`, dtype),
]);

/** What its leaves read beside them: an aggregate of each dtype that one can have. */
export const treeAggregates: readonly AggregateNode[] = [
  aggregateNode("int64"),
  aggregateNode("float64"),
  aggregateNode("timestamp"),
];

/** A way to get a value of a dtype: an operation over inputs of these dtypes. */
interface Producer {
  readonly operation: OperationName;
  readonly combination: readonly Dtype[];
  /** Literals for the last places, where the operation wants literals. */
  readonly literals: readonly (readonly Node[])[];
}

/** By the dtype of the result, then by operation, so that each operation is as likely. */
const producers = new Map<Dtype, Map<OperationName, Producer[]>>(
  dtypes.map((dtype) => [dtype, new Map()]),
);
for (const operation of operationNames)
  for (const combination of combinationsOf(operation)) {
    const columns = combination.map((dtype) => columnNode("x", dtype));
    const apply = (literals: readonly Node[]) =>
      operationNode(operation, [
        ...columns.slice(0, columns.length - literals.length),
        ...literals,
      ]);
    const literals = requiredLiterals(operation, combination).filter(
      (each) => apply(each).kind === "operation",
    );
    const result = producers.get(apply(literals[0] ?? []).dtype);
    result?.set(operation, [
      ...(result.get(operation) ?? []),
      { operation, combination, literals },
    ]);
  }

const columnOf = (dtype: Dtype): fc.Arbitrary<Node> =>
  fc.constantFrom(...treeColumns.filter((column) => column.dtype === dtype));

/** A column, or an aggregate where there is one of the dtype. */
function leafOf(dtype: Dtype): fc.Arbitrary<Node> {
  const aggregates = treeAggregates.filter((node) => node.dtype === dtype);
  if (aggregates.length === 0) return columnOf(dtype);
  return fc.oneof(
    { arbitrary: columnOf(dtype), weight: 4 },
    { arbitrary: fc.constantFrom<Node>(...aggregates), weight: 1 },
  );
}

function literalOf(dtype: Dtype): fc.Arbitrary<Node> {
  const awkward = fc.constantFrom(...literalsOf(dtype));
  return fc.oneof(awkward, valueOf(dtype)).map((value) => literalNode(dtype, value));
}

/** The escape hatch over two inputs: the first that is not null, or a fixed value. */
function mapOver(input: Node, spare: Node, fallback: Value): MapNode {
  return Object.freeze({
    kind: "map",
    name: `or_${input.dtype}`,
    version: 1,
    inputs: Object.freeze([
      Object.freeze({ name: "value", node: input }),
      Object.freeze({ name: "spare", node: spare }),
    ]),
    dtype: input.dtype,
    shape: "column",
    compute: ({ value = null, spare: other = null }) => value ?? other ?? fallback,
  });
}

const fallbacks: Readonly<Record<Dtype, Value>> = {
  bool: true,
  int64: 7,
  float64: -0,
  string: "ß",
  timestamp: -1,
  list_float64: [-0],
};

const known = new Map<string, fc.Arbitrary<Node>>();

/** Trees of a dtype and at most this depth; a literal is never the first input. */
export function treeOf(dtype: Dtype, depth: number): fc.Arbitrary<Node> {
  const key = `${dtype} ${depth}`;
  let tree = known.get(key);
  if (tree === undefined) {
    tree = depth === 0 ? leafOf(dtype) : branchOf(dtype, depth);
    known.set(key, tree);
  }
  return tree;
}

function branchOf(dtype: Dtype, depth: number): fc.Arbitrary<Node> {
  const operations = [...(producers.get(dtype)?.values() ?? [])].map((all) =>
    fc.constantFrom(...all).chain((producer) => appliedOf(producer, depth - 1)),
  );
  return fc.oneof(
    { arbitrary: leafOf(dtype), weight: 1 },
    {
      arbitrary: fc
        .tuple(treeOf(dtype, depth - 1), leafOf(dtype))
        .map(([input, spare]) => mapOver(input, spare, fallbacks[dtype])),
      weight: 1,
    },
    ...operations.map((arbitrary) => ({ arbitrary, weight: 2 })),
  );
}

function appliedOf({ operation, combination, literals }: Producer, depth: number) {
  const wanted = literals[0]?.length ?? 0;
  const inputs = combination
    .slice(0, combination.length - wanted)
    .map((dtype, place) =>
      place === 0 || dtype === "list_float64"
        ? treeOf(dtype, depth)
        : fc.oneof(
            { arbitrary: treeOf(dtype, depth), weight: 3 },
            { arbitrary: literalOf(dtype), weight: 1 },
          ),
    );
  return fc
    .tuple(fc.tuple(...inputs), fc.constantFrom(...literals))
    .map(([expressions, last]) => operationNode(operation, [...expressions, ...last]));
}
