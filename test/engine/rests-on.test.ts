import assert from "node:assert/strict";
import { entity, float64, int64, map, mean, source, std, string } from "../../engine/index.ts";
import type { Node, OperationNode } from "../../engine/language/node.ts";
import {
  below,
  columnsBySource,
  findCyclic,
  leavesOf,
  nearest,
  restsOnAggregate,
} from "../../engine/rests-on.ts";
import { deepSharing } from "../support/engine/deep-sharing.ts";

describe("what rests on what", () => {
  const item = entity("item", { key: "id" });
  const columns = { id: string, x: float64, n: int64 };
  const { x, n } = source("one", { files: "one.parquet", entity: item, columns }).columns;
  const { x: other } = source("two", { files: "two.parquet", entity: item, columns }).columns;
  const doubled = map("doubled", { version: 1 }, { n }, int64, ({ n: value }) => value);
  const ratio = x.sub(mean(n)).div(std(n)).add(doubled);
  const nodesOf = (...exprs: readonly { readonly node: Node }[]) => exprs.map(({ node }) => node);

  it("lists nodes of some kinds, inputs first, each once", () => {
    const names = below([ratio.node, ratio.node, doubled.node], ["operation", "map"]).map((node) =>
      node.kind === "operation" ? node.operation : node.name,
    );
    assert.deepEqual(names, ["sub", "div", "doubled", "to_float64", "add"]);
    assert.deepEqual(below([ratio.node], "aggregate"), nodesOf(mean(n), std(n)));
  });

  it("looks through aggregates, or at the row at hand alone", () => {
    const scaled = x.sub(mean(n));
    assert.deepEqual(below([scaled.node], "column"), nodesOf(x, n));
    assert.deepEqual(below([scaled.node], "column", "row"), nodesOf(x));
    assert.deepEqual(leavesOf(scaled.node), nodesOf(x));
    assert.deepEqual(leavesOf(mean(n).node), []);
  });

  it("knows what a row must bring, each object once, and keeps it", () => {
    const sum = n.add(n).add(doubled);
    assert.deepEqual(leavesOf(sum.node), nodesOf(n));
    assert.equal(leavesOf(sum.node), leavesOf(n.node));
    assert.deepEqual(leavesOf(x.add(sum).node), nodesOf(x, n));
  });

  it("divides columns by their source", () => {
    const found = columnsBySource(nodesOf(x.add(other).add(n)));
    assert.deepEqual(
      [...found],
      [
        ["one", nodesOf(x, n)],
        ["two", nodesOf(other)],
      ],
    );
  });

  it("finds the nearest of what is looked for, and nothing below it", () => {
    const named = new Set<Node>(nodesOf(doubled, x));
    const found = nearest([ratio.node], (node) => (named.has(node) ? node : undefined));
    assert.deepEqual(found, nodesOf(x, doubled));
    const every = nearest([ratio.node], (node) => node.kind);
    assert.deepEqual(every, ["operation"]);
  });

  it("tells whether something rests on an aggregate", () => {
    assert.equal(restsOnAggregate(ratio.node), true);
    assert.equal(restsOnAggregate(doubled.node), false);
  });

  it("takes a formula that is small as a graph and endless as a tree", () => {
    const roots = [...deepSharing().catalogue.features.values()].map(({ node }) => node);
    assert.deepEqual(
      roots
        .map(leavesOf)
        .flat()
        .map(({ name }) => name),
      ["x"],
    );
    assert.equal(below(roots, "column").length, 1);
    assert.equal(findCyclic(roots), undefined);
  });

  it("finds the first node below which something rests on itself", () => {
    const inputs: Node[] = [x.node];
    const looped: Node = { ...(n.neg().node as OperationNode), inputs };
    inputs.push(looped);
    const above: Node = { ...(n.neg().node as OperationNode), inputs: [x.node, looped] };
    assert.equal(findCyclic([x.node, above, looped]), above);
    assert.equal(findCyclic(nodesOf(x, ratio)), undefined);
  });
});
