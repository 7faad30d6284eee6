/** What modules export, sorted by kind; what would vanish without a word is a problem. */
import { isEntity, isService, isSource, isView } from "../language/definitions.ts";
import { type Expr, isExpr } from "../language/expression.ts";
import { fingerprintOf } from "../fingerprint.ts";
import { problemsIn } from "../language/misuse.ts";
import { isUnfinished } from "../language/unfinished.ts";
import { isEndless } from "./features.ts";
import type { Definitions } from "./definitions.ts";

/** The definitions of some modules, and what is wrong with what they export. */
export interface Exports {
  readonly definitions: Definitions;
  /** What is wrong with the arguments of definitions, which no other check expects. */
  readonly malformed: readonly string[];
  /** What nobody would see, since it has no name. */
  readonly lost: () => readonly string[];
}

/** Sorts what modules export; constants and functions of the user's own are left alone. */
export function collectExports(
  modules: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
): Exports {
  const definitions = {
    features: [] as Definitions["features"][number][],
    views: [] as Definitions["views"][number][],
    services: [] as Definitions["services"][number][],
    sources: [] as Definitions["sources"][number][],
  };
  const lost: string[] = [];
  const others: { name: string; module: string; value: object }[] = [];
  for (const [module, exports] of Object.entries(modules)) {
    const kind = kindOf(exports);
    if (kind !== undefined)
      lost.push(
        `features/index.ts exports ${kind} "${module}" itself; export it from a module, and that module from features/index.ts: export * as orders from "./orders.ts".`,
      );
    else
      for (const [name, value] of Object.entries(exports ?? {})) {
        // A column that is exported by its own name is that column.
        const isItself = isExpr(value) && value.node.kind === "column" && value.node.name === name;
        if (isItself) continue;
        if (isExpr(value)) definitions.features.push({ name, module, expr: value });
        else if (isView(value))
          definitions.views.push({ exportName: name, module, definition: value });
        else if (isService(value))
          definitions.services.push({ exportName: name, module, definition: value });
        else if (isSource(value)) definitions.sources.push({ module, definition: value });
        else if (typeof value === "object" && value !== null) others.push({ name, module, value });
      }
  }
  // Asked for once it is known that trees end.
  const lostOf = () => {
    const known = namedIn(definitions);
    const inOthers = others.flatMap(({ name, module, value }) =>
      lostIn(value, known).map((said) => `"${name}" (features/${module}.ts) ${said}`),
    );
    return [...lost, ...inOthers];
  };
  return { definitions, malformed: misuses(definitions, others), lost: lostOf };
}

/** What has a name: the formulas of features, views, services. */
function namedIn({ features, views, services }: Definitions): ReadonlySet<unknown> {
  return new Set<unknown>([
    ...features.map(({ expr }) => fingerprintOf(expr.node)),
    ...views.map(({ definition }) => definition),
    ...services.map(({ definition }) => definition),
  ]);
}

function kindOf(value: unknown): string | undefined {
  if (isExpr(value)) return "the expression";
  if (isView(value)) return "the view";
  return isService(value) ? "the service" : undefined;
}

/** What is wrong with the arguments of definitions, each once. */
function misuses(
  { views, services, sources }: Definitions,
  others: readonly { readonly module: string; readonly value: object }[],
): string[] {
  const problems = new Set<string>();
  const say = (what: string, name: string, module: string, definition: object): void => {
    for (const problem of problemsIn(definition))
      problems.add(`${what} "${name}" (features/${module}.ts) ${problem}`);
  };
  const sayOfSource = (module: string, source: Definitions["sources"][number]["definition"]) => {
    say("source", source.name, module, source);
    say("entity", source.entity.name, module, source.entity);
  };
  for (const { module, definition } of views) {
    say("feature view", definition.name, module, definition);
    sayOfSource(module, definition.source);
  }
  for (const { module, definition } of services)
    say("feature service", definition.name, module, definition);
  for (const { module, definition } of sources) sayOfSource(module, definition);
  for (const { module, value } of others)
    if (isEntity(value)) say("entity", value.name, module, value);
  return [...problems];
}

/** Members of an export that are looked at, at most. */
const mostMembers = 10_000;

/** The definitions that an export holds and that have no name of their own, so that nobody sees them. */
function lostIn(root: object, known: ReadonlySet<unknown>): string[] {
  const lost: string[] = [];
  const seen = new Set<unknown>();
  const look = (value: unknown, path: string): void => {
    if (typeof value !== "object" || value === null || seen.has(value)) return;
    if (seen.size >= mostMembers || lost.length >= 10) return;
    seen.add(value);
    const what = whatIsLost(value, known);
    if (what !== undefined) lost.push(sentenceOf(what, path, Array.isArray(root)));
    else if (!isExpr(value) && kindOf(value) === undefined && !isSource(value) && !isEntity(value))
      for (const [key, member] of membersOf(value))
        look(member, path === "" ? key : `${path}.${key}`);
  };
  look(root, "");
  return lost;
}

function whatIsLost(value: object, known: ReadonlySet<unknown>): string | undefined {
  if (isUnfinished(value)) return "a when(…) without its otherwise(…)";
  if (isExpr(value)) return isNamed(value, known) ? undefined : "an expression";
  return known.has(value) ? undefined : kindOf(value)?.replace("the", "a");
}

function isNamed({ node }: Expr, known: ReadonlySet<unknown>): boolean {
  return node.kind === "column" || (!isEndless(node) && known.has(fingerprintOf(node)));
}

function sentenceOf(what: string, path: string, isList: boolean): string {
  if (path === "") return `is ${what}; add that.`;
  const fix = isList
    ? "export each by a name of its own"
    : `export it by its name, for example export const { ${path.split(".").at(-1) ?? path} } = …`;
  return `is ${isList ? "an array" : "an object"} that holds ${what} at "${path}", which has no name so: ${fix}.`;
}

/** The members of an object that are there without a call. */
function membersOf(value: object): [string, unknown][] {
  if (value instanceof Map || value instanceof Set)
    return [...value.values()].map((member, place) => [String(place), member as unknown]);
  if (ArrayBuffer.isView(value)) return [];
  return Object.entries(Object.getOwnPropertyDescriptors(value)).map(([key, descriptor]) => [
    key,
    descriptor.value as unknown,
  ]);
}
