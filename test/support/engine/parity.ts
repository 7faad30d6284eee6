/** Runs expressions in batch and online over the same rows, and says where a bit differs. */
import pl from "nodejs-polars";
import { compileBatch, type Frame, type NamedNode } from "../../../engine/compile/batch.ts";
import { type ColumnData, toColumns, toSeries, valueAt } from "../../../engine/compile/frame.ts";
import { compileOnline } from "../../../engine/compile/online.ts";
import { isOf } from "../../../engine/compile/program.ts";
import { type Dtype, dtypes, type Value } from "../../../engine/language/dtypes.ts";
import { fingerprintOf } from "../../../engine/fingerprint.ts";
import {
  type AggregateNode,
  type ColumnNode,
  inputsOf,
  type Node,
} from "../../../engine/language/node.ts";
import { below } from "../../../engine/rests-on.ts";

/** One cell in which not all compilers agree. */
export interface Divergence {
  readonly node: Node;
  readonly output: string;
  /** Values of the columns, then of the aggregates. */
  readonly inputs: readonly Value[];
  readonly batch: Value;
  readonly generated: Value;
  readonly closures: Value;
}

/** What is compared, over which columns and aggregates. */
export interface Compared {
  readonly outputs: readonly NamedNode[];
  readonly columns: readonly ColumnNode[];
  readonly aggregates?: readonly AggregateNode[];
}

/** Rows of column values in order, and the values that the aggregates are bound to. */
export interface Rows {
  readonly rows: readonly (readonly Value[])[];
  readonly aggregates?: readonly Value[];
}

/** A column of the source that tests read. */
export function columnNode(name: string, dtype: Dtype): ColumnNode {
  return Object.freeze({
    kind: "column",
    source: "table",
    name,
    dtype,
    nullable: true,
    shape: "column",
  });
}

/** Compiles the outputs once; the function it returns compares them over any number of rows. */
export function compileParity({
  outputs,
  columns,
  aggregates = [],
}: Compared): (rows: Rows) => Promise<Divergence[]> {
  const program = compileBatch(outputs);
  const registers = new Map([...columns, ...aggregates].map((node, i) => [fingerprintOf(node), i]));
  const compile = (form: "generated" | "closures") =>
    compileOnline(
      outputs.map(({ node }) => node),
      (node) => registers.get(fingerprintOf(node)),
      form,
    );
  const generated = compile("generated");
  const closures = compile("closures");

  return async ({ rows, aggregates: bound = [] }) => {
    const frame = pl.DataFrame(
      columns.map(({ name, dtype }, i) =>
        toSeries(
          name,
          dtype,
          rows.map((row) => row[i] ?? null),
        ),
      ),
    );
    const values = new Map(aggregates.map((node, i) => [fingerprintOf(node), bound[i] ?? null]));
    const answer = await program.run(frame, values);
    if (answer.height !== rows.length)
      throw new Error(`${rows.length} rows gave ${answer.height} in batch`);
    const batch = readAnswer(answer, outputs);
    const found: Divergence[] = [];
    rows.forEach((row, place) => {
      const inputs = [...row, ...bound];
      const ofGenerated = generated(inputs);
      const ofClosures = closures(inputs);
      outputs.forEach(({ name, node }, i) => {
        const cell = {
          node,
          output: name,
          inputs,
          batch: batch(i, place),
          generated: ofGenerated[i] ?? null,
          closures: ofClosures[i] ?? null,
        };
        const agree =
          isOf(node.dtype, cell.generated) &&
          isSame(cell.generated, cell.closures) &&
          isSame(cell.batch, cell.generated);
        if (!agree) found.push(cell);
      });
    });
    return found;
  };
}

/**
 * Reads the cells of the outputs by place. Outputs of one dtype leave polars end to end as one
 * column, since a column costs more than its values.
 */
function readAnswer(
  answer: Frame,
  outputs: readonly NamedNode[],
): (output: number, row: number) => Value {
  const placed = new Map<number, { readonly column: ColumnData; readonly offset: number }>();
  for (const dtype of dtypes) {
    const places = outputs.flatMap(({ node }, i) => (node.dtype === dtype ? [i] : []));
    if (places.length === 0) continue;
    const names = places.map((i) => outputs[i]?.name ?? "");
    const [column] = toColumns(answer.unpivot([], names), ["value"]);
    if (column?.dtype !== dtype) throw new Error(`batch gave ${column?.dtype} for ${dtype}`);
    places.forEach((i, nth) => placed.set(i, { column, offset: nth * answer.height }));
  }
  return (output, row) => {
    const at = placed.get(output);
    return at === undefined ? null : valueAt(at.column, at.offset + row);
  };
}

/** Bit for bit, all NaN being one. */
export function isSame(a: Value, b: Value): boolean {
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, i) => Object.is(item, b[i]));
  return Object.is(a, b);
}

/** The same comparison over every part of the expressions that diverge. */
export function withSubtrees(compared: Compared, found: readonly Divergence[]): Compared {
  const outputs = new Map<string, NamedNode>();
  const roots = found.map(({ node }) => node);
  for (const node of below(roots, ["operation", "map"], "row"))
    outputs.set(fingerprintOf(node), { name: `part ${outputs.size}`, node });
  return { ...compared, outputs: [...outputs.values()] };
}

/** The first few divergences, for people; the smallest expression first. */
export function describeDivergences(found: readonly Divergence[]): string {
  const lines = found
    .map((each) => ({ each, size: showNode(each.node).length }))
    .sort((a, b) => a.size - b.size)
    .slice(0, 10)
    .map(
      ({ each: { output, node, inputs, batch, generated, closures } }) =>
        `  ${output}: ${showNode(node)} of (${inputs.map(show).join(", ")}):\n` +
        `    batch ${show(batch)}, generated ${show(generated)}, closures ${show(closures)}`,
    );
  return `${found.length} cells differ:\n${lines.join("\n")}`;
}

/** An expression as text. */
export function showNode(node: Node): string {
  const inputs = inputsOf(node).map(showNode).join(", ");
  switch (node.kind) {
    case "column":
      return node.name;
    case "literal":
      return show(node.value);
    case "operation":
      return `${node.operation}(${inputs})`;
    case "aggregate":
      return `${node.aggregate}(${inputs})`;
    case "map":
      return `map ${node.name}(${inputs})`;
    case "invalid":
      return `invalid(${node.problem})`;
  }
}

function show(value: Value): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Object.is(value, -0)) return "-0";
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  return typeof value === "bigint" ? `${value}n` : String(value);
}
