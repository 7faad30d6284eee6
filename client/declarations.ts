/** Writes the types of a catalogue as TypeScript that stands for itself: it imports nothing. */
import type { Catalogue, Service } from "../engine/catalogue.ts";
import type { Dtype } from "../engine/language/dtypes.ts";
import { plan } from "../engine/planner.ts";
import type { RequiredInput } from "../engine/resolve.ts";
import { inputNames } from "../serving/describe.ts";

/** Names of the types below, by dtype; `sent` where a request may send more than an answer holds. */
const typeNames: Readonly<Record<Dtype, { readonly held: string; readonly sent?: string }>> = {
  bool: { held: "boolean" },
  int64: { held: "Int64" },
  float64: { held: "Float64" },
  string: { held: "string" },
  timestamp: { held: "string", sent: "Instant" },
  list_float64: { held: "readonly Float64[]" },
};

const head = `/**
 * The features that this build serves. \`onceflow types\` writes this file; do not edit it.
 * Any value may be null, since the store may not have the row.
 */

/** A 64-bit integer: a number within ±(2^53 − 1), else decimal text. \`BigInt(value)\` is exact. */
export type Int64 = number | string;

/** A double; \`Number(value)\` is exact. */
export type Float64 = number | "NaN" | "Infinity" | "-Infinity" | "-0";

/** A time in a request: ISO 8601, or milliseconds since 1970. Answers have ISO 8601 in UTC. */
export type Instant = string | number;

/** Part of an entity key: text, or an integer within ±(2^53 − 1). */
export type Key = string | number;
`;

/** A member of an object type. */
interface Member {
  readonly name: string;
  readonly type: string;
  readonly isOptional?: boolean;
  readonly description?: string | undefined;
}

/** The text of a file with the type \`Catalogue\`, formatted as prettier does by default. */
export function declareCatalogue(catalogue: Catalogue): string {
  const services = [...catalogue.services.values()].map((service) => ({
    name: service.name,
    type: declareService(catalogue, service),
    description: service.description,
  }));
  const views = [...catalogue.views.values()];
  const features = [...catalogue.features.values()].map(({ name, node, notes }) => ({
    name,
    type: answered(node.dtype),
    description: notes.description,
  }));
  const columns = views.flatMap((view) =>
    Object.entries(view.rows.columns).map(([name, { dtype }]) => ({
      name: `${view.name}.${name}`,
      type: answered(dtype),
    })),
  );
  const keys = [...new Set(views.flatMap(({ rows }) => rows.key))];
  const inputs = views.flatMap(({ rows }) =>
    Object.entries(rows.columns).map(([column, { dtype, nullable }]) => ({
      source: rows.name,
      column,
      type: sent(dtype, nullable),
    })),
  );
  const isTwin = (column: string) => inputs.filter((each) => each.column === column).length > 1;
  const body = members([
    { name: "services", type: members(services) },
    { name: "features", type: members([...features, ...columns]) },
    {
      name: "entity",
      type: members(keys.map((name) => ({ name, type: "Key", isOptional: true }))),
    },
    {
      name: "inputs",
      type: members(
        inputs.flatMap(({ source, column, type }) => [
          ...(isTwin(column) ? [] : [{ name: column, type, isOptional: true }]),
          { name: `${source}.${column}`, type, isOptional: true },
        ]),
      ),
    },
  ]);
  return `${head}\nexport interface Catalogue ${body}\n`;
}

function declareService(catalogue: Catalogue, { name, outputs }: Service): string {
  const { entityKeys, inputOrigins } = plan(catalogue, { service: name });
  const origins = inputOrigins();
  const defaulted = new Set(
    outputs.flatMap((output) => (output.notes?.defaultValue === undefined ? [] : output.name)),
  );
  const names = inputNames([...origins.keys()]);
  const inputs = (isOptional: (input: RequiredInput) => boolean) =>
    members(
      [...origins.keys()].map((input) => ({
        name: names.get(input) ?? input.id,
        type: sent(input.dtype, input.nullable),
        isOptional: isOptional(input),
      })),
    );
  return members([
    {
      name: "features",
      type: members(
        outputs.map((output) => ({
          name: output.name,
          type: answered(output.node.dtype),
          description: output.notes?.description,
        })),
      ),
    },
    { name: "entity", type: members(entityKeys.map((key) => ({ name: key, type: "Key" }))) },
    {
      name: "inputs",
      type: inputs(({ features }) => features.every((feature) => defaulted.has(feature))),
      description: "Raw columns of a row that names no entity.",
    },
    {
      name: "entity_inputs",
      type: inputs((input) => origins.get(input) !== "request"),
      description: "Raw columns beside an entity; the store has those that may be left out.",
    },
  ]);
}

const answered = (dtype: Dtype): string => `${typeNames[dtype].held} | null`;

function sent(dtype: Dtype, nullable: boolean): string {
  const { held, sent = held } = typeNames[dtype];
  return nullable ? `${sent} | null` : sent;
}

/** An object type. Definitions are words of people, which must not end a comment. */
function members(all: readonly Member[]): string {
  if (all.length === 0) return "{}";
  const lines = all.flatMap(({ name, type, isOptional = false, description }) => [
    ...(description === undefined ? [] : [`/** ${commentOf(description)} */`]),
    `${/^[a-z_]\w*$/i.test(name) ? name : JSON.stringify(name)}${isOptional ? "?" : ""}: ${type};`,
  ]);
  return `{\n${lines.join("\n").replaceAll(/^(?=.)/gm, "  ")}\n}`;
}

function commentOf(text: string): string {
  return text.replaceAll("*/", "*\\/").replaceAll(/\s+/g, " ").trim();
}
