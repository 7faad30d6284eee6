/**
 * How a feature is written: a typed, immutable wrapper around the expression tree.
 *
 * Methods build nodes by the operation table, so that a name, a dtype and a shape are right or the
 * program does not compile. Misuse that gets past the compiler becomes an invalid node, which the
 * catalogue reports.
 */
import { invalidNode, literal, operationNode } from "./build.ts";
import { type ColumnType, type Dtype, type Int64, isColumnType, type Value } from "./dtypes.ts";
import type { Expectation, Predicate } from "./expectations.ts";
import type { InvalidNode, Node, Shape } from "./node.ts";
import type { OperationName } from "../operations/table.ts";
import { isRecord } from "./record.ts";
import { showValue } from "../wire.ts";

export type Numeric = "int64" | "float64";
type Ordered = Exclude<Dtype, "list_float64">;

/** What may stand for a value of a dtype beside an expression. */
interface Literals {
  bool: boolean;
  int64: Int64;
  float64: number;
  string: string;
  timestamp: Date;
  list_float64: never;
}
export type LiteralOf<D extends Dtype> = Literals[D];

/** The dtype of a number literal where that can be told: 2 is int64, 2.5 is float64. */
type DtypeOfNumber<N> = N extends bigint
  ? "int64"
  : N extends number
    ? number extends N
      ? Numeric
      : `${N}` extends `${bigint}`
        ? "int64"
        : "float64"
    : never;
type NumericOperand = Expr<Numeric> | Int64;
export type OperandDtype<B> = B extends Expr<infer D> ? D : DtypeOfNumber<B>;
export type OperandShape<B> = B extends Expr<Dtype, infer S> ? S : "scalar";
export type Wider<A, B> = A extends "int64" ? (B extends "int64" ? "int64" : "float64") : "float64";
export type Joined<A, B> = "column" extends A | B ? "column" : "scalar";
type Comparable<D extends Dtype> = D extends Numeric ? NumericOperand : Expr<D> | LiteralOf<D>;

/** What is said of a feature besides its formula; in no fingerprint. */
export interface FeatureNotes {
  readonly description: string | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly expectations: readonly Expectation[];
  /** Served, with its status, where the entity is unknown or its row too old. */
  readonly defaultValue: Value | undefined;
}

const noNotes: FeatureNotes = Object.freeze({
  description: undefined,
  tags: Object.freeze({}),
  expectations: Object.freeze([]),
  defaultValue: undefined,
});

/** What happens to a materialization when an expectation does not hold: fail, by default. */
export interface ExpectOptions {
  readonly onFail: "fail" | "warn";
}

/** Marks expressions across copies of this module, which two loaders in one process make. */
const brand = Symbol.for("onceflow.expression");

/** Whether a value is an expression. */
export function isExpr(value: unknown): value is Expr {
  return typeof value === "object" && value !== null && brand in value;
}

/** An expression over columns and other features. Its name is the name it is exported by. */
export class Expr<D extends Dtype = Dtype, S extends Shape = Shape> {
  /** Carries the types alone; no value has it. */
  declare readonly typed: { readonly dtype: D; readonly shape: S };
  readonly [brand] = true;
  readonly node: Node;
  readonly notes: FeatureNotes;

  constructor(node: Node, notes: FeatureNotes = noNotes) {
    this.node = node;
    this.notes = notes;
    Object.freeze(this);
  }

  /** Says what the value is, with its unit. */
  describe(description: string): Expr<D, S> {
    if (typeof description !== "string")
      return misused(this, "a.describe(text)", "a text", description);
    return new Expr(this.node, Object.freeze({ ...this.notes, description }));
  }

  /** Adds labels to search by. */
  tag(tags: Readonly<Record<string, string>>): Expr<D, S> {
    if (!isRecord(tags) || !Object.values(tags).every((label) => typeof label === "string"))
      return misused(this, "a.tag(tags)", "an object of texts", tags);
    const all = Object.freeze({ ...this.notes.tags, ...tags });
    return new Expr(this.node, Object.freeze({ ...this.notes, tags: all }));
  }

