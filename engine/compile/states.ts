/**
 * The states of aggregates over a frame. polars counts and looks at the range of each input first;
 * the range then says how its values are cut into integers whose sums are exact: "limbs", the parts
 * of a double at the binary positions 2^(32k). What is too wide for that is added up here, value by
 * value, to the same integers.
 */
import pl from "nodejs-polars";
import {
  type AggregateName,
  aggregateOf,
  type Fold,
  type Folds,
  foldsOf,
  noFolds,
  plusZero,
  type State,
} from "../aggregates.ts";
import { unitExponent } from "../exact.ts";
import { fingerprintOf } from "../fingerprint.ts";
import type { Dtype, Value } from "../language/dtypes.ts";
import { toInt64 } from "../language/int64.ts";
import type { Node } from "../language/node.ts";
import type { PolarsExpr } from "../operations/table.ts";
import { compileBatch, type Frame } from "./batch.ts";
import { columnNamed, heightOf, lazyOf, toColumns, valueAt } from "./frame.ts";

/** An aggregate to take the state of. */
export interface AggregateRequest {
  readonly fingerprint: string;
  readonly aggregate: AggregateName;
  readonly input: Node;
}

/** An input of aggregates, with all that they need of it: they share what is taken. */
interface Input {
  readonly column: string;
  readonly node: Node;
  readonly needs: ReadonlySet<Fold>;
  readonly survey: readonly PolarsExpr[];
}

/** What is known of an input before its sums are taken. */
interface Survey {
  readonly counts: Omit<Folds, "sum" | "squares">;
  /** Exponents of the least and greatest magnitude of a finite double above zero. */
  readonly exponents: readonly [least: number, greatest: number] | undefined;
}

/** One integer of polars, and what it counts: it is multiplied by 2^exponent. */
interface Term {
  readonly expression: PolarsExpr;
  readonly exponent: number;
}

/** How the sums of an input are taken by polars. */
interface SumPlan {
  /** Columns to add first, each step resting on those before. */
  readonly steps: readonly (readonly PolarsExpr[])[];
  readonly sum: readonly Term[];
  readonly squares: readonly Term[];
}

const limbBits = 32;
/** Limbs of a sum at most: a wider range of magnitudes is added up value by value. */
const mostLimbs = 8;
/** Of doubles whose limbs, and the powers of two in between, stay far from the limits of a double. */
const widestExponents = { sum: [-900, 900], squares: [-450, 450] } as const;
const wordSize = 2 ** 32;
const int64Limit = 2n ** 63n;

/** Computes the states of aggregates over a frame, keyed by their fingerprints. */
export function compileStates(
  requests: readonly AggregateRequest[],
): (frame: Frame) => Promise<ReadonlyMap<string, State>> {
  const inputs = inputsOf(requests);
  const program = compileBatch(
    [...inputs.values()].map(({ column: name, node }) => ({ name, node })),
  );
  const planned = new Map<string, SumPlan>();
  return async (frame) => {
    const folds = new Map([...inputs.keys()].map((key): [string, Folds] => [key, noFolds]));
    if (heightOf(frame) > 0 && requests.length > 0) {
      const computed = await program.run(frame, new Map());
      const surveys = await surveyOf(computed, [...inputs.values()]);
      const sums = await sumsOf(computed, [...inputs.values()], surveys, planned);
      for (const [i, key] of [...inputs.keys()].entries()) {
        folds.set(key, { ...(surveys[i] as Survey).counts, ...(sums[i] as Sums) });
      }
    }
    return new Map(
      requests.map(({ fingerprint, aggregate, input }) => [
        fingerprint,
        aggregateOf(aggregate).state(folds.get(fingerprintOf(input)) ?? noFolds, input.dtype),
      ]),
    );
  };
}

type Sums = Pick<Folds, "sum" | "squares">;

function inputsOf(requests: readonly AggregateRequest[]): ReadonlyMap<string, Input> {
  const found = new Map<string, { readonly node: Node; readonly needs: Set<Fold> }>();
  for (const { aggregate, input } of requests) {
    const key = fingerprintOf(input);
    const own = found.get(key) ?? { node: input, needs: new Set<Fold>() };
    for (const need of aggregateOf(aggregate).needs) own.needs.add(need);
    found.set(key, own);
  }
  return new Map(
    [...found].map(([key, { node, needs }], i) => {
      const column = `__input_${i}`;
      return [key, { column, node, needs, survey: surveyExpressions(column, node.dtype, needs) }];
    }),
  );
}

