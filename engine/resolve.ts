/**
 * Where the values come from that outputs rest on, for the inputs and keys that a request carries.
 *
 * For each node: if its raw inputs are all in the request, it is computed from them; else its
 * stored value is taken; else it is computed from what its inputs resolve to; else its default
 * stands.
 */
import type { Output, View } from "./catalogue.ts";
import type { Dtype } from "./language/dtypes.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { type AggregateNode, inputsOf, type MapNode, type Node } from "./language/node.ts";
import { type Leaf, leavesOf } from "./rests-on.ts";

/** A raw column that outputs need, and which of them. */
export interface RequiredInput {
  /** `<source>.<column>`. */
  readonly id: string;
  readonly column: string;
  readonly source: string;
  readonly dtype: Dtype;
  readonly nullable: boolean;
  readonly features: readonly string[];
}

/** The raw columns that outputs need of a row, by id. */
export type RequiredInputs = ReadonlyMap<string, RequiredInput>;

/** What the rows of a request carry. */
export interface Carried {
  /** Ids of required inputs. */
  readonly inputs: ReadonlySet<string>;
  /** Names of entity key columns. */
  readonly keys: ReadonlySet<string>;
}

/** A value that is taken as it is, so that nothing below its node is computed. */
export type Given =
  | { readonly from: "request"; readonly node: Leaf; readonly input: RequiredInput }
  | {
      readonly from: "stored";
      readonly node: Node;
      readonly view: View;
      readonly column: string;
      /** Whether it is the event time, which the row has beside its columns. */
      readonly isEventTime: boolean;
    }
  | {
      readonly from: "aggregate";
      readonly node: AggregateNode;
      readonly view: View;
      readonly fingerprint: string;
    };

/** An output, and what its value is computed from. */
export interface Resolved {
  readonly output: Output;
  /** In the order in which its formula names them. */
  readonly given: readonly Given[];
  /** The view whose stored row is among them. */
  readonly row: View | undefined;
  /** The user's functions that run. */
  readonly maps: readonly MapNode[];
  /** Names of the columns that come from nowhere. */
  readonly missing: readonly string[];
}

/** Finds the raw columns that outputs need. */
export function requiredInputsOf(outputs: readonly Output[]): RequiredInputs {
  const required = new Map<string, RequiredInput>();
  for (const output of outputs)
    for (const leaf of leavesOf(output.node)) {
      const id = idOf(leaf);
      const features = [...(required.get(id)?.features ?? []), output.name];
      const { name: column, source, dtype, nullable } = leaf;
      required.set(id, { id, column, source, dtype, nullable, features });
    }
  return required;
}

/** Settles where each value comes from that an output rests on. */
export function resolveOutput(
  output: Output,
  required: RequiredInputs,
  carried: Carried,
): Resolved {
  const { view } = output;
  const given: Given[] = [];
  const maps: MapNode[] = [];
  const missing = new Set<string>();
  const hasRow = view.rows.key.every((key) => carried.keys.has(key));
  const isSent = (leaf: Leaf) => carried.inputs.has(idOf(leaf)) || isKey(leaf, view, carried.keys);
  const givenAt = (node: Node): Given | undefined => {
    if (node.kind === "aggregate") return aggregateGiven(node, view);
    if (leavesOf(node).every(isSent)) return requestGiven(node, required);
    return hasRow ? storedGiven(node, view) : undefined;
  };
  // A formula is a graph, and what many formulas of an output share is met once.
  const seen = new Set<Node>();
  const resolve = (node: Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    const asItIs = givenAt(node);
    if (asItIs !== undefined) given.push(asItIs);
    else if (node.kind === "column") missing.add(node.name);
    else {
      if (node.kind === "map") maps.push(node);
      inputsOf(node).forEach(resolve);
    }
  };
  resolve(output.node);
  const row = given.some(({ from }) => from === "stored") ? view : undefined;
  return { output, given, row, maps, missing: [...missing] };
}

function aggregateGiven(node: AggregateNode, view: View): Given {
  const formula = fingerprintOf(node);
  const found = view.aggregates.find((each) => fingerprintOf(each.node) === formula);
  if (found === undefined) throw new Error("an aggregate is missing in its view");
  return { from: "aggregate", node, view, fingerprint: found.fingerprint };
}

function requestGiven(node: Node, required: RequiredInputs): Given | undefined {
  const input = node.kind === "column" ? required.get(idOf(node)) : undefined;
  return input && { from: "request", node: node as Leaf, input };
}

function storedGiven(node: Node, view: View): Given | undefined {
  const formula = fingerprintOf(node);
  const stored = view.stores.find((column) => fingerprintOf(column.node) === formula);
  if (stored !== undefined)
    return { from: "stored", node, view, column: stored.name, isEventTime: false };
  if (node.kind !== "column" || node.name !== view.rows.eventTime) return undefined;
  return { from: "stored", node, view, column: node.name, isEventTime: true };
}

const idOf = (leaf: Leaf): string => `${leaf.source}.${leaf.name}`;

/** Whether a column is part of the entity key and the request names the entity. */
function isKey(leaf: Leaf, view: View, keys: ReadonlySet<string>): boolean {
  return view.rows.key.includes(leaf.name) && keys.has(leaf.name);
}
