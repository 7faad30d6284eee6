/** What is checked when the catalogue is built: every problem is found, none is thrown alone. */
import {
  fallbacks,
  type FeatureService,
  type FeatureView,
  type Source,
} from "./language/definitions.ts";
import { didYouMean } from "./errors.ts";
import type { Expr } from "./language/expression.ts";
import { fingerprintOf } from "./fingerprint.ts";
import {
  type ColumnNode,
  inputsOf,
  type MapNode,
  type Node,
  restsOnAggregate,
  visit,
} from "./language/node.ts";
import { operationOf } from "./operations/table.ts";
import { upstreamsOf } from "./calendar/schedule.ts";
import { scheduleProblems } from "./calendar/schedule-problems.ts";

/** What the modules of features/ export, by kind. */
export interface Definitions {
  readonly features: readonly { name: string; module: string; expr: Expr }[];
  readonly views: readonly { exportName: string; module: string; definition: FeatureView }[];
  readonly services: readonly { exportName: string; module: string; definition: FeatureService }[];
  readonly sources: readonly { module: string; definition: Source }[];
}

/** The outcome of all checks; `viewOf` maps each feature to the view that owns it. */
export interface Checked {
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly viewOf: ReadonlyMap<string, string>;
}

const validName = /^[a-z][a-z0-9_]*$/;

/** Why a name cannot be used, or nothing. Names of Object.prototype break records and group-by. */
function nameProblem(name: string): string | undefined {
  if (validName.test(name) && !(name in {})) return undefined;
  return `"${name}" is no valid name: use snake_case letters, digits and _, starting with a letter, and no name that JavaScript objects inherit.`;
}

/** Describes a cycle in the trees of features, which only a node made by hand can have. */
export function findCycle({ features }: Definitions): string | undefined {
  const done = new Set<Node>();
  const path = new Set<Node>();
  const enter = (node: Node): boolean => {
    if (path.has(node)) return true;
    if (done.has(node)) return false;
    path.add(node);
    const cyclic = inputsOf(node).some(enter);
    path.delete(node);
    done.add(node);
    return cyclic;
  };
  for (const { name, module, expr } of features)
    if (enter(expr.node))
      return `feature "${name}" (features/${module}.ts) rests on itself: its expression has a cycle. Build expressions from columns and other features only.`;
  return undefined;
}

/** Runs every check. The trees must be free of cycles. */
export function checkDefinitions(definitions: Definitions): Checked {
  const problems: string[] = [];
  const warnings: string[] = [];
  checkSources(definitions, problems);
  checkNames(definitions, problems);
  checkMaps(definitions, problems);
  const viewOf = new Map<string, string>();
  for (const feature of definitions.features) {
    const where = `feature "${feature.name}" (features/${feature.module}.ts)`;
    const before = problems.length;
    checkTree(feature.expr, where, problems);
    if (problems.length > before) continue;
    warnOfUnstable(feature.expr.node, where, warnings);
    const view = ownerOf(feature, definitions, where, problems);
    if (view !== undefined) viewOf.set(feature.name, view);
  }
  checkViews(definitions, viewOf, problems);
  checkServices(definitions, problems);
  return { problems: [...new Set(problems)], warnings, viewOf };
}

/** Every source that a view or a column names, also where it is not exported itself. */
function sourcesOf({ sources, views }: Definitions): Map<Source, string> {
  const all = new Map<Source, string>();
  for (const { module, definition } of views) all.set(definition.source, module);
  for (const { module, definition } of sources) all.set(definition, module);
  return all;
}

function checkSources(definitions: Definitions, problems: string[]): void {
  const names = new Map<string, string>();
  for (const [source, module] of sourcesOf(definitions)) {
    const where = `source "${source.name}" (features/${module}.ts)`;
    const say = (problem: string) => problems.push(`${where} ${problem}`);
    const taken = names.get(source.name);
    if (taken !== undefined) say(`has the name of another source in features/${taken}.ts.`);
    names.set(source.name, module);
    for (const name of [source.name, ...Object.keys(source.types)]) {
      const problem = nameProblem(name);
      if (problem !== undefined) say(problem);
    }
    for (const key of source.entity.keys) {
      const type = source.types[key];
      if (type === undefined)
        say(
          `lacks the key column "${key}" of entity "${source.entity.name}".${didYouMean(key, Object.keys(source.types))}`,
        );
      else if (type.dtype !== "string" || type.nullable)
        say(`declares the key column "${key}" as ${describe(type)}; a key is a string, not null.`);
    }
    const { eventTime } = source;
    const type = eventTime === undefined ? undefined : source.types[eventTime];
    if (eventTime !== undefined && type === undefined)
      say(
        `names the event time "${eventTime}", which is none of its columns.${didYouMean(eventTime, Object.keys(source.types))}`,
      );
    else if (type !== undefined && (type.dtype !== "timestamp" || type.nullable))
      say(`has the event time "${eventTime}" as ${describe(type)}; it is a timestamp, not null.`);
    if (source.files.endsWith(".csv"))
      for (const [name, { dtype }] of Object.entries(source.types))
        if (dtype === "list_float64")
          say(`declares "${name}" as list_float64, which a CSV file cannot hold; use parquet.`);
  }
}

