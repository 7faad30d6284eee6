/**
 * What rests on what: the one query of expressions. Checks, aggregates, lineage, plans and programs
 * ask here, so that what a new kind of node counts as is said once.
 */
import { type ColumnNode, inputsOf, type Node } from "./language/node.ts";

type Kind = Node["kind"];
type NodeOf<K extends Kind> = Extract<Node, { readonly kind: K }>;

/**
 * How far a query looks: through aggregates to all that they are of, or at the row at hand alone, to
 * which an aggregate is a value that is given.
 */
export type Reach = "all" | "row";

/** The nodes of a kind that others rest on, themselves included: inputs first, each object once. */
export function below<K extends Kind>(
  roots: Iterable<Node>,
  kinds: K | readonly K[],
  reach: Reach = "all",
): NodeOf<K>[] {
  const wanted: readonly Kind[] = typeof kinds === "string" ? [kinds] : kinds;
  const found: Node[] = [];
  walk(
    roots,
    (node) => void (wanted.includes(node.kind) && found.push(node)),
    (node) => reach === "row" && node.kind === "aggregate",
  );
  return found as NodeOf<K>[];
}

/**
 * What is nearest to some nodes on every way down, themselves included, such as features that have a
 * name; what it rests on in turn is left out.
 *
 * @param pick - what is looked for at a node; undefined to look below it
 */
export function nearest<T>(roots: Iterable<Node>, pick: (node: Node) => T | undefined): T[] {
  const found: T[] = [];
  walk(
    roots,
    () => undefined,
    (node) => {
      const picked = pick(node);
      if (picked !== undefined) found.push(picked);
      return picked !== undefined;
    },
  );
  return found;
}

/** Whether a node is an aggregate, or anything below it is. */
export function restsOnAggregate(node: Node): boolean {
  return below([node], "aggregate").length > 0;
}

/** The raw columns that nodes rest on, by the name of their source. */
export function columnsBySource(
  roots: Iterable<Node>,
): ReadonlyMap<string, readonly [ColumnNode, ...ColumnNode[]]> {
  const found = new Map<string, [ColumnNode, ...ColumnNode[]]>();
  for (const column of below(roots, "column")) {
    const others = found.get(column.source);
    if (others === undefined) found.set(column.source, [column]);
    else others.push(column);
  }
  return found;
}

/** A value of the row at hand that nothing computes: today a raw column, and nothing else. */
export type Leaf = ColumnNode;

const known = new WeakMap<Node, readonly Leaf[]>();

/** What a node takes of the row at hand, each object once. Cost: a look-up, but for the first time. */
export function leavesOf(node: Node): readonly Leaf[] {
  let leaves = known.get(node);
  if (leaves === undefined) {
    leaves = findLeaves(node);
    known.set(node, leaves);
  }
  return leaves;
}

function findLeaves(node: Node): readonly Leaf[] {
  switch (node.kind) {
    case "column":
      return [node];
    case "aggregate":
    case "literal":
      return [];
    case "operation":
    case "map":
    case "invalid":
      return joined(inputsOf(node).map(leavesOf));
  }
}

/** The members of some lists; a list itself where it has all, as most often one does. */
function joined(lists: readonly (readonly Leaf[])[]): readonly Leaf[] {
  const [first = [], ...others] = lists.filter(({ length }) => length > 0);
  const all = new Set(first.concat(...others));
  return all.size === first.length ? first : [...all];
}

/** The first of some nodes below which a node rests on itself, of which no other query is safe. */
export function findCyclic(roots: readonly Node[]): Node | undefined {
  const done = new Set<Node>();
  const path = new Set<Node>();
  const isCyclic = (node: Node): boolean => {
    if (path.has(node)) return true;
    if (done.has(node)) return false;
    path.add(node);
    const found = inputsOf(node).some(isCyclic);
    path.delete(node);
    done.add(node);
    return found;
  };
  return roots.find(isCyclic);
}

/** Goes over nodes and all that they rest on, inputs first; below a `stop` it does not look. */
function walk(
  roots: Iterable<Node>,
  see: (node: Node) => void,
  stop: (node: Node) => boolean,
): void {
  const seen = new Set<Node>();
  const enter = (node: Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    if (!stop(node)) for (const input of inputsOf(node)) enter(input);
    see(node);
  };
  for (const root of roots) enter(root);
}
