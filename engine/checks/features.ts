/** Checks of features: one name each, sound expressions, and one view that owns them. */
import { fingerprintOf } from "../fingerprint.ts";
import type { Expr } from "../language/expression.ts";
import { inputsOf, type MapNode, type Node } from "../language/node.ts";
import { below, columnsBySource, findCyclic, restsOnAggregate } from "../rests-on.ts";
import { type Definitions, nameProblem, problemOf } from "./definitions.ts";

/** Levels of a formula, at most; what goes over trees calls itself for each. */
const deepest = 1_000;

/** Texts that a formula joins to one, at most: what is doubled again and again fits no memory. */
const longest = 10_000;

/** What is wrong with the extent of a feature's formula, of which no other check is safe. */
export function findEndless(definitions: Definitions): string | undefined {
  const extents: Extents = new Map();
  for (const { where, node } of formulasOf(definitions)) {
    const extent = extentOf(node, extents);
    // A cycle has no extent.
    if (extent === undefined) return findCycle(definitions);
    if (extent.depth > deepest)
      return `${where} has a formula ${extent.depth} operations deep; at most ${deepest}. Compute it by map, or in fewer steps.`;
    if (extent.texts > longest)
      return `${where} joins more than ${longest} texts to one by concat. Join fewer, or compute it by map.`;
  }
  return undefined;
}

/** Whether a formula is too deep to be looked at, or a cycle. */
export function isEndless(node: Node): boolean {
  const extent = extentOf(node, new Map());
  return extent === undefined || extent.depth > deepest;
}

/** Every formula that a definition has, also without a name. */
function formulasOf({ features, views, services }: Definitions) {
  return [
    ...features.map(({ name, module, expr }) => ({
      where: `feature "${name}" (features/${module}.ts)`,
      node: expr.node,
    })),
    ...views.flatMap(({ module, definition: { name, stores } }) =>
      stores.map(({ node }) => ({ where: `feature view "${name}" (features/${module}.ts)`, node })),
    ),
    ...services.flatMap(({ module, definition: { name, features: listed } }) =>
      listed.map(({ node }) => ({
        where: `feature service "${name}" (features/${module}.ts)`,
        node,
      })),
    ),
  ];
}

type Extents = Map<Node, { readonly depth: number; readonly texts: number }>;

/** How deep a formula is and how many texts its value joins, without a call for each level. */
function extentOf(root: Node, known: Extents): ReturnType<Extents["get"]> {
  const open = new Set<Node>();
  const stack: Node[] = [root];
  for (let node = stack.at(-1); node !== undefined; node = stack.at(-1)) {
    const inputs = inputsOf(node);
    const missing = known.has(node) ? [] : inputs.filter((input) => !known.has(input));
    if (missing.some((input) => open.has(input) || input === node)) return undefined;
    if (missing.length > 0) {
      open.add(node);
      stack.push(...missing);
      continue;
    }
    stack.pop();
    open.delete(node);
    if (known.has(node)) continue;
    const below = inputs.map((input) => known.get(input) ?? { depth: 0, texts: 1 });
    const texts = below.map((each) => each.texts);
    const isJoin = node.kind === "operation" && node.operation === "concat";
    known.set(node, {
      depth: 1 + Math.max(0, ...below.map((each) => each.depth)),
      texts: isJoin ? texts.reduce((sum, each) => sum + each, 0) : Math.max(1, ...texts),
    });
  }
  return known.get(root);
}

/** Describes a cycle in the trees of features, which only a node made by hand can have. */
function findCycle({ features }: Definitions): string | undefined {
  const cyclic = findCyclic(features.map(({ expr }) => expr.node));
  const found = features.find(({ expr }) => expr.node === cyclic);
  if (found === undefined) return undefined;
  return `feature "${found.name}" (features/${found.module}.ts) rests on itself: its expression has a cycle. Build expressions from columns and other features only.`;
}

/** Finds what is wrong with features, whose trees are free of cycles, and the view that owns each. */
export function checkFeatures(
  definitions: Definitions,
  problems: string[],
): ReadonlyMap<string, string> {
  checkNames(definitions, problems);
  checkMaps(definitions, problems);
  const viewOf = new Map<string, string>();
  for (const feature of definitions.features) {
    const where = `feature "${feature.name}" (features/${feature.module}.ts)`;
    const before = problems.length;
    checkTree(feature.expr, where, problems);
    if (problems.length > before) continue;
    const view = ownerOf(feature, definitions, where, problems);
    if (view !== undefined) viewOf.set(feature.name, view);
  }
  return viewOf;
}

