/** `lineage`: what rests on what. */
import { type Command, Option } from "commander";
import type { Catalogue } from "../../engine/catalogue.ts";
import {
  consumersOf,
  type Direction,
  featuresTagged,
  type Lineage,
  lineageAround,
  lineageOf,
  toMermaid,
} from "../../engine/lineage.ts";
import {
  type Context,
  finishCommand,
  type JsonOption,
  type Reply,
  usageError,
} from "../context.ts";
import { table } from "../table.ts";
import type { Paint } from "../terminal.ts";

interface Options extends JsonOption {
  readonly up?: true;
  readonly down?: true;
  readonly tag?: string;
  readonly mermaid?: true;
}

/** Adds the command. */
export function addLineage(program: Command, context: Context): void {
  const command = program
    .command("lineage")
    .argument("[name]", "a feature, a service, or a column as <source>.<column>")
    .summary("show what a feature rests on and where it is used")
    .description(
      "Shows what a name rests on, and what rests on it; without a name the whole graph. Reads " +
        "the definitions of this build alone.",
    )
    .addOption(new Option("--up", "only what the name rests on").conflicts("down"))
    .addOption(new Option("--down", "only what rests on the name"))
    .option("--tag <k[=v]>", "the features that carry a tag, with any value or one")
    .option("--mermaid", "write the graph in Mermaid's notation, to paste into Markdown")
    .action((name: string | undefined, options: Options) =>
      context.answer(options, async () =>
        lineage(await context.catalogue(), name, options, context.paint),
      ),
    );
  finishCommand(command, ["lineage is_summer --down", "lineage --tag region=brazil"]);
}

/** The answer of the command; only the definitions are read. */
export function lineage(
  catalogue: Catalogue,
  name: string | undefined,
  options: Omit<Options, "json">,
  paint: Paint,
): Reply {
  const { up, down, tag, mermaid } = options;
  const direction: Direction = up ? "up" : down ? "down" : "both";
  if (name !== undefined && tag !== undefined)
    throw usageError("a name and --tag exclude each other: give one of them.");
  if (name === undefined && tag === undefined && direction !== "both")
    throw usageError(`--${direction} needs a name or --tag to start from.`);
  const withTag = tag === undefined ? undefined : tagged(catalogue, tag);
  const names = withTag?.map((each) => each.name) ?? (name === undefined ? undefined : [name]);
  const graph = names === undefined ? lineageOf(catalogue) : around(catalogue, names, direction);
  const data = withTag === undefined ? { name, ...graph } : { tag, features: withTag, ...graph };
  return {
    data: mermaid ? { ...data, mermaid: toMermaid(graph) } : data,
    text: () => {
      if (mermaid) return toMermaid(graph);
      if (withTag !== undefined) return taggedText(tag ?? "", withTag, paint);
      return name === undefined ? wholeText(graph, paint) : aroundText(graph, name, direction);
    },
  };
}

function tagged(catalogue: Catalogue, text: string) {
  const at = text.indexOf("=");
  const [tag, value] = at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
  if (tag === undefined || tag === "")
    throw usageError(`--tag is "${text}"; write a tag, or tag=value, such as region=brazil.`);
  return featuresTagged(catalogue, tag, value).map((name) => {
    const feature = catalogue.features.get(name);
    return {
      name,
      view: feature?.view ?? "",
      tags: feature?.notes.tags ?? {},
      description: feature?.notes.description ?? null,
      consumers: consumersOf(catalogue, name),
    };
  });
}

/** The union of the graphs around some names. */
function around(catalogue: Catalogue, names: readonly string[], direction: Direction): Lineage {
  const graphs = names.map((name) => lineageAround(catalogue, name, direction));
  const { nodes, edges } = lineageOf(catalogue);
  const reached = new Set(graphs.flatMap((graph) => graph.nodes.map((node) => node.name)));
  const followed = new Set(graphs.flatMap((graph) => graph.edges.map(keyOf)));
  return {
    nodes: nodes.filter((node) => reached.has(node.name)),
    edges: edges.filter((edge) => followed.has(keyOf(edge))),
  };
}

function keyOf({ from, to }: Lineage["edges"][number]): string {
  return `${from}\n${to}`;
}

function taggedText(tag: string, features: ReturnType<typeof tagged>, paint: Paint): string {
  if (features.length === 0) return `no feature carries the tag ${tag}`;
  return table(
    ["feature", "view", "tags", "used by"],
    features.map(({ name, view, tags, consumers }) => [
      name,
      view,
      Object.entries(tags)
        .map(([key, value]) => `${key}=${value}`)
        .join(", "),
      consumers.join(", ") || "nothing",
    ]),
    paint,
  );
}

function aroundText(graph: Lineage, name: string, direction: Direction): string {
  const parts = [];
  if (direction !== "down") parts.push(`rests on\n${tree(graph, name, "from")}`);
  if (direction !== "up") parts.push(`used by\n${tree(graph, name, "to")}`);
  return parts.join("\n\n");
}

/** Every service with what it rests on, then what no service uses. */
function wholeText(graph: Lineage, paint: Paint): string {
  const parts = graph.nodes
    .filter((node) => node.kind === "service")
    .map((node) => tree(graph, node.name, "from"));
  const read = new Set(graph.edges.map((edge) => edge.from));
  const unused = (kinds: readonly string[]) =>
    graph.nodes.filter((node) => kinds.includes(node.kind) && !read.has(node.name));
  const features = unused(["feature", "aggregate"]);
  const columns = unused(["column"]);
  if (features.length > 0)
    parts.push(
      `${paint("dim", "features that nothing uses")}\n${features.map(({ name }) => `  ${name}`).join("\n")}`,
    );
  if (columns.length > 0)
    parts.push(
      `${paint("dim", "columns that no feature reads")}\n${columns.map(({ name }) => `  ${name}`).join("\n")}`,
    );
  return parts.join("\n\n");
}

/** A name and all that lies on one side of it; what was drawn before is drawn once. */
function tree(graph: Lineage, root: string, far: "from" | "to"): string {
  const near = far === "from" ? "to" : "from";
  const kindOf = new Map(graph.nodes.map(({ name, kind }) => [name, kind]));
  const next = (name: string) =>
    graph.edges.filter((edge) => edge[near] === name).map((edge) => edge[far]);
  const label = (name: string) => {
    const kind = kindOf.get(name);
    return kind === "feature" || kind === undefined ? name : `${name} (${kind})`;
  };
  const lines = [label(root)];
  const drawn = new Set<string>();
  const draw = (name: string, lead: string) => {
    const below = next(name);
    below.forEach((each, i) => {
      const isLast = i === below.length - 1;
      const again = drawn.has(each) && next(each).length > 0;
      lines.push(`${lead}${isLast ? "└─ " : "├─ "}${label(each)}${again ? " …" : ""}`);
      if (again) return;
      drawn.add(each);
      draw(each, `${lead}${isLast ? "   " : "│  "}`);
    });
  };
  draw(root, "");
  return lines.join("\n");
}
