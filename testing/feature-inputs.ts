/** What the features of a test are made of: their columns and aggregates. */
import { OnceflowError } from "../engine/errors.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import type { AggregateNode, ColumnNode, Node } from "../engine/language/node.ts";
import { below, leavesOf } from "../engine/rests-on.ts";

/** What features are made of. */
export interface Parts {
  readonly names: readonly string[];
  readonly nodes: readonly Node[];
  readonly columns: readonly ColumnNode[];
  /** Which of the columns features read of a row itself, and which aggregates are of. */
  readonly direct: ReadonlySet<ColumnNode>;
  readonly aggregated: ReadonlySet<ColumnNode>;
  readonly aggregates: readonly AggregateNode[];
}

/** Takes features apart. @throws DEFINITION_INVALID */
export function partsOf(features: Readonly<Record<string, { readonly node: Node }>>): Parts {
  const nodes = Object.values(features).map(({ node }) => node);
  const [wrong] = below(nodes, "invalid");
  if (wrong !== undefined)
    throw new OnceflowError("DEFINITION_INVALID", `a feature ${wrong.problem}`);
  const columns = byFormula(below(nodes, "column"));
  const aggregates = byFormula(below(nodes, "aggregate"));
  const columnsOf = (roots: readonly Node[]): ReadonlySet<ColumnNode> =>
    new Set(roots.flatMap(leavesOf).flatMap((leaf) => columns.get(fingerprintOf(leaf)) ?? []));
  return {
    names: Object.keys(features),
    nodes,
    columns: [...columns.values()],
    direct: columnsOf(nodes),
    aggregated: columnsOf([...aggregates.values()].map(({ input }) => input)),
    aggregates: [...aggregates.values()],
  };
}

function byFormula<N extends Node>(nodes: readonly N[]): ReadonlyMap<string, N> {
  return new Map(nodes.map((node) => [fingerprintOf(node), node]));
}