/** Count, extremes, and for doubles whose sum is wanted what is no number and the magnitudes. */
function surveyExpressions(
  column: string,
  dtype: Dtype,
  needs: ReadonlySet<Fold>,
): readonly PolarsExpr[] {
  const x = columnNamed(column);
  const wantsRange = needs.has("extremes") || (dtype === "int64" && needs.has("sum"));
  const isInteger = dtype === "int64" || dtype === "timestamp";
  const scalar = (each: PolarsExpr) => (isInteger ? each.cast(pl.Int64).cast(pl.Utf8) : each);
  const none = pl.lit(null);
  const expressions = [
    x.count().cast(pl.Float64),
    wantsRange ? scalar(x.min()) : none,
    wantsRange ? scalar(x.max()) : none,
  ];
  if (dtype === "float64" && needs.has("sum")) {
    const magnitude = x.abs();
    // NaN is above infinity to polars.
    const finite = magnitude.gt(pl.lit(0)).and(magnitude.lt(pl.lit(Infinity)));
    const kept = pl.when(finite).then(magnitude).otherwise(pl.lit(null));
    const countOf = (each: PolarsExpr) => each.sum().cast(pl.Float64);
    expressions.push(
      countOf(x.isNan()),
      countOf(x.eq(pl.lit(Infinity))),
      countOf(x.eq(pl.lit(-Infinity))),
      kept.min(),
      kept.max(),
    );
  }
  return expressions.map((each, i) => each.alias(`${column}_${i}`));
}

/** All surveys by one query, whose row holds every integer exactly: as text. */
async function surveyOf(computed: Frame, inputs: readonly Input[]): Promise<Survey[]> {
  const expressions = inputs.flatMap(({ survey }) => survey);
  const table = await lazyOf(computed).select(expressions).collect();
  const cells = table.row(0) as (string | number | null)[];
  let next = 0;
  return inputs.map(({ node: { dtype }, survey }) => {
    const [count, least, greatest, nans, positive, negative, small, large] = cells.slice(
      next,
      (next += survey.length),
    );
    const extremeOf = (cell: string | number | null | undefined): Value =>
      typeof cell === "string" ? toInt64(BigInt(cell)) : plusZero(cell ?? null);
    return {
      counts: {
        count: Number(count),
        least: extremeOf(least),
        greatest: extremeOf(greatest),
        nans: Number(nans ?? 0),
        positiveInfinities: Number(positive ?? 0),
        negativeInfinities: Number(negative ?? 0),
      },
      exponents:
        dtype === "float64" && typeof small === "number" && typeof large === "number"
          ? [exponentOf(small), exponentOf(large)]
          : undefined,
    };
  });
}

/** The greatest e with 2^e ≤ x, or one less where the logarithm is rounded. */
function exponentOf(x: number): number {
  return Math.floor(Math.log2(x)) - 1;
}

async function sumsOf(
  computed: Frame,
  inputs: readonly Input[],
  surveys: readonly Survey[],
  planned: Map<string, SumPlan>,
): Promise<Sums[]> {
  const plans = inputs.map((input, i) => {
    const survey = surveys[i] as Survey;
    if (!input.needs.has("sum") || survey.counts.count === 0) return noSums;
    return planOf(input, survey, planned);
  });
  let lazy = lazyOf(computed);
  const steps = Math.max(0, ...plans.map((plan) => plan?.steps.length ?? 0));
  for (let step = 0; step < steps; step++)
    lazy = lazy.withColumns(...plans.flatMap((plan) => plan?.steps[step] ?? []));
  const terms = plans.flatMap((plan) => (plan === undefined ? [] : [...plan.sum, ...plan.squares]));
  const cells =
    terms.length === 0
      ? []
      : ((await lazy.select(terms.map(({ expression }) => expression)).collect()).row(0) as (
          string | null
        )[]);
  let next = 0;
  const total = (own: readonly Term[], unit: number): bigint => {
    let sum = 0n;
    for (const { exponent } of own) {
      const integer = BigInt(cells[next++] ?? 0);
      // A limb that lies below the unit holds nothing but zeros there.
      sum +=
        exponent >= unit ? integer << BigInt(exponent - unit) : integer >> BigInt(unit - exponent);
    }
    return sum;
  };
  return plans.map((plan, i) => {
    const { column, node, needs } = inputs[i] as Input;
    if (plan === undefined) return addedUp(computed, column, node.dtype, needs);
    const unit = unitExponent(node.dtype);
    return { sum: total(plan.sum, unit), squares: total(plan.squares, 2 * unit) };
  });
}

