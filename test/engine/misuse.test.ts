/** Every function and method that features are written with, called with what it does not take. */
import assert from "node:assert/strict";
import { buildCatalogue } from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import * as language from "../../engine/index.ts";
import { Expr, isExpr } from "../../engine/language/expression.ts";

const { bool, entity, featureService, featureView, float64, int64, source, string, timestamp } =
  language;

type Call = (...args: readonly unknown[]) => unknown;

const item = entity("item", { key: "id" });
const columns = { id: string, n: int64, x: float64, name: string, ok: bool, at: timestamp };
const rows = source("rows", { files: "rows.parquet", entity: item, columns });
const { n, x, name, ok, at } = rows.columns;
const view = featureView("rows", { source: rows, stores: [n, x] });

/** Of no use anywhere; what a place does take is told by `right`. */
const wrong: readonly unknown[] = [
  undefined,
  null,
  "text",
  "",
  5,
  NaN,
  -1.5,
  1n,
  2n ** 64n,
  true,
  Symbol("s"),
  () => 1,
  [],
  [5],
  [undefined],
  {},
  { kind: "view" },
  { __proto__: null },
  new Date(NaN),
  new Date(8.64e15),
  new Map(),
];

const isNumeric = (v: unknown) => typeof v === "number" || v === 1n;
const isText = (v: unknown) => typeof v === "string";
const isNothing = (v: unknown) => v === undefined;
const never = () => false;

/** A call with arguments that are right, and for each of them what else of the above would be. */
interface Place {
  readonly call: Call;
  readonly args: readonly unknown[];
  readonly right: readonly ((value: unknown) => boolean)[];
}

function method(on: unknown, key: string, ...rest: unknown[]): Place {
  const half = rest.length / 2;
  return {
    call: (...args) => (on as Record<string, Call>)[key]?.(...args),
    args: rest.slice(0, half),
    right: rest.slice(half) as Place["right"],
  };
}

const methods: Readonly<Record<string, Place>> = {
  ...Object.fromEntries(
    ["add", "sub", "mul", "div", "floorDiv", "mod", "eq", "ne", "lt", "lte", "gt", "gte"].map(
      (key) => [key, method(n, key, 1, isNumeric)],
    ),
  ),
  ...Object.fromEntries(
    [
      ...["neg", "abs", "floor", "ceil", "log", "exp", "isNull", "isNotNull"].map(
        (key) => [key, n] as const,
      ),
      ...["lower", "upper", "length"].map((key) => [key, name] as const),
      ...["year", "month", "day", "hour", "dayOfWeek"].map((key) => [key, at] as const),
      ["not", ok] as const,
      ["isNan", x] as const,
    ].map(([key, on]) => [key, method(on, key)]),
  ),
  describe: method(n.mul(2), "describe", "text", isText),
  tag: method(n.mul(2), "tag", { a: "b" }, (v: unknown) => isText(v) === false && isEmptyObject(v)),
  expect: method(n.mul(2), "expect", language.notNull(), never),
  default: method(n.mul(2), "default", 1, (v: unknown) => v === 5 || v === 1n),
  pow: method(n, "pow", 2, never),
  and: method(ok, "and", ok.not(), (v: unknown) => v === true),
  or: method(ok, "or", ok.not(), (v: unknown) => v === true),
  isIn: method(n, "isIn", [1, 2], (v: unknown) => Array.isArray(v) && v[0] === 5),
  fillNull: method(n, "fillNull", 0, isNumeric),
  round: method(x, "round", 2, (v: unknown) => isNothing(v) || v === 5),
  clip: method(
    n,
    "clip",
    0,
    1,
    (v: unknown) => v === -1.5 || v === 1n,
    (v: unknown) => v === 5 || v === 1n,
  ),
  cast: method(n, "cast", float64, never),
  startsWith: method(name, "startsWith", "a", isText),
  concat: method(name, "concat", "a", isText),
};

function isEmptyObject(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every(isText)
  );
}

/** As `method`, of a function of the language. */
const fn = (key: string, ...rest: unknown[]) => method(language, key, ...rest);
const half = n.div(2);
const whole = n.mul(2);

