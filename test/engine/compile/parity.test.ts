/**
 * Batch and online agree in every bit: for each row of the operation table, for random expressions,
 * and for every feature of the catalogue. No operation is exempt.
 *
 * Random values and trees come from a seed that a failure names.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { buildCatalogue } from "../../../engine/catalogue.ts";
import { operationNode } from "../../../engine/language/build.ts";
import { type Dtype, dtypes, type Value } from "../../../engine/language/dtypes.ts";
import * as features from "../../../features/index.ts";
import { anyValueOf, awkward, valueOf } from "../../support/engine/arbitrary.ts";
import {
  aggregateNode,
  type Case,
  casesOf,
  columnsOf,
  literalNode,
  operationNames,
  product,
  thin,
} from "../../support/engine/cases.ts";
import {
  type Compared,
  compileParity,
  describeDivergences,
  type Divergence,
  type Rows,
  withSubtrees,
} from "../../support/engine/parity.ts";
import { compareFeatures } from "../../support/engine/feature-parity.ts";
import { propertySeed, scaled } from "../../support/property.ts";
import { treeAggregates, treeColumns, treeOf } from "../../support/engine/trees.ts";

/** How much is run. */
const runs = {
  /** Combinations of awkward values, at most, for each combination of dtypes. */
  awkwardRows: 2500,
  /** Random rows for each combination of dtypes. */
  randomRows: scaled(150),
  /** Random rows of the operations of one double and of two, which go wrong where few values lie. */
  doubles: scaled(5000),
  trees: scaled(160),
  treeDepth: 4,
  treeRows: 150,
  featureRows: scaled(400),
};

function assertParity(found: readonly Divergence[]): void {
  assert.ok(found.length === 0, `PROPERTY_SEED=${propertySeed}: ${describeDivergences(found)}`);
}

function sample<T>(arbitrary: fc.Arbitrary<T>, count: number): T[] {
  return fc.sample(arbitrary, { numRuns: count, seed: propertySeed });
}

function rowsOf(columns: readonly Dtype[]): Value[][] {
  return [
    ...thin(product(columns.map((dtype) => awkward[dtype])), runs.awkwardRows),
    ...sample(fc.tuple(...columns.map(anyValueOf)), runs.randomRows),
  ];
}

describe("parity of the operation table", () => {
  const scalars = ["int64", "float64", "timestamp"] as const;
  const aggregates = scalars.map(aggregateNode);
  const bound = [
    [0, -0, 0],
    [-3, 49, 1_700_000_000_123_456],
    [null, null, null],
  ];

  const roundings = Array.from({ length: 16 }, (_, decimals): Case => {
    const columns = ["float64"] as const;
    const inputs = [...columnsOf(columns), literalNode("int64", decimals)];
    return { operation: "round", columns, node: operationNode("round", inputs) };
  });
  const groups = new Map<string, Case[]>();
  for (const each of operationNames.flatMap(casesOf))
    groups.set(each.columns.join(", "), [...(groups.get(each.columns.join(", ")) ?? []), each]);
  const compared = (cases: readonly Case[]): Compared => ({
    outputs: cases.map(({ operation, node }, i) => ({ name: `${operation} [${i}]`, node })),
    columns: columnsOf(cases[0]?.columns ?? []),
    aggregates,
  });

  it("has cases for every operation", () => {
    const covered = new Set([...groups.values()].flat().map(({ operation }) => operation));
    assert.deepEqual(
      operationNames.filter((name) => !covered.has(name)),
      [],
    );
  });

  for (const [dtypesOfRow, cases] of groups)
    it(`holds over ${dtypesOfRow}`, async () => {
      const compare = compileParity(compared(cases));
      const rows = rowsOf(cases[0]?.columns ?? []);
      const [first = [], ...others] = bound;
      assertParity(await compare({ rows, aggregates: first }));
      for (const values of others)
        assertParity(await compare({ rows: thin(rows, 60), aggregates: values }));
    });

  it("holds over many doubles of every magnitude, and over ties of every count of decimals", async () => {
    for (const columns of [["float64"], ["float64", "float64"]] as const) {
      const cases = groups.get(columns.join(", ")) ?? [];
      const rounding = columns.length > 1 ? [] : roundings;
      const compare = compileParity(compared([...cases, ...rounding]));
      const rows = sample(fc.tuple(...columns.map(valueOf)), runs.doubles);
      assertParity(await compare({ rows, aggregates: bound[0] ?? [] }));
    }
  });

  it("holds for frames of one row and of none", async () => {
    const zeros = [0, -0, 5, NaN];
    for (const [key, rows] of [
      ["float64", product([zeros])],
      ["float64, float64", product([zeros, zeros])],
    ] as const) {
      const cases = (groups.get(key) ?? []).filter(({ node }) => node.dtype === "float64");
      const compare = compileParity(compared(cases));
      assertParity(await compare({ rows: [], aggregates: bound[0] ?? [] }));
      for (const row of rows)
        assertParity(await compare({ rows: [row], aggregates: bound[0] ?? [] }));
    }
  });

  it("holds for every code point that may have a case, alone and beside Σ", async () => {
    const cases = (groups.get("string") ?? []).filter(({ node }) =>
      ["lower", "upper", "length"].includes(node.kind === "operation" ? node.operation : ""),
    );
    const compare = compileParity(compared(cases));
    const rows: string[][] = [];
    const size = 512;
    for (let start = 0; start < 0x20000; start += size) {
      if (start >= 0xd800 && start < 0xe000) continue;
      const points = Array.from({ length: size }, (_, i) => String.fromCodePoint(start + i));
      rows.push([points.join(" ")], [points.join("Σ")], ...points.map((point) => [`A${point}Σ`]));
    }
    assertParity(await compare({ rows, aggregates: bound[0] ?? [] }));
  });
});

describe("parity of expressions", () => {
  it(`holds for random trees of operations, literals, aggregates and maps`, async () => {
    const trees = sample(
      fc.oneof(...dtypes.map((dtype) => treeOf(dtype, runs.treeDepth))),
      runs.trees,
    );
    const compared: Compared = {
      outputs: trees.map((node, i) => ({ name: `tree ${i}`, node })),
      columns: treeColumns,
      aggregates: treeAggregates,
    };
    const rows: Rows = {
      rows: sample(fc.tuple(...treeColumns.map(({ dtype }) => anyValueOf(dtype))), runs.treeRows),
      aggregates: treeAggregates.map(({ dtype }) => sample(anyValueOf(dtype), 1)[0] ?? null),
    };
    const found = await compileParity(compared)(rows);
    // A difference deep in a tree shows best in the smallest part of it that has one.
    assertParity(
      found.length === 0 ? [] : await compileParity(withSubtrees(compared, found))(rows),
    );
  });
});

describe("parity of the features", () => {
  const catalogue = buildCatalogue(features);
  for (const view of catalogue.views.values())
    it(`holds for every feature and expectation of view ${view.name}`, async () => {
      assertParity(await compareFeatures(view, { rows: runs.featureRows, seed: propertySeed }));
    });
});