  /** Adds what must hold of every value, in batch before any row is written, and online. */
  expect(...rules: readonly [...Predicate[], Predicate | ExpectOptions]): Expr<D, S> {
    const last = rules.at(-1);
    const options = isRecord(last) && "onFail" in last ? last : undefined;
    const onFail = options?.onFail ?? "fail";
    if (onFail !== "fail" && onFail !== "warn")
      return misused(this, "a.expect(…)", 'an onFail of "fail" or "warn"', onFail);
    const predicates = (options === undefined ? rules : rules.slice(0, -1)) as Predicate[];
    const wrong = predicates.findIndex((each) => !isPredicate(each));
    if (wrong >= 0 || predicates.length === 0)
      return misused(this, "a.expect(…)", "conditions such as between(0, 1)", predicates[wrong]);
    const added = predicates.map((predicate) => Object.freeze({ predicate, onFail }));
    const expectations = Object.freeze([...this.notes.expectations, ...added]);
    return new Expr(this.node, Object.freeze({ ...this.notes, expectations }));
  }

  /** The value served, with its status, where the entity is unknown or its row is too old. */
  default(value: LiteralOf<D>): Expr<D, S> {
    const defaultValue = defaultOf(this.node.dtype, value);
    if (defaultValue === undefined)
      return invalid(
        this.node.dtype as D,
        `has a default that is no ${this.node.dtype}.`,
        [this.node],
        "feature",
      );
    return new Expr(this.node, Object.freeze({ ...this.notes, defaultValue }));
  }

  add<B extends NumericOperand>(
    this: Expr<Numeric>,
    other: B,
  ): Expr<Wider<D, OperandDtype<B>>, Joined<S, OperandShape<B>>> {
    return operation("add", this, other);
  }

  sub<B extends NumericOperand>(
    this: Expr<Numeric>,
    other: B,
  ): Expr<Wider<D, OperandDtype<B>>, Joined<S, OperandShape<B>>> {
    return operation("sub", this, other);
  }

  mul<B extends NumericOperand>(
    this: Expr<Numeric>,
    other: B,
  ): Expr<Wider<D, OperandDtype<B>>, Joined<S, OperandShape<B>>> {
    return operation("mul", this, other);
  }

  /** True division: always float64. */
  div<B extends NumericOperand>(
    this: Expr<Numeric>,
    other: B,
  ): Expr<"float64", Joined<S, OperandShape<B>>> {
    return operation("div", this, other);
  }

  /** The quotient rounded towards −∞. */
  floorDiv<B extends NumericOperand>(
    this: Expr<Numeric>,
    other: B,
  ): Expr<Wider<D, OperandDtype<B>>, Joined<S, OperandShape<B>>> {
    return operation("floor_div", this, other);
  }

  /** The remainder of `floorDiv`. */
  mod<B extends NumericOperand>(
    this: Expr<Numeric>,
    other: B,
  ): Expr<Wider<D, OperandDtype<B>>, Joined<S, OperandShape<B>>> {
    return operation("mod", this, other);
  }

  /** A small whole power, by multiplication: 2, 3 or 4. */
  pow(this: Expr<Numeric>, exponent: 2 | 3 | 4): Expr<D, S> {
    if (![2, 3, 4].includes(exponent)) return misused(this, "a.pow(n)", "2, 3 or 4", exponent);
    let power: Node = this.node;
    for (let i = 1; i < exponent; i++) power = operationNode("mul", [power, this.node]);
    return new Expr(power);
  }

  neg(this: Expr<Numeric>): Expr<D, S> {
    return operation("neg", this);
  }

  abs(this: Expr<Numeric>): Expr<D, S> {
    return operation("abs", this);
  }

  eq<B extends Comparable<D>>(other: B): Expr<"bool", Joined<S, OperandShape<B>>> {
    return operation("eq", this, other);
  }

  ne<B extends Comparable<D>>(other: B): Expr<"bool", Joined<S, OperandShape<B>>> {
    return operation("ne", this, other);
  }