function describe({ dtype, nullable }: { readonly dtype: string; readonly nullable: boolean }) {
  return nullable ? `nullable ${dtype}` : dtype;
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
    visit([feature.expr.node], (node) => {
      if (node.kind !== "map") return;
      const key = `${node.name} version ${node.version}`;
      const other = known.get(key);
      if (other !== undefined && other.map.compute !== node.compute)
        problems.push(
          `map "${key}" is two functions, in features "${other.feature}" and "${feature.name}". Rename one, or raise its version.`,
        );
      known.set(key, other ?? { map: node, feature: feature.name });
    });
}

function checkTree(expr: Expr, where: string, problems: string[]): void {
  const nodes = [expr.node, ...expr.notes.expectations.map((e) => e.predicate.violated(expr.node))];
  visit(nodes, (node) => {
    if (node.kind === "invalid") problems.push(`${where} ${sentence(node.problem)}`);
    if (node.kind === "aggregate" && restsOnAggregate(node.input))
      problems.push(
        `${where} aggregates a value that rests on an aggregate; that would need one pass over the rows for each. Aggregate a column, or a feature without aggregates.`,
      );
  });
  const { defaultValue } = expr.notes;
  if (defaultValue !== undefined && !fits(expr.node.dtype, defaultValue))
    problems.push(`${where} has a default that is no ${expr.node.dtype}.`);
}

