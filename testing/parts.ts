/** What the features of a test are made of: their columns and aggregates. */
import { OnceflowError } from "../engine/errors.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import { type AggregateNode, type ColumnNode, type Node, visit } from "../engine/language/node.ts";

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
  const columns = new Map<string, ColumnNode>();
  const aggregates = new Map<string, AggregateNode>();
  const nodes = Object.values(features).map(({ node }) => node);
  visit(nodes, (node) => {
    if (node.kind === "invalid")
      throw new OnceflowError("DEFINITION_INVALID", `a feature ${node.problem}`);
    if (node.kind === "column") columns.set(fingerprintOf(node), node);
    if (node.kind === "aggregate") aggregates.set(fingerprintOf(node), node);
  });
  /** The columns below nodes, aggregates left out. */
  const below = (roots: readonly Node[]): ReadonlySet<ColumnNode> => {
    const found = new Set<ColumnNode>();
    visit(
      roots,
      (node) => {
        const column = node.kind === "column" && columns.get(fingerprintOf(node));
        if (column) found.add(column);
      },
      (node) => node.kind === "aggregate",
    );
    return found;
  };
  return {
    names: Object.keys(features),
    nodes,
    columns: [...columns.values()],
    direct: below(nodes),
    aggregated: below([...aggregates.values()].map(({ input }) => input)),
    aggregates: [...aggregates.values()],
  };
}
