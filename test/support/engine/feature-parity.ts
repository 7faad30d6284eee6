/** Parity of all features of a view: whoever exports one has it compared, with no other edit. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { View } from "../../../engine/catalogue.ts";
import { compileOnline } from "../../../engine/compile/online.ts";
import type { Value } from "../../../engine/language/dtypes.ts";
import { fingerprintOf } from "../../../engine/fingerprint.ts";
import type { AggregateNode, ColumnNode, Node } from "../../../engine/language/node.ts";
import { below } from "../../../engine/rests-on.ts";
import { anyValueOf, valueOf } from "./arbitrary.ts";
import { type Compared, compileParity, type Divergence } from "./parity.ts";

/** Outputs of a view that are compared: its features, and whether each expectation is violated. */
export function outputsOf({ features }: View): Compared["outputs"] {
  return features.flatMap(({ name, node, notes }) => [
    { name, node },
    ...notes.expectations.map(({ predicate }, i) => ({
      name: `${name} violates ${predicate.text} [${i}]`,
      node: predicate.violated(node),
    })),
  ]);
}

/** Compares every feature and expectation of a view over random rows and aggregates. */
export async function compareFeatures(
  view: View,
  { rows: count, seed }: { readonly rows: number; readonly seed: number },
): Promise<Divergence[]> {
  const outputs = outputsOf(view);
  const columns = Object.values(view.source.columns).map(({ node }) => node as ColumnNode);
  const aggregates = aggregatesBelow(outputs.map(({ node }) => node));
  const compare = compileParity({ outputs, columns, aggregates });
  const row = fc.tuple(
    ...columns.map(({ dtype, nullable }) => (nullable ? anyValueOf(dtype) : valueOf(dtype))),
  );
  const bounds = fc.tuple(...aggregates.map(({ dtype }) => anyValueOf(dtype)));
  const found: Divergence[] = [];
  for (const bound of fc.sample(bounds, { numRuns: 3, seed })) {
    const rows = fc
      .sample(row, { numRuns: count, seed })
      .filter(computes(outputs, columns, aggregates, bound));
    assert.ok(rows.length > 0, `every random row of ${view.name} is refused by a map`);
    found.push(...(await compare({ rows, aggregates: bound })));
  }
  return found;
}

function aggregatesBelow(nodes: readonly Node[]): AggregateNode[] {
  const found = below(nodes, "aggregate");
  return [...new Map(found.map((node) => [fingerprintOf(node), node])).values()];
}

/** Tells the rows that no user function refuses: there batch fails as a whole. */
function computes(
  outputs: Compared["outputs"],
  columns: readonly Node[],
  aggregates: readonly Node[],
  bound: readonly Value[],
): (row: readonly Value[]) => boolean {
  const registers = new Map([...columns, ...aggregates].map((node, i) => [fingerprintOf(node), i]));
  const program = compileOnline(
    outputs.map(({ node }) => node),
    (node) => registers.get(fingerprintOf(node)),
    "closures",
  );
  return (row) => {
    try {
      program([...row, ...bound]);
      return true;
    } catch {
      return false;
    }
  };
}
