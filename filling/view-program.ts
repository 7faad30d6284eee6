/**
 * What is compiled of a view for materialization, once per process: the columns of its offline
 * rows, its expectations, and the states of its aggregates.
 */
import type { AggregateValues, BatchProgram, Frame } from "../engine/compile/batch.ts";
import { compileBatch } from "../engine/compile/batch.ts";
import { compileStates } from "../engine/compile/states.ts";
import { columnNamed, heightOf, toColumns, valueAt } from "../engine/compile/frame.ts";
import { compileOnline } from "../engine/compile/online.ts";
import type { State } from "../engine/aggregates.ts";
import type { Feature, View } from "../engine/catalogue.ts";
import type { Dtype, Value } from "../engine/language/dtypes.ts";
import type { Expectation } from "../engine/language/expectations.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import type { PolarsExpr } from "../engine/operations/table.ts";
import type { Node } from "../engine/language/node.ts";
import { below, restsOnAggregate } from "../engine/rests-on.ts";
import { ordinalColumn } from "../sources/ordinal.ts";

/** Columns that offline rows have besides those of the view. */
export const rowColumns = {
  eventTime: "__event_time",
  knownAt: "__known_at",
  ordinal: ordinalColumn,
} as const;

/** An expectation that does not hold. */
export interface Violation {
  readonly feature: string;
  readonly text: string;
  readonly onFail: Expectation["onFail"];
  /** Rows that violate it; 1 for an aggregate. */
  readonly count: number;
  /** Ordinal of the first of them; undefined for an aggregate. */
  readonly ordinal: number | undefined;
  readonly value: Value;
  readonly dtype: Dtype;
}

/** What materialization runs for a view. */
export interface ViewProgram {
  readonly view: View;
  /** Columns of the offline rows, stored and raw, without those of `rowColumns`. */
  readonly columns: readonly string[];
  /** Source columns to rows of `columns` and `rowColumns`, which come from `added`. */
  readonly rows: (frame: Frame, added: readonly PolarsExpr[]) => Promise<Frame>;
  /** Checks the expectations that rest on no aggregate. */
  readonly checkRows: (frame: Frame) => Promise<Violation[]>;
  /** Whether `checkWithAggregates` has anything to check in the rows. */
  readonly rowsNeedAggregates: boolean;
  /** Columns that this check reads. */
  readonly columnsWithAggregates: readonly string[];
  /** Checks the expectations of rows that rest on aggregates. */
  readonly checkWithAggregates: (frame: Frame, values: AggregateValues) => Promise<Violation[]>;
  /** Checks the expectations of aggregates and of what is computed from them alone. */
  readonly checkAggregates: (values: AggregateValues) => Violation[];
  /** Columns that the aggregates read. */
  readonly aggregated: readonly string[];
  /** Partial states by aggregate fingerprint. */
  readonly states: (frame: Frame) => Promise<ReadonlyMap<string, State>>;
}

interface Check {
  readonly feature: Feature;
  readonly expectation: Expectation;
  readonly violated: Node;
}

const programs = new WeakMap<View, ViewProgram>();

/** The program of a view, compiled once. */
export function programOf(view: View): ViewProgram {
  const program = programs.get(view) ?? compileView(view);
  programs.set(view, program);
  return program;
}

