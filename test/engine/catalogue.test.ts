import assert from "node:assert/strict";
import {
  buildCatalogue,
  type Catalogue,
  kindOf,
  loadCatalogue,
  type Modules,
  outputNamed,
  serviceNamed,
  viewNamed,
} from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { Expr } from "../../engine/language/expression.ts";
import {
  between,
  bool,
  entity,
  featureService,
  featureView,
  float64,
  int64,
  listFloat64,
  map,
  mean,
  nullable,
  oneHot,
  oneOf,
  source,
  string,
  timestamp,
  when,
} from "../../engine/index.ts";
import type { Node, OperationNode } from "../../engine/language/node.ts";

const item = entity("item", { key: "id" });
const columns = { id: string, n: int64, x: float64, name: string, ok: bool, at: timestamp };
const rows = source("rows", { files: "rows.parquet", entity: item, columns });
const other = source("other", {
  files: "other.parquet",
  entity: item,
  columns: { id: string, n: int64 },
});
const { n, x, name, ok } = rows.columns;
const view = featureView("rows", { source: rows, stores: [n, x] });
const otherView = featureView("other", { source: other, stores: [] });

/** The catalogue of one module beside its view. */
function build(exports: Record<string, unknown>): Catalogue {
  return buildCatalogue({ rows: { rows_view: view, ...exports } });
}

/** What a wrong definition is answered with. */
function problemsOf(modules: Modules): readonly string[] {
  try {
    buildCatalogue(modules);
  } catch (error) {
    assert.ok(error instanceof OnceflowError);
    assert.equal(error.code, "DEFINITION_INVALID");
    const problems = error.details["problems"] as readonly string[];
    for (const problem of problems) assert.ok(error.message.includes(`\n  - ${problem}`));
    return problems;
  }
  return [];
}

const double = (value: unknown) => Number(value) * 2;
const sourceOf = (options: object, sourceName = "rows") =>
  source(sourceName, { files: "rows.parquet", entity: item, columns, ...options });
const viewOf = (options: object, viewName = "rows") =>
  featureView(viewName, { source: rows, stores: [], ...options });

/** Something applied again and again. */
function repeat<T>(times: number, first: T, next: (it: T) => T): T {
  let it = first;
  for (let i = 0; i < times; i++) it = next(it);
  return it;
}

/** Definitions of one module, and what is said of them. */
type Misuse = readonly [title: string, exports: Record<string, unknown>, said: RegExp];

