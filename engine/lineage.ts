/** Lineage: what rests on what, from source columns through features to services. */
import type { Catalogue } from "./catalogue.ts";
import { OnceflowError, didYouMean } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { inputsOf, type Node } from "./language/node.ts";
import { nearest } from "./rests-on.ts";

export type LineageKind = "column" | "feature" | "aggregate" | "service";

/** A named thing in the graph; a column's name is `<source>.<column>`. */
export interface LineageNode {
  readonly name: string;
  readonly kind: LineageKind;
}

/** `to` reads `from`. */
export interface LineageEdge {
  readonly from: string;
  readonly to: string;
}

export interface Lineage {
  readonly nodes: readonly LineageNode[];
  readonly edges: readonly LineageEdge[];
}

/** The whole graph of a catalogue. */
export function lineageOf(catalogue: Catalogue): Lineage {
  const nodes = new Map<string, LineageNode>();
  const edges: LineageEdge[] = [];
  const features = new Map(
    [...catalogue.features.values()].map(({ name, node }): [string, LineageNode] => [
      fingerprintOf(node),
      { name, kind: node.kind === "aggregate" ? "aggregate" : "feature" },
    ]),
  );
  const add = (each: LineageNode) => nodes.set(each.name, each);
  /** The nearest named things among nodes and below them. */
  const named = (roots: readonly Node[]): ReadonlySet<string> => {
    const found = nearest(roots, (node): LineageNode | undefined =>
      node.kind === "column"
        ? { name: `${node.source}.${node.name}`, kind: "column" }
        : features.get(fingerprintOf(node)),
    );
    for (const each of found) if (each.kind === "column") add(each);
    return new Set(found.map(({ name }) => name));
  };
  for (const { name, node } of catalogue.features.values()) {
    add(features.get(fingerprintOf(node)) as LineageNode);
    for (const from of named(inputsOf(node))) edges.push({ from, to: name });
  }
  for (const view of catalogue.views.values())
    for (const { node } of view.stores) if (node.kind === "column") named([node]);
  for (const { name, outputs } of catalogue.services.values()) {
    add({ name, kind: "service" });
    for (const { node } of outputs)
      for (const from of named([node])) edges.push({ from, to: name });
  }
  return { nodes: [...nodes.values()], edges };
}

/** Which way to follow: `up` to what it rests on, `down` to what rests on it. */
export type Direction = "up" | "down" | "both";

/**
 * The part of the graph around one name.
 *
 * @param name - a feature, a service, or a column as `<source>.<column>`
 * @throws UNKNOWN_FEATURE
 */
export function lineageAround(catalogue: Catalogue, name: string, direction: Direction): Lineage {
  const all = lineageOf(catalogue);
  if (!all.nodes.some((node) => node.name === name))
    throw new OnceflowError(
      "UNKNOWN_FEATURE",
      `nothing in the catalogue is named "${name}".${didYouMean(
        name,
        all.nodes.map((node) => node.name),
      )} Columns are written <source>.<column>.`,
      { name },
    );
  const reached = new Set([name]);
  const edges = new Set<LineageEdge>();
  const follow = (near: keyof LineageEdge, far: keyof LineageEdge) => {
    const queue = [name];
    const seen = new Set(queue);
    for (let at = queue.shift(); at !== undefined; at = queue.shift())
      for (const edge of all.edges) {
        if (edge[near] !== at) continue;
        edges.add(edge);
        reached.add(edge[far]);
        if (!seen.has(edge[far])) queue.push(edge[far]);
        seen.add(edge[far]);
      }
  };
  if (direction !== "down") follow("to", "from");
  if (direction !== "up") follow("from", "to");
  return {
    nodes: all.nodes.filter((node) => reached.has(node.name)),
    edges: all.edges.filter((edge) => edges.has(edge)),
  };
}

/** Names of features that carry a tag, with any value or one. */
export function featuresTagged(catalogue: Catalogue, tag: string, value?: string): string[] {
  return [...catalogue.features.values()]
    .filter(({ notes }) => {
      const found = Object.hasOwn(notes.tags, tag) ? notes.tags[tag] : undefined;
      return found !== undefined && (value === undefined || found === value);
    })
    .map((feature) => feature.name);
}

/** The graph in Mermaid's notation, to paste into Markdown. */
export function toMermaid({ nodes, edges }: Lineage): string {
  const id = new Map(nodes.map(({ name }, i) => [name, `n${i}`]));
  const shape: Readonly<Record<LineageKind, readonly [string, string]>> = {
    column: ["[(", ")]"],
    feature: ["[", "]"],
    aggregate: ["{{", "}}"],
    service: ["([", "])"],
  };
  return [
    "flowchart LR",
    ...nodes.map(
      ({ name, kind }) => `  ${id.get(name)}${shape[kind][0]}"${name}"${shape[kind][1]}`,
    ),
    ...edges.map(({ from, to }) => `  ${id.get(from)} --> ${id.get(to)}`),
  ].join("\n");
}

/**
 * Where a name is used: the services that read it, directly or not.
 *
 * @throws UNKNOWN_FEATURE
 */
export function consumersOf(catalogue: Catalogue, name: string): string[] {
  return lineageAround(catalogue, name, "down")
    .nodes.filter((node) => node.kind === "service")
    .map((node) => node.name);
}