/** Compiles a view. Cost: about 0.5 ms an expression node. */
function compileView(view: View): ViewProgram {
  const features = view.features.map((feature) => feature.node);
  const stored = view.stores.map((column) => column.node);
  const raw = new Set([...view.rows.key, ...namesRead([...stored, ...features])]);
  const computed = view.stores.filter(({ node }) => node.kind !== "column");
  const columns = [...raw, ...computed.map((column) => column.name)];
  const rows = compileBatch(computed);

  const checks = view.features.flatMap((feature) =>
    feature.notes.expectations.map((expectation): Check => ({
      feature,
      expectation,
      violated: expectation.predicate.violated(feature.node),
    })),
  );
  const scalars = checks.filter(({ feature }) => feature.node.shape === "scalar");
  const byRow = checks.filter(({ feature }) => feature.node.shape === "column");
  const late = byRow.filter(({ feature }) => restsOnAggregate(feature.node));
  const early = byRow.filter(({ feature }) => !restsOnAggregate(feature.node));
  const checkLate = compileChecks(late);
  const checkEarly = compileChecks(early);

  return {
    view,
    columns,
    rows: (frame, added) => rows.run(frame, new Map(), [...raw, ...added]),
    checkRows: (frame) => checkEarly(frame, new Map()),
    rowsNeedAggregates: late.length > 0,
    columnsWithAggregates: [
      ...new Set([
        ...namesRead(late.map(({ violated }) => violated)),
        // Where a map fails, the key is told.
        ...(below(
          late.map(({ violated }) => violated),
          "map",
        ).length > 0
          ? view.rows.key
          : []),
        rowColumns.ordinal,
      ]),
    ],
    checkWithAggregates: checkLate,
    checkAggregates: (values) => checkScalars(scalars, values),
    aggregated: [...new Set(namesRead(view.aggregates.map(({ node }) => node.input)))],
    states: compileStates(
      view.aggregates.map(({ fingerprint, node }) => ({
        fingerprint,
        aggregate: node.aggregate,
        input: node.input,
      })),
    ),
  };
}

/** Names of the source columns that nodes read. */
function namesRead(nodes: readonly Node[]): string[] {
  return below(nodes, "column").map(({ name }) => name);
}

/** Counts violations in polars; of what is violated it looks for the first offender. */
function compileChecks(checks: readonly Check[]) {
  const violated = checks.map((check, i) => ({ name: `__violated_${i}`, node: check.violated }));
  const values = checks.map(({ feature }, i) => ({ name: `__value_${i}`, node: feature.node }));
  const counting = compileBatch(violated);
  const counts = violated.map(({ name }) => columnNamed(name).sum());
  // Built when it is needed, which is seldom.
  let finding: BatchProgram | undefined;
  return async (frame: Frame, aggregates: AggregateValues): Promise<Violation[]> => {
    if (checks.length === 0 || heightOf(frame) === 0) return [];
    const flags = await counting.run(frame, aggregates);
    const counted = (await flags.lazy().select(counts).collect()).row(0) as number[];
    if (counted.every((count) => count === 0)) return [];
    finding ??= compileBatch([...violated, ...values]);
    const table = await finding.run(frame, aggregates, [rowColumns.ordinal]);
    return checks.flatMap(({ feature, expectation }, i) => {
      const count = counted[i] ?? 0;
      if (count === 0) return [];
      const offenders = table.filter(table.getColumn(`__violated_${i}`)).head(1);
      const [ordinal, value] = toColumns(offenders, [rowColumns.ordinal, `__value_${i}`]);
      return [
        violation(
          feature,
          expectation,
          count,
          ordinal === undefined ? undefined : Number(valueAt(ordinal, 0)),
          value === undefined ? null : valueAt(value, 0),
        ),
      ];
    });
  };
}

function checkScalars(checks: readonly Check[], values: AggregateValues): Violation[] {
  return checks.flatMap(({ feature, expectation, violated }) => {
    const registers: Value[] = [];
    const program = compileOnline([feature.node, violated], (node) =>
      node.kind === "aggregate"
        ? registers.push(values.get(fingerprintOf(node)) ?? null) - 1
        : undefined,
    );
    const [value = null, isViolated] = program(registers);
    return isViolated === true ? [violation(feature, expectation, 1, undefined, value)] : [];
  });
}

function violation(
  feature: Feature,
  { predicate, onFail }: Expectation,
  count: number,
  ordinal: number | undefined,
  value: Value,
): Violation {
  const { dtype } = feature.node;
  return { feature: feature.name, text: predicate.text, onFail, count, ordinal, value, dtype };
}
