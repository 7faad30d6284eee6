/**
 * What must not compile. Each line under `@ts-expect-error` is an error of the type checker; were it
 * to compile, `npm run types` would fail on the directive. At run time they build invalid nodes.
 */
import assert from "node:assert/strict";
import { buildCatalogue } from "../../../engine/catalogue.ts";
import type { Dtype } from "../../../engine/language/dtypes.ts";
import type { Expr } from "../../../engine/language/expression.ts";
import {
  bool,
  column,
  entity,
  featureService,
  featureView,
  float64,
  int64,
  listFloat64,
  map,
  nullable,
  mean,
  min,
  oneHot,
  source,
  string,
  sum,
  timestamp,
  when,
} from "../../../engine/index.ts";
import type { Shape } from "../../../engine/language/node.ts";

const columns = {
  id: string,
  n: int64,
  x: float64,
  name: string,
  ok: bool,
  at: timestamp,
  vector: listFloat64,
};
const item = entity("item", { key: "id" });
const rows = source("rows", { files: "rows.parquet", entity: item, columns });
const { n, x, name, ok, at, vector } = rows.columns;

/** Fails to compile unless both are the same type. */
function sameType<A, B>(..._: [A] extends [B] ? ([B] extends [A] ? [] : [never]) : [never]): void {
  assert.equal(_.length, 0);
}
type TypeOf<E> = E extends Expr<infer D, infer S> ? `${D} ${S}` : never;

describe("the types of expressions", () => {
  it("follow the dtypes and shapes of their inputs", () => {
    const sumOfColumns = n.add(n);
    const withFraction = n.add(0.5);
    const centred = n.sub(mean(n));
    const scalar = mean(n).div(2);
    const chosen = when(ok).then(n).otherwise(0);
    const literals = when(ok).then(1).otherwise(0.5);
    const flags = when(ok).then(true).otherwise(false);
    assert.deepEqual([literals.node.dtype, flags.node.dtype], ["float64", "bool"]);
    sameType<TypeOf<typeof literals>, "float64 column">();
    sameType<TypeOf<typeof flags>, "bool column">();
    const mapped = source("mapped", {
      files: "mapped.csv",
      entity: item,
      columns: { id: column("ID", string), n: nullable(column("N", int64)) },
    }).columns.n;
    sameType<TypeOf<typeof mapped>, "int64 column">();
    assert.equal(mapped.node.dtype, "int64");
    const filled = name.fillNull("");
    const { n_1 } = oneHot(n, [1, 2]);
    sameType<TypeOf<typeof sumOfColumns>, "int64 column">();
    sameType<TypeOf<typeof withFraction>, "float64 column">();
    sameType<TypeOf<typeof centred>, "float64 column">();
    sameType<TypeOf<typeof scalar>, "float64 scalar">();
    sameType<TypeOf<typeof chosen>, "int64 column">();
    sameType<TypeOf<typeof filled>, "string column">();
    sameType<TypeOf<typeof n_1>, "int64 column">();
    sameType<TypeOf<ReturnType<typeof n.gt>>, "bool column">();
    const all: readonly Expr<Dtype, Shape>[] = [
      sumOfColumns,
      withFraction,
      centred,
      scalar,
      chosen,
      filled,
      n_1,
    ];
    assert.deepEqual(
      all.map(({ node }) => `${node.dtype} ${node.shape}`),
      [
        "int64 column",
        "float64 column",
        "float64 column",
        "float64 scalar",
        "int64 column",
        "string column",
        "int64 column",
      ],
    );
  });

  it("refuse misuse, which the catalogue refuses too", () => {
    const misuses: readonly { readonly node: { readonly kind: string } }[] = [
      // @ts-expect-error a misspelt column
      rows.columns.nn,
      // @ts-expect-error arithmetic on text
      name.add(1),
      // @ts-expect-error arithmetic with text
      n.add(name),
      // @ts-expect-error arithmetic with text
      n.add("1"),
      // @ts-expect-error arithmetic on a bool
      ok.mul(2),
      // @ts-expect-error arithmetic on timestamps
      at.sub(at),
      // @ts-expect-error a bool compared with a number
      ok.eq(1),
      // @ts-expect-error a number compared with text
      n.eq("1"),
      // @ts-expect-error a number compared with a column of text
      n.lt(name),
      // @ts-expect-error order of lists
      vector.lt(vector),
      // @ts-expect-error a timestamp compared with a number
      at.gt(0),
      // @ts-expect-error candidates of another dtype
      n.isIn(["1"]),
      // @ts-expect-error logic on a number
      n.and(ok),
      // @ts-expect-error logic with a number
      ok.and(n),
      // @ts-expect-error a condition that is no bool
      when(n).then(n).otherwise(0),
      // @ts-expect-error branches of two dtypes
      when(ok).then(n).otherwise("none"),
      // @ts-expect-error a filler of another dtype
      n.fillNull("none"),
      // @ts-expect-error rounding an integer
      n.round(2),
      // @ts-expect-error case of a number
      n.lower(),
      // @ts-expect-error parts of an integer
      n.year(),
      // @ts-expect-error a list has no cast
      vector.cast(string),
      // @ts-expect-error a cast to a list
      x.cast(listFloat64),
      // @ts-expect-error text has no mean
      mean(name),
      // @ts-expect-error timestamps have no sum
      sum(at),
      // @ts-expect-error text has no least value
      min(name),
    ];
    const kinds = misuses.map(({ node }) => node.kind);
    assert.deepEqual(
      kinds.map((kind, i) => (kind === "invalid" ? "" : `misuse ${i} is ${kind}`)).filter(Boolean),
      [],
    );
  });

  it("refuse misuse of definitions", () => {
    // @ts-expect-error the event time is a column of the source
    source("bad", { files: "", entity: item, columns: { id: string }, eventTime: "at" });
    // @ts-expect-error an aggregate is not stored
    featureView("bad", { source: rows, stores: [mean(n)] });
    // @ts-expect-error a service lists expressions, not names
    assert.throws(() => buildCatalogue({ m: { s: featureService("bad", ["n"]) } }));
    // @ts-expect-error aggregates do not nest
    mean(mean(n));
    // @ts-expect-error a small whole power
    n.pow(2.5);
    // @ts-expect-error a prefix is a literal
    name.startsWith(name);
    // @ts-expect-error a default of the feature's dtype
    n.default("none");
    // @ts-expect-error a user function returns its dtype
    map("bad", { version: 1 }, { n }, int64, () => "text");
    // @ts-expect-error a user function gets its inputs alone
    map("worse", { version: 1 }, { n }, int64, ({ m }: { m: number }) => m);
    // @ts-expect-error a one-hot of the column's dtype
    oneHot(n, ["a"]);
    const { n_1, ...others } = oneHot(n, [1]);
    assert.equal(n_1.node.kind, "operation");
    // @ts-expect-error a one-hot has the values that it was given
    void others.n_2;
  });
});