  lt<B extends Comparable<D>>(
    this: Expr<Ordered>,
    other: B,
  ): Expr<"bool", Joined<S, OperandShape<B>>> {
    return operation("lt", this, other);
  }

  lte<B extends Comparable<D>>(
    this: Expr<Ordered>,
    other: B,
  ): Expr<"bool", Joined<S, OperandShape<B>>> {
    return operation("lte", this, other);
  }

  gt<B extends Comparable<D>>(
    this: Expr<Ordered>,
    other: B,
  ): Expr<"bool", Joined<S, OperandShape<B>>> {
    return operation("gt", this, other);
  }

  gte<B extends Comparable<D>>(
    this: Expr<Ordered>,
    other: B,
  ): Expr<"bool", Joined<S, OperandShape<B>>> {
    return operation("gte", this, other);
  }

  /** Whether the value equals one of these literals. */
  isIn(this: Expr<Ordered>, values: readonly LiteralOf<D>[]): Expr<"bool", S> {
    if (!Array.isArray(values))
      return misused(this, "a.isIn([…])", "an array of literals", values, "bool");
    return operation("is_in", this, ...(values as readonly Operand[]));
  }

  and<T extends Shape>(this: Expr<"bool">, other: Expr<"bool", T>): Expr<"bool", Joined<S, T>> {
    return operation("and", this, other);
  }

  or<T extends Shape>(this: Expr<"bool">, other: Expr<"bool", T>): Expr<"bool", Joined<S, T>> {
    return operation("or", this, other);
  }

  not(this: Expr<"bool">): Expr<"bool", S> {
    return operation("not", this);
  }

  isNull(): Expr<"bool", S> {
    return operation("is_null", this);
  }

  isNotNull(): Expr<"bool", S> {
    return this.isNull().not();
  }

  isNan(this: Expr<"float64">): Expr<"bool", S> {
    return operation("is_nan", this);
  }

  /** The value, or the other one where it is null. */
  fillNull<B extends Expr<D> | LiteralOf<D>>(other: B): Expr<D, Joined<S, OperandShape<B>>> {
    return operation("fill_null", this, other);
  }

  /** Rounds to 0 to 15 decimals, ties to even. */
  round(this: Expr<"float64">, decimals = 0): Expr<"float64", S> {
    if (!Number.isInteger(decimals) || decimals < 0 || decimals > 15)
      return invalid(
        "float64",
        `round takes 0 to 15 decimals, not ${showValue(decimals)}.`,
        [this.node],
        "feature",
      );
    return operation("round", this, decimals);
  }

  floor(this: Expr<Numeric>): Expr<"float64", S> {
    return operation("floor", this);
  }

  ceil(this: Expr<Numeric>): Expr<"float64", S> {
    return operation("ceil", this);
  }

  /** The value, or the nearer bound where it lies outside. */
  clip(this: Expr<Numeric>, low: LiteralOf<D>, high: LiteralOf<D>): Expr<D, S> {
    return operation("clip", this, low, high);
  }

  /** Natural logarithm. */
  log(this: Expr<Numeric>): Expr<"float64", S> {
    return operation("log", this);
  }

  exp(this: Expr<Numeric>): Expr<"float64", S> {
    return operation("exp", this);
  }

  /** Converts to another dtype; docs/semantics.md says which and how. */
  cast<T extends Ordered>(this: Expr<Ordered>, to: ColumnType<T>): Expr<T, S> {
    if (!isColumnType(to))
      return misused<never, never>(this, "a.cast(dtype)", "a dtype such as int64", to);
    if (!Object.hasOwn(casts, to.dtype))
      return invalid(to.dtype, `a.cast(dtype) has no cast to ${to.dtype}.`, [this.node]);
    return operation(casts[to.dtype], this);
  }

  lower(this: Expr<"string">): Expr<"string", S> {
    return operation("lower", this);
  }

  upper(this: Expr<"string">): Expr<"string", S> {
    return operation("upper", this);
  }

