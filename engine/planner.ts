/**
 * The planner: from the outputs that are asked for to what must come from the request, what from
 * the online store, and which aggregates. A query on the DAG, made once per plan; binding a plan to
 * what a request carries settles beforehand where every value comes from (`resolve.ts`), and
 * compiles what is computed of them (`parts.ts`).
 */
import type { Catalogue, Output, View } from "./catalogue.ts";
import { outputNamed, serviceNamed } from "./catalogue.ts";
import type { OnlineForm } from "./compile/online.ts";
import { didYouMean, OnceflowError } from "./errors.ts";
import { fingerprintOf, hash } from "./fingerprint.ts";
import { type BoundPart, compileParts } from "./plan-parts.ts";
import {
  type Carried,
  type RequiredInput,
  type RequiredInputs,
  requiredInputsOf,
  type Resolved,
  resolveOutput,
} from "./resolve.ts";

/** What a plan is for: a service, or outputs by name, in order. */
export type Asked = { readonly service: string } | { readonly features: readonly string[] };

/**
 * Where an input comes from if a row names its entity and sends nothing else: the entity itself;
 * the store, which has the column or what is computed of it; a default, which stands for the
 * features that need it; or nowhere, so that the request must send it.
 */
export type InputOrigin = "entity" | "store" | "default" | "request";

/** What serves a list of outputs, for any mixture of request inputs and stored rows. */
export interface Plan {
  readonly outputs: readonly Output[];
  /** Hash of all that the outputs mean. */
  readonly fingerprint: string;
  /** The raw columns that would answer everything without a stored row. */
  readonly requiredInputs: () => readonly RequiredInput[];
  /** Key columns by which stored rows are found, over all views. */
  readonly entityKeys: readonly string[];
  /** Where the value of each required input comes from in a row that names its entity alone. */
  readonly inputOrigins: () => ReadonlyMap<RequiredInput, InputOrigin>;
  /**
   * The required input of a name in a request (`age` or `absences.age`), or undefined for a column
   * that the sources have but no output needs.
   *
   * @throws UNKNOWN_INPUT for a name that is no column of the sources, or is ambiguous
   */
  readonly inputNamed: (name: string) => RequiredInput | undefined;
  /**
   * Settles what comes from where, and compiles it. Cost: code is generated, so whoever asks again
   * and again keeps what it gets.
   *
   * @param inputs - ids of the required inputs that the request carries
   * @param keys - names of the entity key columns that it carries
   * @throws MISSING_INPUT listing all that is missing, by feature
   */
  readonly bind: (inputs: ReadonlySet<string>, keys: ReadonlySet<string>) => readonly BoundPart[];
}

/** How a plan is made. */
export interface PlanOptions {
  readonly form?: OnlineForm;
}

/**
 * Plans a service or a list of outputs.
 *
 * @throws UNKNOWN_SERVICE, UNKNOWN_FEATURE
 */
export function plan(catalogue: Catalogue, asked: Asked, options: PlanOptions = {}): Plan {
  if ("service" in asked) {
    const service = serviceNamed(catalogue, asked.service);
    return planOutputs(service.outputs, service.fingerprint, options);
  }
  const outputs = asked.features.map((name) => outputNamed(catalogue, name));
  const fingerprint = hash(
    outputs.map(({ name, node, view }) => [
      name,
      fingerprintOf(node),
      view.fingerprint,
      view.aggregatesFingerprint,
    ]),
  );
  return planOutputs(outputs, fingerprint, options);
}