const misuses: readonly Misuse[] = [
  // Expressions.
  [
    "a misspelt column",
    { half: (rows.columns as unknown as Record<string, typeof n>)["nn"]?.mul(2) },
    /^feature "half" \(features\/rows.ts\) reads "nn", which is no column of source "rows"\. Did you mean "n"\?$/,
  ],
  [
    "operands of dtypes that an operation does not take",
    { bad: name.length().add(ok as never) },
    /^feature "bad" .* uses a\.add\(b\) takes int64 or float64; got int64, bool\.$/,
  ],
  [
    "a comparison across dtypes",
    { bad: n.eq(name as never) },
    /uses a\.eq\(b\) takes two values of one dtype .*; got int64, string\.$/,
  ],
  [
    "branches of two dtypes",
    {
      bad: when(ok)
        .then(n)
        .otherwise(name as never),
    },
    /values of one dtype/,
  ],
  ["a value that is no literal", { bad: n.add(null as never) }, /null is no value of a dtype/],
  ["a literal of ill-formed text", { bad: name.concat("\ud800") }, /is no value of a dtype/],
  ["an integer literal beyond 64 bits", { bad: n.add(2n ** 63n) }, /is no value of a dtype/],
  ["too many decimals", { bad: x.round(16) }, /round takes 0 to 15 decimals, not 16\.$/],
  ["a fraction of decimals", { bad: x.round(0.5) }, /round/],
  ["bounds in the wrong order", { bad: x.clip(2, 1) }, /clip wants low ≤ high, got 2, 1\.$/],
  ["no candidates", { bad: n.isIn([]) }, /a\.isIn\(\[…\]\) got 0 operands/],
  [
    "an expression where a literal must stand",
    { bad: name.startsWith(name as never) },
    /uses a\.startsWith\(prefix\) takes literals; got an expression\.$/,
  ],
  [
    "an aggregate of a dtype that it does not take",
    { bad: mean(name as never) },
    /uses mean\(a\) takes int64 or float64; got string\.$/,
  ],
  [
    "an aggregate over an aggregate",
    { bad: mean(x.sub(mean(x))) },
    /^feature "bad" .* aggregates a value that rests on an aggregate; .* Aggregate a column, or a feature without aggregates\.$/,
  ],
  [
    "a default of another dtype",
    { bad: n.mul(2).default("none" as never) },
    /has a default that is no int64\.$/,
  ],
  [
    "an expectation that does not fit the dtype",
    { bad: name.lower().expect(between(0, 1)) },
    /uses a\.gte\(b\) takes two values of one dtype/,
  ],
  // Names.
  [
    "a name in capitals",
    { Twice: n.mul(2) },
    /^feature "Twice" .*: "Twice" is no valid name: use snake_case/,
  ],
  ["a name that objects inherit", { constructor: n.mul(2) }, /"constructor" is no valid name/],
  [
    "another name for a column",
    { count_of_items: n },
    /^feature "count_of_items" .* is another name for column "n" of source "rows"\. Use the column itself\.$/,
  ],
  [
    "two names for one expression",
    { twice: n.mul(2), double: n.mul(2) },
    /^feature "double" .* is another name for "twice" \(features\/rows.ts\): one expression has one name\. Export one of them\.$/,
  ],
  [
    "two functions under one map and version",
    {
      a: map("twice", { version: 1 }, { n }, int64, ({ n: v }) => double(v)),
      b: map("twice", { version: 1 }, { x }, int64, ({ x: v }) => double(v)),
    },
    /^map "twice version 1" is two functions, in features "a" and "b"\. Rename one, or raise its version\.$/,
  ],
  // What a feature belongs to.
  [
    "a feature without a column",
    { bad: map("dice", { version: 1 }, {}, int64, () => 4) },
    /^feature "bad" .* reads no column, so it belongs to no feature view\.$/,
  ],
  [
    "a feature over two sources",
    { bad: n.add(other.columns.n), other_view: otherView },
    /^feature "bad" .* reads columns of "rows" and "other"; a feature reads one source\. Put both features in one service instead\.$/,
  ],
  [
    "a feature whose source no view covers",
    { bad: other.columns.n.mul(2) },
    /^feature "bad" .* reads source "other", which no feature view covers\. Export featureView\("other", \{ source: other, stores: \[…\] \}\) beside it\.$/,
  ],
  [
    "two views over one source",
    { second_view: viewOf({}, "second") },
    /^feature view "second" \(features\/rows\.ts\) is over source "rows", as view "rows" in features\/rows\.ts is: one view per source\. Put what both store into one view, or define a second source over the same files\.$/,
  ],
  // Sources.
  [
    "a source of another's name",
    { second: sourceOf({}) },
    /^source "rows" .* has the name of another source/,
  ],
  ["a source with a bad name", { bad: sourceOf({}, "my rows") }, /"my rows" is no valid name/],
  [
    "a column named __proto__",
    { bad: sourceOf({ columns: { ...columns, ["__proto__"]: int64 } }, "bad") },
    /^source "bad" .* "__proto__" is no valid name/,
  ],
  [
    "a column named constructor",
    { bad: sourceOf({ columns: { ...columns, constructor: int64 } }, "bad") },
    /"constructor" is no valid name/,
  ],
  [
    "a source without its key column",
    { bad: sourceOf({ columns: { idd: string } }, "bad") },
    /^source "bad" .* lacks the key column "id" of entity "item"\. Did you mean "idd"\?$/,
  ],
  [
    "a key that is no string",
    { bad: sourceOf({ columns: { id: int64 } }, "bad") },
    /declares the key column "id" as int64; a key is a string, not null\.$/,
  ],
  [
    "a key that may be null",
    { bad: sourceOf({ columns: { id: nullable(string) } }, "bad") },
    /declares the key column "id" as nullable string/,
  ],
  [
    "an event time that is no column",
    { bad: sourceOf({ eventTime: "att" }, "bad") },
    /names the event time "att", which is none of its columns\. Did you mean "at"\?$/,
  ],
  [
    "an event time that is no timestamp",
    { bad: sourceOf({ eventTime: "n" }, "bad") },
    /has the event time "n" as int64; it is a timestamp, not null\.$/,
  ],
  [
    "lists in a CSV file",
    { bad: sourceOf({ files: "a.csv", columns: { id: string, v: listFloat64 } }, "bad") },
    /declares "v" as list_float64, which a CSV file cannot hold; use parquet\.$/,
  ],
  ...['"', "||", "é", "", "\n"].map((separator): Misuse => [
    `the csv separator ${JSON.stringify(separator)}`,
    { bad: sourceOf({ files: "a.csv", csv: { separator } }, "bad") },
    /^source "bad" .* has the csv separator ".*"; give one ASCII character/,
  ]),
  ...["x.csv.gz", "x.jsonl", "x", "{date}/*"].map((files): Misuse => [
    `the files ${files}`,
    { bad: sourceOf({ files }, "bad") },
    /^source "bad" .* has the files ".*", whose format nothing reads; they end in \.csv or \.parquet\.$/,
  ]),
  [
    "a key column named twice",
    { bad: sourceOf({ entity: entity("pair", { key: ["id", "id"] }) }, "bad") },
    /^entity "pair" \(features\/rows\.ts\) names the key column "id" twice; name it once\.$/,
  ],
  [
    "an entity that nothing uses and that has no key",
    { bad: entity("pair", { key: [] as never }) },
    /^entity "pair" .* has the key \[\]; give the name of a column/,
  ],
  [
    "a name longer than requests can say",
    { ["n".repeat(257)]: n.mul(2) },
    /"n{40}…" is no valid name: it has 257 characters, at most 256\.$/,
  ],
  [
    "a view whose columns no request can name",
    { bad: featureView("v".repeat(255), { source: sourceOf({}, "bad"), stores: [] }) },
    /^feature view "v+" .* has a name too long for its column "n"/,
  ],
  // What a worker does not survive, or does not end.
  [
    "a Date that is no timestamp",
    { bad: rows.columns.at.fillNull(new Date(8.64e15)).year() },
    /^feature "bad" .* uses the Date \+275760-09-13T00:00:00\.000Z lies outside the years 1 to 9999\.$/,
  ],
  [
    "a Date before the year 1",
    { bad: rows.columns.at.isIn([new Date("0000-12-31T23:59:59.999Z")]) },
    /lies outside the years 1 to 9999\.$/,
  ],
  [
    "a Date that is no timestamp as a default",
    { bad: rows.columns.at.fillNull(new Date(0)).default(new Date(8.64e15)) },
    /has a default that is no timestamp\.$/,
  ],
  [
    "a formula that is too deep",
    { bad: repeat(5000, n.mul(2), (it) => it.neg()) },
    /^feature "bad" .* has a formula \d+ operations deep; at most 1000\./,
  ],
  [
    "a deep formula without a name",
    { bad: featureService("model", [repeat(20_000, n.mul(2), (it) => it.neg())]) },
    /^feature service "model" .* has a formula \d+ operations deep; at most 1000\./,
  ],
  [
    "a text that is doubled until it fits no memory",
    { bad: repeat(40, name.lower(), (it) => it.concat(it)) },
    /^feature "bad" .* joins more than 10000 texts to one by concat\./,
  ],
  [
    "more candidates than an expression can hold",
    { bad: n.isIn(Array.from({ length: 10_001 }, (_, i) => i)) },
    /^feature "bad" .* lists 10001 values in isIn, which takes at most 10000/,
  ],
  [
    "a range in the wrong order",
    { bad: n.mul(2).expect(between(5, 1)) },
    /low ≤ high; got 5, 1\.$/,
  ],
  ["a range up to NaN", { bad: n.mul(2).expect(between(5, NaN)) }, /low ≤ high; got 5, NaN\.$/],
  ["one of nothing", { bad: n.mul(2).expect(oneOf()) }, /a\.isIn\(\[…\]\) got 0 operands/],
  // Exports that nobody would see.
  [
    "a one-hot that is not taken apart",
    { seasons: oneHot(n, [1, 2]) },
    /^"seasons" \(features\/rows\.ts\) is an object that holds an expression at "n_1", which has no name so: export it by its name, for example export const \{ n_1 \} = …\.$/,
  ],
  [
    "a one-hot of a value that it was not given",
    { n_3: (oneHot(n, [1, 2]) as unknown as { n_3: typeof n }).n_3 },
    /^feature "n_3" .* reads "n_3", which oneHot does not make of these values\./,
  ],
  [
    "a list of expressions",
    { all: [n.mul(2), n] },
    /^"all" .* is an array that holds an expression at "0", which has no name so: export each by a name of its own\.$/,
  ],
  [
    "expressions deep in an object",
    { all: { of: new Map([["a", [n.mul(2)]]]) } },
    /^"all" .* holds an expression at "of\.0\.0"/,
  ],
  [
    "a list of services",
    { all: [featureService("model", [n])] },
    /^"all" .* is an array that holds a service at "0"/,
  ],
  [
    "a choice without an end",
    { chosen: when(ok).then(n) },
    /^"chosen" .* is a when\(…\) without its otherwise\(…\); add that\.$/,
  ],
  // Views.
  ...[-1, 1.5, NaN, 2 ** 60].map((expectedEntities): Misuse => [
    `an expectedEntities of ${expectedEntities}`,
    { bad: viewOf({ expectedEntities }, "bad") },
    /has an expectedEntities of .*; it is a whole number from 0 to 10\^12\.$/,
  ]),
  ...[-5, NaN, Infinity].map((ttlSeconds): Misuse => [
    `a TTL of ${ttlSeconds}`,
    { bad: viewOf({ ttlSeconds }, "bad") },
    /has a ttlSeconds of .*; it is a number of seconds above 0\.$/,
  ]),
  [
    "a view with a bad name",
    { bad: viewOf({}, "A view") },
    /^feature view "A view" .* is no valid name/,
  ],
  [
    "a view of another's name",
    { bad: viewOf({}) },
    /^feature view "rows" .* has the name of another view/,
  ],
  [
    "a TTL of nothing",
    { bad: viewOf({ ttlSeconds: 0 }, "bad") },
    /has a ttlSeconds of 0; it is a number of seconds above 0\.$/,
  ],
  [
    "a stored expression without a name",
    { bad: viewOf({ stores: [n.mul(2)] }, "bad") },
    /^feature view "bad" .* stores an expression that has no name\. Export it as a feature first\.$/,
  ],
  [
    "a stored column that does not exist",
    { bad: viewOf({ stores: [(rows.columns as unknown as { m: typeof n }).m] }, "bad") },
    /^feature view "bad" .* reads "m", which is no column of source "rows"/,
  ],
  [
    "a stored feature that rests on an aggregate",
    { centred: x.sub(mean(x)), bad: viewOf({ stores: [x.sub(mean(x))] }, "bad") },
    /^feature view "bad" .* stores "centred", which rests on an aggregate: .* Take it out of stores\.$/,
  ],
  [
    "a stored column of another source",
    { bad: viewOf({ stores: [other.columns.n] }, "bad"), other_view: otherView },
    /stores column "n" of source "other", not of its own\.$/,
  ],
  [
    "a stored feature of another view",
    {
      twice: other.columns.n.mul(2),
      other_view: otherView,
      bad: viewOf({ stores: [other.columns.n.mul(2)] }, "bad"),
    },
    /stores feature "twice", which belongs to another view\.$/,
  ],
  ["a column stored twice", { bad: viewOf({ stores: [n, n] }, "bad") }, /stores "n" twice\.$/],
  [
    "a stored key",
    { bad: viewOf({ stores: [rows.columns.id] }, "bad") },
    /stores its key "id"; leave it out\.$/,
  ],
  // Services.
  [
    "a service with a bad name",
    { bad: featureService("a b", [n]) },
    /^feature service "a b" .* is no valid name/,
  ],
  [
    "two services of one name",
    { one: featureService("model", [n]), two: featureService("model", [x]) },
    /^feature service "model" .* has the name of another service/,
  ],
  ["a service of nothing", { bad: featureService("model", []) }, /lists no feature\.$/],
  [
    "a service with an expression that has no name",
    { bad: featureService("model", [n, n.mul(2)]) },
    /lists, at place 2, an expression that has no name\. Export it as a feature first\.$/,
  ],
  [
    "a service with a column that no view covers",
    { bad: featureService("model", [other.columns.n]) },
    /lists, at place 1, column "n" of source "other", which no view covers/,
  ],
  [
    "a service that lists a feature twice",
    { bad: featureService("model", [n, x, n]) },
    /lists "n" twice\.$/,
  ],
];

describe("the catalogue", () => {
  for (const [title, exports, said] of misuses)
    it(`refuses ${title}`, () => {
      const problems = problemsOf({ rows: { rows_view: view, ...exports } });
      assert.ok(
        problems.some((problem) => said.test(problem)),
        `said instead: ${problems.join("\n")}`,
      );
    });

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

  it("warns of a jump over a transcendental value, and of nothing else", () => {
    const { warnings } = build({
      is_large: x.log().gt(2),
      rounded: x.exp().round(2),
      smooth: x.log().add(1),
      plain: x.gt(2),
    });
    assert.equal(warnings.length, 2);
    assert.match(
      warnings[0] ?? "",
      /"is_large" .* applies a\.gt\(b\) above a transcendental function/,
    );
    assert.match(warnings[1] ?? "", /"rounded"/);
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