/** Problems of operations read as "uses a.add(b) …", those of columns as they are. */
function sentence(problem: string): string {
  return /^(reads|clip|round)/.test(problem) ? problem : `uses ${problem}`;
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

const unstable = new Set<string>([
  "floor",
  "ceil",
  "round",
  "floor_div",
  "mod",
  "to_int64",
  "is_in",
]);
const comparisons = new Set<string>(["eq", "ne", "lt", "lte", "gt", "gte"]);

/** A jump over a value that two compilers may give 1 ulp apart can differ outright. */
function warnOfUnstable(root: Node, where: string, warnings: string[]): void {
  visit([root], (node) => {
    if (node.kind !== "operation") return;
    if (!unstable.has(node.operation) && !comparisons.has(node.operation)) return;
    const inexact = node.inputs.find((input) => isInexact(input));
    if (inexact !== undefined)
      warnings.push(
        `${where} applies ${operationOf(node.operation).spelling} above a transcendental function, whose last bit may differ between batch and online, so the outcome may too.`,
      );
  });
}

function isInexact(node: Node): boolean {
  let found = false;
  visit(
    [node],
    (each) => (found ||= each.kind === "operation" && operationOf(each.operation).ulps > 0),
    (each) => each.kind === "aggregate",
  );
  return found;
}

/** The view over the feature's source, wherever the feature is exported. */
function ownerOf(
  { expr }: Definitions["features"][number],
  { views }: Definitions,
  where: string,
  problems: string[],
): string | undefined {
  const sources = new Set<string>();
  visit([expr.node], (node) => {
    if (node.kind === "column") sources.add(node.source);
  });
  const [source, ...others] = sources;
  if (source === undefined) {
    problems.push(`${where} reads no column, so it belongs to no feature view.`);
    return undefined;
  }
  if (others.length > 0) {
    problems.push(
      `${where} reads columns of ${[...sources].map((name) => `"${name}"`).join(" and ")}; a feature reads one source. Put both features in one service instead.`,
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

function checkViews(
  { views, features }: Definitions,
  viewOf: ReadonlyMap<string, string>,
  problems: string[],
): void {
  const nameOf = new Map(features.map(({ name, expr }) => [fingerprintOf(expr.node), name]));
  const taken = new Map<string, string>();
  const over = new Map<Source, { readonly name: string; readonly module: string }>();
  for (const { module, definition } of views) {
    const { name, source, stores, ttlSeconds } = definition;
    const say = (problem: string) =>
      problems.push(`feature view "${name}" (features/${module}.ts) ${problem}`);
    const bad = nameProblem(name);
    if (bad !== undefined) say(bad);
    if (taken.has(name)) say(`has the name of another view in features/${taken.get(name)}.ts.`);
    taken.set(name, module);
    // Plans tell columns apart by source and name, not by view.
    const first = over.get(source);
    if (first === undefined) over.set(source, { name, module });
    else if (first.name !== name)
      say(
        `is over source "${source.name}", as view "${first.name}" in features/${first.module}.ts is: one view per source. Put what both store into one view, or define a second source over the same files.`,
      );
    if (ttlSeconds !== undefined && !(Number.isFinite(ttlSeconds) && ttlSeconds > 0))
      say(`has a ttlSeconds of ${ttlSeconds}; it is a number of seconds above 0.`);
    for (const option of ["onOutdated", "onStoreDown"] as const)
      if (!fallbacks.includes(definition[option]))
        say(`has the ${option} "${definition[option]}"; it is one of ${fallbacks.join(", ")}.`);
    if (definition.schedule !== undefined)
      for (const problem of scheduleProblems(definition.schedule)) say(`schedule: ${problem}`);
    for (const problem of upstreamProblems(definition, views)) say(`schedule: ${problem}`);
    for (const problem of poolProblems(definition, views)) say(`schedule: ${problem}`);
    const stored = new Set<string>();
    for (const { node } of stores) {
      const label = node.kind === "column" ? node.name : nameOf.get(fingerprintOf(node));
      if (node.kind === "invalid") say(sentence(node.problem));
      else if (label === undefined)
        say("stores an expression that has no name. Export it as a feature first.");
      else if (restsOnAggregate(node))
        say(
          `stores "${label}", which rests on an aggregate: it is computed at read, so that one answer never mixes two snapshots. Take it out of stores.`,
        );
      else if (node.kind === "column" && node.source !== source.name)
        say(`stores column "${label}" of source "${node.source}", not of its own.`);
      else if (node.kind !== "column" && viewOf.get(label) !== name)
        say(`stores feature "${label}", which belongs to another view.`);
      else if (stored.has(label)) say(`stores "${label}" twice.`);
      else if (source.entity.keys.includes(label)) say(`stores its key "${label}"; leave it out.`);
      stored.add(label ?? "");
    }
  }
}

/** Views that share a pool must agree on its size. */
function poolProblems({ name, schedule }: FeatureView, views: Definitions["views"]): string[] {
  const pool = schedule?.pool;
  if (pool === undefined) return [];
  const other = views.find(({ definition }) => {
    const its = definition.schedule?.pool;
    return its?.name === pool.name && its.slots !== pool.slots;
  })?.definition;
  // Said of one of the two.
  if (other?.schedule?.pool === undefined || other.name < name) return [];
  return [
    `pool "${pool.name}" has ${pool.slots} slots here and ${other.schedule.pool.slots} in view "${other.name}"; give it one size, best as a constant of both.`,
  ];
}

/** What is wrong with the views that a view depends on. */
function upstreamProblems({ name, schedule }: FeatureView, views: Definitions["views"]): string[] {
  if (schedule === undefined) return [];
  const upstreams = (view: string) => {
    const own = views.find(({ definition }) => definition.name === view)?.definition.schedule;
    return own === undefined ? [] : upstreamsOf(own).map((upstream) => upstream.view);
  };
  const circle = circleThrough(name, upstreams);
  if (circle !== undefined)
    return [`dependsOn goes in a circle: ${circle.join(" → ")}. Take one of them out.`];
  return upstreamsOf(schedule).flatMap(({ view }) => {
    const found = views.find(({ definition }) => definition.name === view);
    if (found === undefined)
      return [`dependsOn "${view}", which features/index.ts does not export. Export it.`];
    if (found.definition.schedule === undefined)
      return [`dependsOn "${view}", which has no schedule, so no intervals. Give it one.`];
    return [];
  });
}

/** A way from a view back to itself, if there is one. */
function circleThrough(
  view: string,
  next: (view: string) => readonly string[],
): readonly string[] | undefined {
  const seen = new Set<string>();
  const from = (path: readonly string[]): readonly string[] | undefined => {
    for (const each of next(path.at(-1) ?? "")) {
      if (each === view) return [...path, each];
      if (seen.has(each)) continue;
      seen.add(each);
      const found = from([...path, each]);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return from([view]);
}

function checkServices({ services, features, views }: Definitions, problems: string[]): void {
  const named = new Set(features.map(({ expr }) => fingerprintOf(expr.node)));
  const nameOf = new Map(features.map(({ name, expr }) => [fingerprintOf(expr.node), name]));
  const covered = new Set(views.map(({ definition }) => definition.source.name));
  const taken = new Map<string, string>();
  for (const { module, definition } of services) {
    const { name } = definition;
    const say = (problem: string) =>
      problems.push(`feature service "${name}" (features/${module}.ts) ${problem}`);
    const bad = nameProblem(name);
    if (bad !== undefined) say(bad);
    if (taken.has(name)) say(`has the name of another service in features/${taken.get(name)}.ts.`);
    taken.set(name, module);
    if (definition.features.length === 0) say("lists no feature.");
    const seen = new Set<string>();
    definition.features.forEach(({ node }, index) => {
      const label = node.kind === "column" ? node.name : nameOf.get(fingerprintOf(node));
      if (node.kind === "invalid") say(sentence(node.problem));
      else if (node.kind === "column" ? !covered.has(node.source) : !named.has(fingerprintOf(node)))
        say(`lists, at place ${index + 1}, ${unnamed(node)}. Export it as a feature first.`);
      else if (seen.has(label ?? "")) say(`lists "${label}" twice.`);
      seen.add(label ?? "");
    });
  }
}

function unnamed(node: Node): string {
  const column = node as ColumnNode;
  return node.kind === "column"
    ? `column "${column.name}" of source "${column.source}", which no view covers`
    : "an expression that has no name";
}
