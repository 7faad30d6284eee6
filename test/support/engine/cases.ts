/**
 * Every way to apply a row of the operation table: found by trying, so that a new row is covered
 * without an edit here.
 */
import { operationNode } from "../../../engine/language/build.ts";
import { type Dtype, dtypes, type Value } from "../../../engine/language/dtypes.ts";
import type {
  AggregateNode,
  ColumnNode,
  LiteralNode,
  Node,
} from "../../../engine/language/node.ts";
import { type OperationName, operationOf, operations } from "../../../engine/operations/table.ts";
import { awkward } from "./arbitrary.ts";
import { columnNode } from "./parity.ts";

/** Every operation of the table. */
export const operationNames = Object.keys(operations) as readonly OperationName[];

/** An expression over columns `c0`, `c1`, … of these dtypes. */
export interface Case {
  readonly operation: OperationName;
  readonly columns: readonly Dtype[];
  readonly node: Node;
}

/** A literal as the catalogue holds it, without what its builder checks. */
export function literalNode(dtype: Dtype, value: Value): LiteralNode {
  return Object.freeze({ kind: "literal", dtype, shape: "scalar", value });
}

/** An aggregate whose value is bound by the test. */
export function aggregateNode(dtype: "int64" | "float64" | "timestamp"): AggregateNode {
  const input = columnNode(`aggregated_${dtype}`, dtype);
  return Object.freeze({ kind: "aggregate", aggregate: "max", input, dtype, shape: "scalar" });
}

/** All combinations of one element from each list. */
export function product<T>(lists: readonly (readonly T[])[]): T[][] {
  return lists.reduce<T[][]>(
    (found, list) => found.flatMap((each) => list.map((item) => [...each, item])),
    [[]],
  );
}

/** About `count` of the items, spread evenly, the first among them. */
export function thin<T>(items: readonly T[], count: number): T[] {
  const step = Math.max(1, items.length / count);
  return items.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step));
}

/** Values that can be written as a literal. */
export function literalsOf(dtype: Dtype): readonly Value[] {
  return dtype === "list_float64" ? [] : awkward[dtype].filter((value) => value !== null);
}

/** How many literals stand for each place that may hold one. */
const literalsPerPlace = 4;

function arityOf(name: OperationName): number {
  const { arity } = operationOf(name);
  return arity === "variadic" ? 3 : arity;
}

/** How many inputs of an operation are expressions; the others must be literals. */
function expressionsOf(name: OperationName): number {
  return operationOf(name).literals?.from ?? arityOf(name);
}

/** The operation over inputs, or undefined where its rules refuse them. */
function applied(name: OperationName, inputs: readonly Node[]): Node | undefined {
  const node = operationNode(name, inputs);
  return node.kind === "operation" ? node : undefined;
}

/** Literals for the places that must be literals; for the others none. */
export function requiredLiterals(name: OperationName, combination: readonly Dtype[]): Node[][] {
  const places = combination.slice(expressionsOf(name));
  return product(places.map((dtype) => literalsOf(dtype).map((v) => literalNode(dtype, v))));
}

/** The dtypes that an operation takes. */
export function combinationsOf(name: OperationName): Dtype[][] {
  return product(Array.from({ length: arityOf(name) }, () => dtypes)).filter((combination) => {
    const columns = columnsOf(combination.slice(0, expressionsOf(name)));
    return requiredLiterals(name, combination).some(
      (literals) => applied(name, [...columns, ...literals]) !== undefined,
    );
  });
}

/** Columns `c0`, `c1`, … of these dtypes. */
export function columnsOf(combination: readonly Dtype[]): ColumnNode[] {
  return combination.map((dtype, i) => columnNode(`c${i}`, dtype));
}

/** Cases of an operation: over columns, with a literal in each place, and with an aggregate. */
export function casesOf(name: OperationName): Case[] {
  const cases: Case[] = [];
  const add = (combination: readonly Dtype[], fixed: ReadonlyMap<number, Node>) => {
    const columns = combination.filter((_, place) => !fixed.has(place));
    const nodes = columnsOf(columns).values();
    const node = applied(
      name,
      combination.map((_, place) => fixed.get(place) ?? (nodes.next().value as Node)),
    );
    if (node !== undefined) cases.push({ operation: name, columns, node });
  };
  for (const combination of combinationsOf(name)) {
    const first = expressionsOf(name);
    if (first < combination.length) {
      const all = requiredLiterals(name, combination).filter(
        (literals) =>
          applied(name, [...columnsOf(combination.slice(0, first)), ...literals]) !== undefined,
      );
      for (const literals of thin(all, literalsPerPlace + 4))
        add(combination, new Map(literals.map((node, i) => [first + i, node])));
      continue;
    }
    add(combination, new Map());
    if (combination.length < 2) continue;
    combination.forEach((dtype, place) => {
      for (const value of thin(literalsOf(dtype), literalsPerPlace))
        add(combination, new Map([[place, literalNode(dtype, value)]]));
      if (dtype === "int64" || dtype === "float64" || dtype === "timestamp")
        add(combination, new Map([[place, aggregateNode(dtype)]]));
    });
  }
  return cases;
}