const functions: Readonly<Record<string, Place>> = {
  ...Object.fromEntries(
    ["count", "max", "mean", "min", "std", "sum", "variance"].map((key) => [
      key,
      fn(key, n, never),
    ]),
  ),
  when: {
    call: (c, a, b) => {
      const chosen = (language.when as unknown as Call)(c) as Record<"then", Call>;
      return (chosen.then(a) as Record<"otherwise", Call>).otherwise(b);
    },
    args: [ok, 1, 2],
    right: [never, isNumeric, isNumeric],
  },
  map: fn(
    "map",
    ...["m", { version: 1 }, { n }, int64, (row: { n: number }) => row.n],
    ...[(v: unknown) => v === "text", never, never, never, (v: unknown) => typeof v === "function"],
  ),
  between: { ...fn("between", 0, 9, isLow, isHigh), call: expectation("between") },
  oneOf: { ...fn("oneOf", 1, isNumeric), call: expectation("oneOf") },
  notNull: { ...fn("notNull"), call: expectation("notNull") },
  oneHot: {
    call: (column, values) => {
      const made = (language.oneHot as Call)(column, values) as Record<string, unknown>;
      return made["n_1"];
    },
    args: [n, [1]],
    right: [never, never],
  },
  nullable: {
    call: (type) => sourceOf({ columns: { ...columns, n: (language.nullable as Call)(type) } }),
    args: [int64],
    right: [never],
  },
  column: {
    call: (...args) =>
      sourceOf({ columns: { ...columns, n: (language.column as unknown as Call)(...args) } }),
    args: ["N", int64],
    right: [(v) => v === "text", never],
  },
  valueColumns: {
    call: (from) =>
      featureService("s", (language.valueColumns as unknown as Call)(from) as readonly Expr[]),
    args: [rows],
    right: [never],
  },
  entity: {
    call: (...args) => sourceOf({ entity: (language.entity as Call)(...args) }),
    args: ["item", { key: "id" }],
    right: [(v) => v === "text", never],
  },
  source: fn("source", "other", optionsOfSource({}), (v: unknown) => v === "text", never),
  featureView: fn("featureView", "v", optionsOfView({}), (v: unknown) => v === "text", never),
  featureService: fn(
    "featureService",
    ...["s", [n], {}],
    ...[(v: unknown) => v === "text", never, (v: unknown) => isNothing(v) || isOptions(v)],
  ),
};