function planOutputs(
  outputs: readonly Output[],
  fingerprint: string,
  { form = "auto" }: PlanOptions,
): Plan {
  const required = requiredInputsOf(outputs);
  const views = [...new Map(outputs.map(({ view }) => [view.rows.name, view])).values()];
  const entityKeys = [...new Set(views.flatMap((view) => view.rows.key))];
  return {
    outputs,
    fingerprint,
    requiredInputs: () => [...required.values()],
    entityKeys,
    inputOrigins: () => originsOf(outputs, required, new Set(entityKeys)),
    inputNamed: (name) => {
      const exact = required.get(name);
      if (exact !== undefined) return exact;
      const [input, second] = [...required.values()].filter(({ column }) => column === name);
      if (second !== undefined)
        throw new OnceflowError(
          "UNKNOWN_INPUT",
          `input "${name}" is a column of sources "${input?.source}" and "${second.source}"; write "${input?.id}" or "${second.id}".`,
        );
      if (input !== undefined || isColumn(name, views)) return input;
      const known = views.flatMap((view) => Object.keys(view.rows.columns));
      throw new OnceflowError(
        "UNKNOWN_INPUT",
        `input "${name}" is no column of ${views.map((view) => `source "${view.rows.name}"`).join(" or ")}.${didYouMean(name, known)}`,
        { input: name },
      );
    },
    bind: (inputs, keys) => bind(outputs, required, { inputs, keys }, form),
  };
}

function isColumn(name: string, views: readonly View[]): boolean {
  return views.some(
    ({ rows }) =>
      Object.hasOwn(rows.columns, name) ||
      (name.startsWith(`${rows.name}.`) &&
        Object.hasOwn(rows.columns, name.slice(rows.name.length + 1))),
  );
}

function bind(
  outputs: readonly Output[],
  required: RequiredInputs,
  carried: Carried,
  form: OnlineForm,
): readonly BoundPart[] {
  const resolved = outputs.map((output) => resolveOutput(output, required, carried));
  const needy = resolved.filter(
    ({ missing, output: { notes, view } }) =>
      missing.length > 0 &&
      // A key of which a part is missing is a mistake, and no default may hide it.
      (notes?.defaultValue === undefined || isPartial(view, carried.keys)),
  );
  if (needy.length > 0) throw missingInput(needy, outputs, carried.keys);
  return compileParts(resolved, form);
}

function originsOf(
  outputs: readonly Output[],
  required: RequiredInputs,
  keys: ReadonlySet<string>,
): ReadonlyMap<RequiredInput, InputOrigin> {
  const carried = { inputs: new Set<string>(), keys };
  const resolved = outputs.map((output) => resolveOutput(output, required, carried));
  return new Map(
    [...required.values()].map((input) => {
      const of = (output: Output) => output.view.rows.name === input.source;
      const lacking = resolved.filter(
        ({ output, missing }) => of(output) && missing.includes(input.column),
      );
      if (lacking.length > 0) {
        const isDefaulted = lacking.every(({ output }) => output.notes?.defaultValue !== undefined);
        return [input, isDefaulted ? "default" : "request"];
      }
      const isKey = outputs.find(of)?.view.rows.key.includes(input.column);
      return [input, isKey === true ? "entity" : "store"];
    }),
  );
}

/** Whether a request names some, and not all, of a view's key columns. */
function isPartial({ rows }: View, keys: ReadonlySet<string>): boolean {
  return rows.key.some((key) => keys.has(key)) && !rows.key.every((key) => keys.has(key));
}

function missingInput(
  needy: readonly Resolved[],
  outputs: readonly Output[],
  keys: ReadonlySet<string>,
): OnceflowError {
  const lines = needy.map(({ output, missing }) => `${output.name} needs ${missing.join(", ")}`);
  const wanted = [...new Set(outputs.flatMap(({ view }) => view.rows.key))];
  const hint = wanted.every((key) => keys.has(key))
    ? "These columns are not stored: send them as inputs, or add them to what the view stores."
    : `Send them as inputs, or send the entity (${wanted.join(", ")}) to read its stored row.`;
  return new OnceflowError(
    "MISSING_INPUT",
    `the request lacks inputs: ${lines.join("; ")}. ${hint}`,
    { missing: Object.fromEntries(needy.map(({ output, missing }) => [output.name, missing])) },
  );
}
