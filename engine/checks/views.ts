/** Checks of views: what they store, their options, and their schedules beside those of others. */
import { scheduleProblems } from "../calendar/schedule-problems.ts";
import { upstreamsOf } from "../calendar/schedule.ts";
import { fingerprintOf } from "../fingerprint.ts";
import { fallbacks, type FeatureView, gapRules, type Source } from "../language/definitions.ts";
import { restsOnAggregate } from "../rests-on.ts";
import { showValue } from "../wire.ts";
import { type Definitions, nameProblem, problemOf } from "./definitions.ts";

/** Characters of a name in a request, at most; `limits` of serving/request.ts has the same. */
const longestRequested = 256;

/**
 * Finds what is wrong with views.
 *
 * @param viewOf - the view that owns each feature
 */
export function checkViews(
  { views, features }: Definitions,
  viewOf: ReadonlyMap<string, string>,
  problems: string[],
): void {
  const nameOf = new Map(features.map(({ name, expr }) => [fingerprintOf(expr.node), name]));
  const taken = new Map<string, string>();
  const over = new Map<Source, { readonly name: string; readonly module: string }>();
  for (const { module, definition } of views) {
    const { name, source, stores, ttlSeconds, expectedEntities } = definition;
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
      say(`has a ttlSeconds of ${showValue(ttlSeconds)}; it is a number of seconds above 0.`);
    if (
      !Number.isSafeInteger(expectedEntities) ||
      !(expectedEntities >= 0 && expectedEntities <= 1e12)
    )
      say(
        `has an expectedEntities of ${showValue(expectedEntities)}; it is a whole number from 0 to 10^12.`,
      );
    for (const column of Object.keys(source.types))
      if (name.length + 1 + column.length > longestRequested)
        say(
          `has a name too long for its column "${column}": "${name}.…" is how requests ask for it, with at most ${longestRequested} characters.`,
        );
    for (const option of ["onOutdated", "onStoreDown"] as const)
      if (!fallbacks.includes(definition[option]))
        say(
          `has the ${option} ${showValue(definition[option])}; it is one of ${fallbacks.join(", ")}.`,
        );
    if (definition.gaps !== undefined && !gapRules.includes(definition.gaps))
      say(`has the gaps ${showValue(definition.gaps)}; it is one of ${gapRules.join(", ")}.`);
    if (definition.schedule !== undefined)
      for (const problem of scheduleProblems(definition.schedule)) say(`schedule: ${problem}`);
    for (const problem of upstreamProblems(definition, views)) say(`schedule: ${problem}`);
    for (const problem of poolProblems(definition, views)) say(`schedule: ${problem}`);
    const stored = new Set<string>();
    for (const { node } of stores) {
      const label = node.kind === "column" ? node.name : nameOf.get(fingerprintOf(node));
      if (node.kind === "invalid") say(problemOf(node));
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