function isLow(value: unknown): boolean {
  return value === 5 || value === -1.5 || value === 1n;
}
function isHigh(value: unknown): boolean {
  return value === 5 || value === 1n;
}
function isOptions(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
function expectation(key: "between" | "oneOf" | "notNull"): Call {
  return (...args) => n.mul(2).expect((language[key] as Call)(...args) as never);
}
function optionsOfSource(options: object): object {
  return { files: "other.parquet", entity: item, columns, ...options };
}
function sourceOf(options: object): unknown {
  return source("other", optionsOfSource(options) as never);
}
function optionsOfView(options: object): object {
  return { source: source("other", optionsOfSource({}) as never), stores: [], ...options };
}

/** Options: what is right of each, beside being left out. */
const members: Readonly<Record<string, readonly [make: Call, right: (v: unknown) => boolean]>> = {
  "entity.key": [(key) => sourceOf({ entity: entity("e", { key } as never) }), never],
  "source.files": [(files) => sourceOf({ files }), never],
  "source.columns": [(its) => sourceOf({ columns: its }), never],
  "source.columns.n": [(type) => sourceOf({ columns: { ...columns, n: type } }), never],
  "source.entity": [(its) => sourceOf({ entity: its }), never],
  "source.eventTime": [(eventTime) => sourceOf({ eventTime }), isNothing],
  "source.allowedLateness": [(allowedLateness) => sourceOf({ allowedLateness }), isNothing],
  "source.allowedEarliness": [(allowedEarliness) => sourceOf({ allowedEarliness }), isNothing],
  "source.onOutside": [(onOutside) => sourceOf({ onOutside }), isNothing],
  "source.csv": [(csv) => sourceOf({ csv }), (v) => isNothing(v) || isOptions(v)],
  "source.csv.separator": [(separator) => sourceOf({ csv: { separator } }), isNothing],
  ...Object.fromEntries(
    (
      [
        ["source", never],
        ["stores", (v) => Array.isArray(v) && v.length === 0],
        ["ttlSeconds", (v) => isNothing(v) || v === 5],
        ["onOutdated", (v) => isNothing(v) || v === null],
        ["onStoreDown", (v) => isNothing(v) || v === null],
        ["gaps", isNothing],
        ["expectedEntities", (v) => isNothing(v) || v === null || v === 5],
        ["schedule", isNothing],
        ["description", (v) => isNothing(v) || isText(v)],
      ] as readonly (readonly [string, (v: unknown) => boolean])[]
    ).map(([key, right]) => [`view.${key}`, [(v: unknown) => viewWith({ [key]: v }), right]]),
  ),
  ...Object.fromEntries(
    (
      [
        ["every", never],
        ["cron", isNothing],
        ["timeZone", isNothing],
        ["offset", isNothing],
        ["jitter", isNothing],
        ["start", never],
        ["catchup", (v) => isNothing(v) || v === true],
        ["allowedLateness", (v) => isNothing(v) || v === 5],
        ["pauseOnFailure", (v) => isNothing(v) || v === true],
        ["dependsOn", isListOfNothing],
        ["waitFor", isListOfNothing],
        ["workflow", (v) => isNothing(v) || isText(v)],
        ["retry", (v) => isNothing(v) || isOptions(v)],
        ["maxActiveRuns", (v) => isNothing(v) || v === 5],
        ["pool", isNothing],
        ["deadline", isNothing],
        ["onFailure", isListOfNothing],
        ["onLate", isListOfNothing],
      ] as readonly (readonly [string, (v: unknown) => boolean])[]
    ).map(([key, right]) => [
      `schedule.${key}`,
      [
        (v: unknown) => viewWith({ schedule: { every: "1 day", start: "2026-01-01", [key]: v } }),
        right,
      ],
    ]),
  ),
  "service.description": [
    (description) => featureService("s", [n], { description } as never),
    (v) => isNothing(v) || isText(v),
  ],
};

function isListOfNothing(value: unknown): boolean {
  return isNothing(value) || (Array.isArray(value) && value.length === 0);
}
function viewWith(options: object): unknown {
  return featureView("v", optionsOfView(options) as never);
}

/** The problems of a module that exports what was made; those of other kinds of failure throw. */
function problemsOf(made: unknown): readonly string[] {
  try {
    buildCatalogue({ orders: { rows_view: view, half, whole, made } });
    return [];
  } catch (error) {
    assert.ok(error instanceof OnceflowError, `a ${String(error)}`);
    assert.equal(error.code, "DEFINITION_INVALID");
    return error.details["problems"] as readonly string[];
  }
}

function show(value: unknown): string {
  if (typeof value === "object" && value !== null) return Object.prototype.toString.call(value);
  return String(value);
}

describe("misuse of the language", () => {
  it("is tried for every function and every method there is", () => {
    const own = Object.getOwnPropertyNames(Expr.prototype).filter((key) => key !== "constructor");
    assert.deepEqual(Object.keys(methods).sort(), own.sort());
    const called = Object.entries(language).filter(([, value]) => typeof value === "function");
    assert.deepEqual(Object.keys(functions).sort(), called.map(([key]) => key).sort());
  });

  for (const [what, { call, args, right }] of Object.entries({ ...methods, ...functions }))
    it(`is refused by file and name: ${what}`, () => {
      const made = call(...args);
      const isSame =
        isExpr(made) && made.notes.expectations.length + Object.keys(made.notes.tags).length === 0;
      if (!isSame || !["describe", "default"].includes(what))
        assert.deepEqual(
          problemsOf(made).filter(
            (said) => !said.includes("another name") && !said.includes("no feature view covers"),
          ),
          [],
        );
      args.forEach((_, place) => {
        for (const value of wrong) {
          if (right[place]?.(value) === true) continue;
          const said = problemsOf(call(...args.map((each, at) => (at === place ? value : each))));
          const where = `${what}, argument ${place + 1}, ${show(value)}: ${said.join("; ")}`;
          const own = said.filter((each) => !each.includes("another name"));
          assert.ok(own.length > 0, where);
          for (const each of own) assert.match(each, /".*" \(features\/orders\.ts\)/, where);
        }
      });
    });

  for (const [what, [make, right]] of Object.entries(members))
    it(`is refused by file and name: ${what}`, () => {
      for (const value of wrong) {
        const said = problemsOf(make(value));
        const where = `${show(value)}: ${said.join("; ")}`;
        if (right(value)) assert.deepEqual(said, [], where);
        else {
          assert.ok(said.length > 0, where);
          for (const each of said) assert.match(each, /".*" \(features\/orders\.ts\)/, where);
        }
      }
    });
});
