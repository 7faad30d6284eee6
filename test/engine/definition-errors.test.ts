import assert from "node:assert/strict";
import {
  between,
  column,
  entity,
  featureService,
  featureView,
  int64,
  listFloat64,
  map,
  mean,
  nullable,
  oneHot,
  oneOf,
  string,
  when,
} from "../../engine/index.ts";
import {
  columns,
  double,
  n,
  name,
  ok,
  other,
  otherView,
  problemsOf,
  repeat,
  rows,
  sourceOf,
  view,
  viewOf,
  x,
} from "../support/engine/definitions.ts";

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
  ...["", 5, undefined, null, "a\ud800"].map((from): Misuse => [
    `the name ${JSON.stringify(from)} of a column in files`,
    { bad: sourceOf({ columns: { ...columns, n: column(from as string, int64) } }, "bad") },
    /^source "bad" \(features\/rows\.ts\) declares "n" as column\(.*, …\); give the name that its files have for it\.$/,
  ]),
  [
    "two columns of one name in files",
    {
      bad: sourceOf(
        { columns: { ...columns, a: column("Größe", int64), b: nullable(column("Größe", int64)) } },
        "bad",
      ),
    },
    /^source "bad" \(features\/rows\.ts\) declares "a" and "b" as the one column "Größe" of its files; give each a column of its own\.$/,
  ],
  [
    "a name in files that is another column",
    { bad: sourceOf({ columns: { ...columns, m: column("n", int64) } }, "bad") },
    /^source "bad" .* declares "n" and "m" as the one column "n" of its files/,
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
  ...["5", "two days", "1.5 days", "-1 day", "1 month"].map((allowedLateness): Misuse => [
    `the lateness ${allowedLateness}`,
    { bad: sourceOf({ files: "{date}.csv", eventTime: "at", allowedLateness }, "bad") },
    /^source "bad" .* has the allowedLateness ".*"; give a whole number and a unit, such as "9 hours" or "2 days"\.$/,
  ]),
  [
    "an earliness of ten years",
    {
      bad: sourceOf({ files: "{hour}.csv", eventTime: "at", allowedEarliness: "3653 days" }, "bad"),
    },
    /has the allowedEarliness "3653 days"; give at most "3294 days", which is nine years\.$/,
  ],
  [
    "rows in other files of a source without event time",
    { bad: sourceOf({ files: "{date}.csv", allowedLateness: "1 day", onOutside: "warn" }, "bad") },
    /^source "bad" .* has allowedLateness and onOutside and no event time, by which a row belongs to an interval; name its eventTime, or leave allowedLateness and onOutside out\.$/,
  ],
  [
    "rows in other files where all intervals read the same",
    { bad: sourceOf({ eventTime: "at", allowedEarliness: "1 day" }, "bad") },
    /has allowedEarliness and the files "rows\.parquet", all of which every interval reads, .*; put \{date\} or \{hour\} into them, or leave allowedEarliness out\.$/,
  ],
  [
    "another fate of rows outside their file",
    { bad: sourceOf({ files: "{date}.csv", eventTime: "at", onOutside: "drop" }, "bad") },
    /^source "bad" .* has the onOutside "drop"; give "fail" or "warn"\.$/,
  ],
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
  ...["held", true, null].map((gaps): Misuse => [
    `the gaps ${gaps}`,
    { bad: viewOf({ gaps: gaps as never }, "bad") },
    /has the gaps .*; it is one of hold, serve\.$/,
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

describe("wrong definitions", () => {
  for (const [title, exports, said] of misuses)
    it(`refuses ${title}`, () => {
      const problems = problemsOf({ rows: { rows_view: view, ...exports } });
      assert.ok(
        problems.some((problem) => said.test(problem)),
        `said instead: ${problems.join("\n")}`,
      );
    });
});