/** One expression has one name, one name has one expression, and names are usable. */
function checkNames(definitions: Definitions, problems: string[]): void {
  const byName = new Map<string, { module: string; formula: string }>();
  const byFormula = new Map<string, { name: string; module: string }>();
  for (const { name, module, expr } of definitions.features) {
    const where = `feature "${name}" (features/${module}.ts)`;
    const bad = nameProblem(name);
    if (bad !== undefined) problems.push(`${where}: ${bad}`);
    if (expr.node.kind === "column") {
      problems.push(
        `${where} is another name for column "${expr.node.name}" of source "${expr.node.source}". Use the column itself.`,
      );
      continue;
    }
    const formula = fingerprintOf(expr.node);
    const sameName = byName.get(name);
    if (sameName !== undefined && sameName.formula !== formula)
      problems.push(
        `${where} has the name of another feature in features/${sameName.module}.ts. Rename one.`,
      );
    const sameFormula = byFormula.get(formula);
    if (sameFormula !== undefined && sameFormula.name !== name)
      problems.push(
        `${where} is another name for "${sameFormula.name}" (features/${sameFormula.module}.ts): one expression has one name. Export one of them.`,
      );
    byName.set(name, { module, formula });
    if (sameFormula === undefined) byFormula.set(formula, { name, module });
  }
}

/** A name and version of a map stand for one function over one set of inputs. */
function checkMaps({ features }: Definitions, problems: string[]): void {
  const known = new Map<string, { map: MapNode; feature: string }>();
  for (const feature of features)
    for (const node of below([feature.expr.node], "map")) {
      const key = `${node.name} version ${node.version}`;
      const other = known.get(key);
      if (other !== undefined && other.map.compute !== node.compute)
        problems.push(
          `map "${key}" is two functions, in features "${other.feature}" and "${feature.name}". Rename one, or raise its version.`,
        );
      known.set(key, other ?? { map: node, feature: feature.name });
    }
}

/** What is wrong with the trees of features alone. */
export function treeProblems({ features }: Definitions): string[] {
  const problems: string[] = [];
  for (const { name, module, expr } of features)
    checkTree(expr, `feature "${name}" (features/${module}.ts)`, problems);
  return problems;
}

function checkTree(expr: Expr, where: string, problems: string[]): void {
  const nodes = [expr.node, ...expr.notes.expectations.map((e) => e.predicate.violated(expr.node))];
  for (const node of below(nodes, ["invalid", "aggregate"]))
    if (node.kind === "invalid") problems.push(`${where} ${problemOf(node)}`);
    else if (restsOnAggregate(node.input))
      problems.push(
        `${where} aggregates a value that rests on an aggregate; that would need one pass over the rows for each. Aggregate a column, or a feature without aggregates.`,
      );
  const { defaultValue } = expr.notes;
  if (defaultValue !== undefined && !fits(expr.node.dtype, defaultValue))
    problems.push(`${where} has a default that is no ${expr.node.dtype}.`);
}

function fits(dtype: string, value: unknown): boolean {
  switch (typeof value) {
    case "boolean":
      return dtype === "bool";
    case "string":
      return dtype === "string";
    case "bigint":
      return dtype === "int64" || dtype === "timestamp";
    case "number":
      return dtype === "float64" || (Number.isSafeInteger(value) && dtype !== "string");
    default:
      return false;
  }
}

/** The view over the feature's source, wherever the feature is exported. */
function ownerOf(
  { expr }: Definitions["features"][number],
  { views }: Definitions,
  where: string,
  problems: string[],
): string | undefined {
  const sources = [...columnsBySource([expr.node]).keys()];
  const [source, ...others] = sources;
  if (source === undefined) {
    problems.push(`${where} reads no column, so it belongs to no feature view.`);
    return undefined;
  }
  if (others.length > 0) {
    problems.push(
      `${where} reads columns of ${sources.map((name) => `"${name}"`).join(" and ")}; a feature reads one source. Put both features in one service instead.`,
    );
    return undefined;
  }
  const view = views.find(({ definition }) => definition.source.name === source);
  if (view === undefined)
    problems.push(
      `${where} reads source "${source}", which no feature view covers. Export featureView("${source}", { source: ${source}, stores: […] }) beside it.`,
    );
  return view?.definition.name;
}