const noSums: SumPlan = { steps: [], sum: [], squares: [] };

/** How the sums are taken; undefined where they are better added up value by value. */
function planOf(
  { column, node: { dtype }, needs }: Input,
  survey: Survey,
  planned: Map<string, SumPlan>,
): SumPlan | undefined {
  const wantsSquares = needs.has("squares");
  const facts =
    dtype === "float64" ? floatFacts(survey, wantsSquares) : integerFacts(survey, wantsSquares);
  if (facts === undefined) return undefined;
  // Expressions take long to build, and chunk after chunk has the same range.
  const key = `${column} ${JSON.stringify(facts)}`;
  let plan = planned.get(key);
  if (plan === undefined) {
    plan = "positions" in facts ? planFloats(column, facts) : planIntegers(column, facts);
    planned.set(key, plan);
  }
  return plan;
}

/** The least and the greatest position of the limbs. */
type Positions = readonly [least: number, greatest: number];

interface FloatFacts {
  readonly positions: Positions;
  /** Undefined where squares are not wanted. */
  readonly squares: Positions | undefined;
  readonly hasSpecials: boolean;
}

function floatFacts(survey: Survey, wantsSquares: boolean): FloatFacts | undefined {
  const { counts, exponents = [0, 0] } = survey;
  const { nans, positiveInfinities, negativeInfinities } = counts;
  const [least, greatest] = exponents;
  const [lowest, highest] = wantsSquares ? widestExponents.squares : widestExponents.sum;
  if (least < lowest || greatest > highest) return undefined;
  // Of the exponents one is lost to rounding, and the last bit lies 52 below the first.
  const positions = positionsOf(least - 52, greatest + 2);
  const squares = wantsSquares ? positionsOf(2 * (least - 52), 2 * (greatest + 2)) : undefined;
  const widest = squares ?? positions;
  if (widest[1] - widest[0] >= mostLimbs) return undefined;
  return { positions, squares, hasSpecials: nans + positiveInfinities + negativeInfinities > 0 };
}

function positionsOf(least: number, greatest: number): Positions {
  return [Math.floor(least / limbBits), Math.floor(greatest / limbBits)];
}

function planFloats(column: string, { positions, squares, hasSpecials }: FloatFacts): SumPlan {
  const x = columnNamed(column);
  const clean = `${column}_x`;
  const own = hasSpecials ? pl.when(x.isFinite()).then(x).otherwise(pl.lit(null)) : x;
  const limbs = limbsOf(clean, positions);
  if (squares === undefined)
    return { steps: [[own.alias(clean)], ...limbs.steps], sum: limbs.terms, squares: [] };
  const [high, low] = [`${column}_h`, `${column}_l`];
  const halves = [limbsOf(high, squares), limbsOf(low, squares)] as const;
  const steps = [
    [own.alias(clean)],
    ...squareSteps(clean, high, low),
    ...mergeSteps(limbs.steps, halves[0].steps, halves[1].steps),
  ];
  return { steps, sum: limbs.terms, squares: [...halves[0].terms, ...halves[1].terms] };
}

/** Steps of several that rest on nothing of each other, taken together. */
function mergeSteps(...each: readonly (readonly (readonly PolarsExpr[])[])[]): PolarsExpr[][] {
  const length = Math.max(...each.map((steps) => steps.length));
  return Array.from({ length }, (_, step) => each.flatMap((steps) => steps[step] ?? []));
}

/**
 * Cuts a double at each position: what lies at or above 2^(32k) as an integer, and the rest goes
 * on. Both are exact, since the divisor is a power of two.
 */
