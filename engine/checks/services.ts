/** Checks of services: that they list features, and what of them is known. */
import { fingerprintOf } from "../fingerprint.ts";
import type { ColumnNode, Node } from "../language/node.ts";
import { type Definitions, nameProblem, problemOf } from "./definitions.ts";

/** Finds what is wrong with services. */
export function checkServices(
  { services, features, views }: Definitions,
  problems: string[],
): void {
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
      if (node.kind === "invalid") say(problemOf(node));
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
