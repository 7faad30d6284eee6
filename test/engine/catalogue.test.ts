import assert from "node:assert/strict";
import {
  buildCatalogue,
  kindOf,
  loadCatalogue,
  outputNamed,
  serviceNamed,
  viewNamed,
} from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { Expr } from "../../engine/language/expression.ts";
import { between, featureService, featureView, mean, oneHot, when } from "../../engine/index.ts";
import type { Node, OperationNode } from "../../engine/language/node.ts";
import {
  build,
  double,
  item,
  n,
  name,
  ok,
  problemsOf,
  rows,
  sourceOf,
  view,
  x,
} from "../support/engine/definitions.ts";

describe("the catalogue", () => {
  it("reports all problems at once, each once", () => {
    const problems = problemsOf({
      rows: { rows_view: view, Bad: n.mul(2), worse: n.eq(name as never), rounded: x.round(99) },
      more: { model: featureService("model", []), worst: ok.and(1 as never) },
    });
    assert.equal(problems.length, 5, problems.join("\n"));
    for (const [i, at] of [
      /"Bad"/,
      /"worse"/,
      /"rounded"/,
      /"worst".*more\.ts/,
      /"model"/,
    ].entries())
      assert.match(problems[i] ?? "", at);
  });

  it("refuses one name for two features in two modules, and allows one feature in both", () => {
    const problems = problemsOf({
      rows: { rows_view: view, twice: n.mul(2) },
      more: { twice: n.mul(3) },
    });
    assert.match(
      problems.join(),
      /features\/more\.ts\) has the name of another feature in features\/rows\.ts\. Rename one\./,
    );
    const twice = n.mul(2);
    const catalogue = buildCatalogue({ rows: { rows_view: view, twice }, more: { twice } });
    assert.deepEqual([...catalogue.features.keys()], ["twice"]);
  });

  it("refuses two views over one source in two modules too, and allows a second source", () => {
    const second = featureView("second", { source: rows, stores: [n] });
    const [problem, ...others] = problemsOf({
      rows: { rows_view: view, twice: n.mul(2) },
      more: { second, thrice: n.mul(3) },
    });
    assert.match(
      problem ?? "",
      /^feature view "second" \(features\/more\.ts\) is over source "rows", as view "rows" in features\/rows\.ts is/,
    );
    assert.deepEqual(others, []);
    const again = sourceOf({}, "again");
    const catalogue = buildCatalogue({
      rows: { rows_view: view, twice: n.mul(2) },
      more: {
        second: featureView("second", { source: again, stores: [again.columns.n] }),
        thrice: again.columns.n.mul(3),
      },
    });
    assert.deepEqual(
      [...catalogue.features.values()].map((feature) => [feature.name, feature.view]),
      [
        ["twice", "rows"],
        ["thrice", "second"],
      ],
    );
  });

  it("refuses definitions in the place of modules", () => {
    const [problem, ...others] = problemsOf({
      rows: { rows_view: view },
      twice: n.mul(2) as never,
    });
    assert.match(problem ?? "", /^features\/index\.ts exports the expression "twice" itself;/);
    assert.deepEqual(others, []);
  });

  it("allows lists of what has a name, and objects of the user's own that look like definitions", () => {
    const twice = n.mul(2);
    const exports = {
      twice,
      all: [twice, n, view],
      same_formula: { twice: n.mul(2) },
      columns: rows.columns,
      item,
      kinds: { kind: "view" },
      kind_of: { kind: "source", name: 5 },
      limits: { low: 1, parts: [new Date(0), new Uint8Array(5)] },
      chosen: when,
      range: between(0, 1),
      nothing: undefined,
    };
    assert.deepEqual([...build(exports).features.keys()], ["twice"]);
  });

  it("takes a literal in every branch of a choice", () => {
    const chosen = when(ok).then(1).otherwise(0);
    const fraction = when(ok).then(1).otherwise(x);
    const text = when(ok).then("yes").otherwise(name);
    const catalogue = build({ chosen, fraction, text });
    assert.deepEqual(
      [...catalogue.features.values()].map(({ node }) => `${node.dtype} ${node.shape}`),
      ["int64 column", "float64 column", "string column"],
    );
  });

  it("refuses a cycle, which only a node made by hand can have", () => {
    const node = {
      kind: "operation",
      operation: "neg",
      dtype: "int64",
      shape: "column",
      inputs: [] as Node[],
    };
    node.inputs.push(node as unknown as OperationNode);
    const problems = problemsOf({
      rows: { rows_view: view, loop: new Expr(node as unknown as Node) },
    });
    assert.deepEqual(problems, [
      'feature "loop" (features/rows.ts) rests on itself: its expression has a cycle. Build expressions from columns and other features only.',
    ]);
  });

  it("names what is used without an import, and does not take it for a cycle", async () => {
    const error = new ReferenceError("map is not defined");
    error.stack = "ReferenceError: map is not defined\n at file:///app/features/absences.ts?x:60:3";
    await assert.rejects(
      loadCatalogue(() => Promise.reject(error)),
      (thrown) => {
        assert.ok(thrown instanceof OnceflowError);
        assert.equal(thrown.code, "DEFINITION_INVALID");
        assert.match(thrown.message, /map is not defined \(features\/absences\.ts:60\)/);
        return !thrown.message.includes("cycle");
      },
    );
  });

  it("says that modules import each other in a circle", async () => {
    await assert.rejects(
      loadCatalogue(() => import("./fixtures/circle/index.ts")),
      (error: Error) =>
        error instanceof OnceflowError &&
        error.code === "DEFINITION_INVALID" &&
        /features\/ has a cycle: .*Two modules import each other; move what both need to a third\./.test(
          error.message,
        ),
    );
    await assert.rejects(
      loadCatalogue(() => Promise.reject(new TypeError("something else"))),
      TypeError,
    );
  });

  it("leaves constants and functions of the user's own alone", () => {
    const catalogue = build({ limit: 7, helper: double, nothing: null, n, twice: n.mul(2) });
    assert.deepEqual([...catalogue.features.keys()], ["twice"]);
  });

  it("resolves names, and says what is close to one that does not exist", () => {
    const twice = n.mul(2).describe("Twice n");
    const catalogue = build({
      twice,
      average: mean(x),
      centred: x.sub(mean(x)),
      model: featureService("model", [twice, n, mean(x)]),
    });
    assert.equal(outputNamed(catalogue, "twice").notes?.description, "Twice n");
    assert.equal(outputNamed(catalogue, "rows.x").node, x.node);
    assert.deepEqual(
      serviceNamed(catalogue, "model").outputs.map((output) => output.name),
      ["twice", "n", "average"],
    );
    const rowsView = viewNamed(catalogue, "rows");
    assert.deepEqual(
      rowsView.features.map((feature) => kindOf(feature, rowsView)),
      ["computed", "aggregate", "computed"],
    );
    for (const [code, find] of [
      ["UNKNOWN_FEATURE", () => outputNamed(catalogue, "twicee")],
      ["UNKNOWN_FEATURE", () => outputNamed(catalogue, "rows.__proto__")],
      ["UNKNOWN_SERVICE", () => serviceNamed(catalogue, "modell")],
      ["UNKNOWN_VIEW", () => viewNamed(catalogue, "row")],
    ] as const)
      assert.throws(
        find,
        (error: OnceflowError) => error.code === code && /is named|mean/.test(error.message),
      );
    assert.throws(() => outputNamed(catalogue, "twicee"), /Did you mean "twice"\?/);
  });

  it("gives a one-hot a feature for each value, null where the column is", () => {
    const { n_1, n_2 } = oneHot(n, [1, 2]);
    const catalogue = build({ n_1, n_2, ...oneHot(name, ["a"]) });
    assert.deepEqual([...catalogue.features.keys()], ["n_1", "n_2", "name_a"]);
  });
});