function limbsOf(column: string, [least, greatest]: Positions) {
  const steps: PolarsExpr[][] = [];
  const terms: Term[] = [];
  let rest = column;
  for (let k = greatest; k >= least; k--) {
    const limb = `${column}_${k}`;
    const [unit, perUnit] = [pl.lit(2 ** (limbBits * k)), pl.lit(2 ** (-limbBits * k))];
    steps.push([columnNamed(rest).mul(perUnit).cast(pl.Int64).alias(limb)]);
    terms.push({ expression: asText(columnNamed(limb).sum(), limb), exponent: limbBits * k });
    if (k === least) break;
    const next = `${column}_r${k}`;
    steps.push([columnNamed(rest).sub(columnNamed(limb).cast(pl.Float64).mul(unit)).alias(next)]);
    rest = next;
  }
  return { steps, terms };
}

/** x² as two doubles whose sum it is exactly: the split of Veltkamp, the product of Dekker (1971). */
function squareSteps(column: string, high: string, low: string): PolarsExpr[][] {
  const x = columnNamed(column);
  const [upper, lower] = [`${column}_u`, `${column}_v`];
  const [u, v] = [columnNamed(upper), columnNamed(lower)];
  const scaled = x.mul(pl.lit(2 ** 27 + 1));
  const error = u
    .mul(u)
    .sub(columnNamed(high))
    .add(u.mul(v).mul(pl.lit(2)))
    .add(v.mul(v));
  return [
    [scaled.sub(scaled.sub(x)).alias(upper), x.mul(x).alias(high)],
    [x.sub(u).alias(lower)],
    [error.alias(low)],
  ];
}

interface IntegerFacts {
  readonly sum: "whole" | "words";
  readonly squares: "none" | "whole" | "words";
}

function integerFacts(survey: Survey, wantsSquares: boolean): IntegerFacts | undefined {
  const { count, least, greatest } = survey.counts;
  const bounds = [least, greatest].map((value) => BigInt(value as number | bigint));
  const magnitude = bounds.reduce((most, each) => {
    const own = each < 0n ? -each : each;
    return own > most ? own : most;
  }, 0n);
  const fits = (most: bigint) => most * BigInt(count) < int64Limit;
  if (wantsSquares && magnitude >= 2n ** 31n) return undefined;
  return {
    sum: fits(magnitude) ? "whole" : "words",
    squares: !wantsSquares ? "none" : fits(magnitude * magnitude) ? "whole" : "words",
  };
}

function planIntegers(column: string, { sum, squares }: IntegerFacts): SumPlan {
  const x = columnNamed(column);
  return {
    steps: [],
    sum: integerTerms(`${column}_s`, x, sum),
    squares: squares === "none" ? [] : integerTerms(`${column}_q`, x.mul(x), squares),
  };
}

/** The sum of integers, whole or by words of 32 bits, whose sums cannot overflow. */
function integerTerms(name: string, each: PolarsExpr, how: "whole" | "words"): Term[] {
  if (how === "whole") return [{ expression: asText(each.sum(), name), exponent: 0 }];
  const word = pl.lit(wordSize).cast(pl.Int64);
  // polars' int64 div floors, so the low word is never negative.
  const high = each.div(word);
  return [
    { expression: asText(high.sum(), `${name}h`), exponent: 32 },
    { expression: asText(each.sub(high.mul(word)).sum(), `${name}l`), exponent: 0 },
  ];
}

/** As text, since a number would round it. */
function asText(sum: PolarsExpr, name: string): PolarsExpr {
  return sum.cast(pl.Utf8).alias(`${name}_sum`);
}

/** The same sums value by value. */
function addedUp(computed: Frame, name: string, dtype: Dtype, needs: ReadonlySet<Fold>): Sums {
  const [column] = toColumns(computed, [name]);
  let [sum, squares] = [0n, 0n];
  for (let row = 0; column !== undefined && row < heightOf(computed); row++) {
    const value = valueAt(column, row);
    if (value === null) continue;
    const own = foldsOf(value, dtype);
    sum += own.sum;
    if (needs.has("squares")) squares += own.squares;
  }
  return { sum, squares };
}
