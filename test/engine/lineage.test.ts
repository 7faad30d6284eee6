import assert from "node:assert/strict";
import { buildCatalogue } from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import {
  entity,
  featureService,
  featureView,
  float64,
  mean,
  source,
  string,
} from "../../engine/index.ts";
import {
  consumersOf,
  type Direction,
  featuresTagged,
  lineageAround,
  lineageOf,
  toMermaid,
} from "../../engine/lineage.ts";
import { deepSharing } from "../support/engine/deep-sharing.ts";

const points = source("points", {
  files: "points.parquet",
  entity: entity("point", { key: "id" }),
  columns: { id: string, x: float64, y: float64, unused: float64 },
});
const { x, y, unused } = points.columns;
const x_mean = mean(x);
const centred = x.sub(x_mean).tag({ team: "red", stage: "test" });
const scaled = centred.div(10).tag({ team: "blue" });
const distance = scaled.mul(scaled).add(y);
const catalogue = buildCatalogue({
  points: {
    x_mean,
    centred,
    scaled,
    distance,
    points_view: featureView("points", { source: points, stores: [x, unused] }),
    near: featureService("near", [distance]),
    both: featureService("both", [scaled, y]),
  },
});

function around(name: string, direction: Direction) {
  const { nodes, edges } = lineageAround(catalogue, name, direction);
  return {
    nodes: nodes.map((node) => node.name).sort(),
    edges: edges.map(({ from, to }) => `${from} > ${to}`).sort(),
  };
}

describe("lineage", () => {
  it("joins columns, aggregates, features and services, each by its nearest named neighbours", () => {
    const { nodes, edges } = lineageOf(catalogue);
    const kinds = Object.fromEntries(nodes.map(({ name, kind }) => [name, kind]));
    assert.deepEqual(kinds, {
      "points.x": "column",
      "points.y": "column",
      "points.unused": "column",
      x_mean: "aggregate",
      centred: "feature",
      scaled: "feature",
      distance: "feature",
      near: "service",
      both: "service",
    });
    assert.deepEqual(edges.map(({ from, to }) => `${from} > ${to}`).sort(), [
      "centred > scaled",
      "distance > near",
      "points.x > centred",
      "points.x > x_mean",
      "points.y > both",
      "points.y > distance",
      "scaled > both",
      "scaled > distance",
      "x_mean > centred",
    ]);
  });

  it("goes up to all that a feature rests on", () => {
    assert.deepEqual(around("scaled", "up"), {
      nodes: ["centred", "points.x", "scaled", "x_mean"],
      edges: ["centred > scaled", "points.x > centred", "points.x > x_mean", "x_mean > centred"],
    });
  });

  it("goes down to all that rests on a column", () => {
    assert.deepEqual(around("points.y", "down"), {
      nodes: ["both", "distance", "near", "points.y"],
      edges: ["distance > near", "points.y > both", "points.y > distance"],
    });
  });

  it("goes down from a feature without what it rests on", () => {
    assert.deepEqual(around("scaled", "down"), {
      nodes: ["both", "distance", "near", "scaled"],
      edges: ["distance > near", "scaled > both", "scaled > distance"],
    });
  });

  it("goes both ways from a feature, and not sideways", () => {
    const { nodes, edges } = around("centred", "both");
    assert.deepEqual(nodes, [
      "both",
      "centred",
      "distance",
      "near",
      "points.x",
      "scaled",
      "x_mean",
    ]);
    assert.equal(edges.includes("points.y > distance"), false);
  });

  it("of what nothing reads is that alone", () => {
    assert.deepEqual(around("points.unused", "both"), { nodes: ["points.unused"], edges: [] });
  });

  it("refuses a name that does not exist, and says what is close", () => {
    for (const [name, said] of [
      ["scaledd", /Did you mean "scaled"\?/],
      ["x", /Columns are written <source>\.<column>\./],
    ] as const)
      assert.throws(
        () => lineageAround(catalogue, name, "up"),
        (error) =>
          error instanceof OnceflowError &&
          error.code === "UNKNOWN_FEATURE" &&
          said.test(error.message),
      );
  });

  it("finds features by tag, with any value or one", () => {
    assert.deepEqual(featuresTagged(catalogue, "team"), ["centred", "scaled"]);
    assert.deepEqual(featuresTagged(catalogue, "team", "blue"), ["scaled"]);
    assert.deepEqual(featuresTagged(catalogue, "stage", "live"), []);
    assert.deepEqual(featuresTagged(catalogue, "constructor"), []);
  });

  it("tells which services a name reaches", () => {
    assert.deepEqual(consumersOf(catalogue, "points.x").sort(), ["both", "near"]);
    assert.deepEqual(consumersOf(catalogue, "distance"), ["near"]);
    assert.deepEqual(consumersOf(catalogue, "points.unused"), []);
  });

  it("meets once what a formula uses over and over", () => {
    const { edges } = lineageOf(deepSharing().catalogue);
    assert.deepEqual(edges, [
      { from: "deep.x", to: "total" },
      { from: "total", to: "deep" },
    ]);
  });

  it("is drawn as a Mermaid flowchart", () => {
    assert.equal(
      toMermaid(lineageAround(catalogue, "centred", "up")),
      [
        "flowchart LR",
        '  n0{{"x_mean"}}',
        '  n1[("points.x")]',
        '  n2["centred"]',
        "  n1 --> n0",
        "  n1 --> n2",
        "  n0 --> n2",
      ].join("\n"),
    );
    assert.match(toMermaid(lineageAround(catalogue, "distance", "down")), /\(\["near"\]\)/);
  });
});