  /** Number of code points. */
  length(this: Expr<"string">): Expr<"int64", S> {
    return operation("length", this);
  }

  startsWith(this: Expr<"string">, prefix: string): Expr<"bool", S> {
    return operation("starts_with", this, prefix);
  }

  concat<B extends Expr<"string"> | string>(
    this: Expr<"string">,
    other: B,
  ): Expr<"string", Joined<S, OperandShape<B>>> {
    return operation("concat", this, other);
  }

  year(this: Expr<"timestamp">): Expr<"int64", S> {
    return operation("year", this);
  }

  month(this: Expr<"timestamp">): Expr<"int64", S> {
    return operation("month", this);
  }

  day(this: Expr<"timestamp">): Expr<"int64", S> {
    return operation("day", this);
  }

  hour(this: Expr<"timestamp">): Expr<"int64", S> {
    return operation("hour", this);
  }

  /** 1 for Monday to 7 for Sunday. */
  dayOfWeek(this: Expr<"timestamp">): Expr<"int64", S> {
    return operation("day_of_week", this);
  }
}

const casts = {
  bool: "to_bool",
  int64: "to_int64",
  float64: "to_float64",
  string: "to_string",
  timestamp: "to_timestamp",
} as const satisfies Record<Ordered, OperationName>;

/** An expression to refuse, since a method of another got what it does not take. */
function misused<D extends Dtype, S extends Shape>(
  { node }: Expr,
  spelling: string,
  expected: string,
  got: unknown,
  dtype: Dtype = node.dtype,
): Expr<D, S> {
  return invalid(dtype, `${spelling} takes ${expected}; got ${showValue(got)}.`, [node]) as Expr<
    D,
    S
  >;
}

/** The default as a value of the dtype; undefined where it is none. */
function defaultOf(dtype: Dtype, given: unknown): Value | undefined {
  const { value, dtype: its } = literal(given);
  if (value === undefined) return undefined;
  if (its === dtype) return value;
  if (its === "int64" && dtype === "float64") return Number(value);
  // −0 and integers beyond 2^53 are read as doubles.
  return dtype === "int64" && Number.isSafeInteger(value) ? 0 : undefined;
}

function isPredicate(value: unknown): value is Predicate {
  return (
    isRecord(value) && typeof value["text"] === "string" && typeof value["violated"] === "function"
  );
}

type Operand = Expr | Exclude<Value, null> | Date;

function operation<D extends Dtype, S extends Shape>(
  name: OperationName,
  ...operands: readonly Operand[]
): Expr<D, S> {
  return new Expr(operationNode(name, operands.map(toNode)));
}

/** The expression, or the literal as a node; a value of another kind becomes an invalid node. */
export function toNode(operand: unknown): Node {
  return isExpr(operand) ? operand.node : literal(operand);
}

/** An expression that the catalogue will refuse, for this reason. */
export function invalid<D extends Dtype, S extends Shape>(
  dtype: D,
  problem: string,
  inputs: readonly Node[],
  saidOf?: InvalidNode["saidOf"],
): Expr<D, S> {
  return new Expr(invalidNode(dtype, "column", problem, inputs, saidOf));
}

/** Expressions by name, and an invalid one for every name that is none of theirs. */
export function withUnknown(
  expressions: Readonly<Record<string, Expr>>,
  problem: (name: string) => string,
  saidOf: InvalidNode["saidOf"],
): Readonly<Record<string, Expr>> {
  return new Proxy(Object.freeze(expressions), {
    get(target, key, receiver) {
      // Loaders and printers probe objects for `then`, `toJSON` and symbols.
      if (typeof key !== "string" || key in target || key === "then" || key === "toJSON")
        return Reflect.get(target, key, receiver) as unknown;
      return invalid("float64", problem(key), [], saidOf);
    },
  });
}

/** A column of a source, which knows its own name. */
export type Column<Name extends string = string, D extends Dtype = Dtype> = Expr<D, "column"> & {
  readonly typed: { readonly column: Name };
};
