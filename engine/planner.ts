/**
 * The planner: from the outputs that are asked for to what must come from the request, what from
 * the online store, and which aggregates. A query on the DAG, made once per plan.
 *
 * For each node: if its raw inputs are all in the request, it is computed from them; else its
 * stored value is taken; else it is computed from what its inputs resolve to; else its default
 * stands. Binding a plan to the
 * inputs that a request carries settles this for every node beforehand, so that nothing is looked
 * up by name while rows are computed.
 */
import type { Catalogue, Output, View } from "./catalogue.ts";
import { outputNamed, serviceNamed } from "./catalogue.ts";
import { compileOnline, type OnlineForm, type RowProgram } from "./compile/online.ts";
import type { Dtype, Value } from "./language/dtypes.ts";
import { didYouMean, OnceflowError } from "./errors.ts";
import type { Expectation } from "./language/expectations.ts";
import { fingerprintOf, hash } from "./fingerprint.ts";
import { createLru } from "./lru.ts";
import type { ColumnNode, Node } from "./language/node.ts";
import { inputsOf, visit } from "./language/node.ts";

/** What a plan is for: a service, or outputs by name, in order. */
export type Asked = { readonly service: string } | { readonly features: readonly string[] };

/** A raw column that outputs need, and which of them. */
export interface RequiredInput {
  /** `<source>.<column>`. */
  readonly id: string;
  readonly column: string;
  readonly source: string;
  readonly dtype: Dtype;
  readonly nullable: boolean;
  readonly features: readonly string[];
}

/**
 * Where an input comes from if a row names its entity and sends nothing else: the entity itself;
 * the store, which has the column or what is computed of it; a default, which stands for the
 * features that need it; or nowhere, so that the request must send it.
 */
export type InputOrigin = "entity" | "store" | "default" | "request";

/** The columns of one view's stored row that a bound plan reads. */
export interface StoreRead {
  readonly view: View;
  /** Stored columns, in the order of their slots; the event time is not among them. */
  readonly columns: readonly string[];
  /** Slots of `columns`, one each. */
  readonly slots: readonly number[];
  /** The slot that takes the row's event time, where an output needs it. */
  readonly eventTimeSlot: number | undefined;
}

/** An aggregate value that a bound plan reads from its view's snapshot. */
export interface AggregateRead {
  readonly view: View;
  readonly fingerprint: string;
  readonly slot: number;
}

/** A value of the request that a bound plan reads. */
export interface RequestRead {
  readonly input: RequiredInput;
  readonly slot: number;
}

/** An output of a bound plan. */
export interface BoundOutput {
  readonly output: Output;
  /** Indexes of the store reads that its value rests on; empty where none. */
  readonly reads: readonly number[];
  /** Whether its default stands for inputs that are neither in the request nor stored. */
  readonly defaulted: boolean;
}

/** An expectation, and the place of its `violated` flag in the program's result. */
export interface BoundExpectation {
  readonly expectation: Expectation;
  readonly output: number;
  readonly place: number;
}

/** A plan for requests that carry a given set of inputs. */
export interface BoundPlan {
  readonly slotCount: number;
  readonly request: readonly RequestRead[];
  readonly store: readonly StoreRead[];
  readonly aggregates: readonly AggregateRead[];
  readonly outputs: readonly BoundOutput[];
  readonly expectations: readonly BoundExpectation[];
  /** The outputs in order, then the flags of the expectations. */
  readonly program: RowProgram;
  /** One output, then the flags of its expectations; tells which of the outputs throws. */
  readonly alone: (output: number) => RowProgram;
}

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
   * Settles what comes from where.
   *
   * @param inputs - ids of the required inputs that the request carries
   * @param keys - names of the entity key columns that it carries
   * @throws MISSING_INPUT listing all that is missing, by feature
   */
  readonly bind: (inputs: ReadonlySet<string>, keys: ReadonlySet<string>) => BoundPlan;
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

/** Bound plans kept for each plan, those used last: one for each set of inputs that requests carry. */
const boundLimit = 64;

function planOutputs(
  outputs: readonly Output[],
  fingerprint: string,
  { form = "auto" }: PlanOptions,
): Plan {
  const required = requiredInputsOf(outputs);
  const views = [...new Map(outputs.map(({ view }) => [view.rows.name, view])).values()];
  const entityKeys = [...new Set(views.flatMap((view) => view.rows.key))];
  const bound = createLru<string, BoundPlan>(boundLimit);
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
    bind: (inputs, keys) => {
      const key = [...inputs, "|", ...keys].sort().join(",");
      let plan = bound.get(key);
      if (plan === undefined) {
        plan = bind(outputs, required, inputs, keys, form);
        bound.set(key, plan);
      }
      return plan;
    },
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

const idOf = (column: ColumnNode): string => `${column.source}.${column.name}`;

/** The raw columns below a node; what an aggregate reads is not among them. */
function leavesOf(root: Node): ColumnNode[] {
  const leaves: ColumnNode[] = [];
  visit(
    [root],
    (node) => {
      if (node.kind === "column") leaves.push(node);
    },
    (node) => node.kind === "aggregate",
  );
  return leaves;
}

function requiredInputsOf(outputs: readonly Output[]): Map<string, RequiredInput> {
  const required = new Map<string, RequiredInput>();
  for (const output of outputs)
    for (const leaf of leavesOf(output.node)) {
      const id = idOf(leaf);
      const features = [...(required.get(id)?.features ?? []), output.name];
      const { name: column, source, dtype, nullable } = leaf;
      required.set(id, { id, column, source, dtype, nullable, features });
    }
  return required;
}

/** A store read while it is put together. */
interface StoreReadDraft {
  readonly view: View;
  readonly columns: string[];
  readonly slots: number[];
  eventTimeSlot: number | undefined;
}

/** Where the values of some outputs come from, and what of them comes from nowhere. */
interface Resolved {
  readonly slots: ReadonlyMap<string, number>;
  readonly request: readonly RequestRead[];
  readonly aggregates: readonly AggregateRead[];
  readonly store: readonly StoreRead[];
  /** Per output, the views whose stored row its value rests on. */
  readonly reads: ReadonlyMap<Output, ReadonlySet<View>>;
  /** Columns by output. */
  readonly missing: ReadonlyMap<Output, readonly string[]>;
}

function bind(
  outputs: readonly Output[],
  required: ReadonlyMap<string, RequiredInput>,
  inputs: ReadonlySet<string>,
  keys: ReadonlySet<string>,
  form: OnlineForm,
): BoundPlan {
  const all = resolveOutputs(outputs, required, inputs, keys);
  const { missing } = all;
  const defaulted = new Set(
    [...missing.keys()].filter(
      // A key of which a part is missing is a mistake, and no default may hide it.
      ({ notes, view }) => notes?.defaultValue !== undefined && !isPartial(view, keys),
    ),
  );
  if (missing.size > defaulted.size) throw missingInput(missing, defaulted, outputs, keys);
  const computed = outputs.filter((output) => !defaulted.has(output));
  const { slots, request, aggregates, store, reads } =
    defaulted.size === 0 ? all : resolveOutputs(computed, required, inputs, keys);

  const nodes = outputs.map((output): Node =>
    defaulted.has(output)
      ? literalOf(output.node.dtype, output.notes?.defaultValue ?? null)
      : output.node,
  );
  const expectations: BoundExpectation[] = [];
  outputs.forEach((output, index) => {
    if (defaulted.has(output)) return;
    for (const expectation of output.notes?.expectations ?? []) {
      const place = nodes.push(expectation.predicate.violated(output.node)) - 1;
      expectations.push({ expectation, output: index, place });
    }
  });
  const views = store.map((read) => read.view);
  /** Compiled when something throws, and kept. */
  const programs: RowProgram[] = [];
  const compile = (wanted: readonly Node[]) =>
    compileOnline(wanted, (node) => slots.get(fingerprintOf(node)), form);
  return Object.freeze({
    slotCount: slots.size,
    request,
    store,
    aggregates,
    outputs: outputs.map((output) => ({
      output,
      reads: [...(reads.get(output) ?? [])].map((view) => views.indexOf(view)),
      defaulted: defaulted.has(output),
    })),
    expectations,
    program: compile(nodes),
    alone: (output: number) =>
      (programs[output] ??= compile([
        nodes[output] as Node,
        ...expectations
          .filter((each) => each.output === output)
          .map(({ place }) => nodes[place] as Node),
      ])),
  });
}

function literalOf(dtype: Dtype, value: Value): Node {
  return Object.freeze({ kind: "literal", dtype, shape: "scalar", value });
}

function resolveOutputs(
  outputs: readonly Output[],
  required: ReadonlyMap<string, RequiredInput>,
  inputs: ReadonlySet<string>,
  keys: ReadonlySet<string>,
): Resolved {
  const slots = new Map<string, number>();
  const request: RequestRead[] = [];
  const aggregates: AggregateRead[] = [];
  const store = new Map<View, StoreReadDraft>();
  const reads = new Map<Output, Set<View>>();
  const missing = new Map<Output, string[]>();

  /** Gives a node a slot once, and tells where its value comes from. */
  const give = (node: Node, from: (slot: number) => void): void => {
    const key = fingerprintOf(node);
    if (slots.has(key)) return;
    from(slots.size);
    slots.set(key, slots.size);
  };

  /** @param seen - a formula is a graph, and what many formulas of an output share is met once */
  const resolve = (node: Node, output: Output, seen: Set<Node>): void => {
    if (seen.has(node)) return;
    seen.add(node);
    const { view } = output;
    const readStore = (): StoreReadDraft => {
      const read = store.get(view) ?? { view, columns: [], slots: [], eventTimeSlot: undefined };
      store.set(view, read);
      return read;
    };
    if (node.kind === "aggregate") {
      const fingerprint = view.aggregates.find(
        (each) => fingerprintOf(each.node) === fingerprintOf(node),
      )?.fingerprint;
      if (fingerprint === undefined) throw new Error("an aggregate is missing in its view");
      give(node, (slot) => aggregates.push({ view, fingerprint, slot }));
      return;
    }
    const leaves = leavesOf(node);
    const fromRequest = leaves.every((leaf) => inputs.has(idOf(leaf)) || isKey(leaf, view, keys));
    if (node.kind === "column" && fromRequest) {
      const input = required.get(idOf(node));
      if (input !== undefined) give(node, (slot) => request.push({ input, slot }));
      return;
    }
    const hasRow = view.rows.key.every((key) => keys.has(key));
    if (hasRow && !fromRequest) {
      const key = fingerprintOf(node);
      const stored = view.stores.find((column) => fingerprintOf(column.node) === key);
      if (stored !== undefined) {
        reads.get(output)?.add(view);
        give(node, (slot) => {
          const read = readStore();
          read.columns.push(stored.name);
          read.slots.push(slot);
        });
        return;
      }
      if (node.kind === "column" && node.name === view.rows.eventTime) {
        reads.get(output)?.add(view);
        give(node, (slot) => {
          readStore().eventTimeSlot = slot;
        });
        return;
      }
    }
    if (node.kind === "column") {
      const names = missing.get(output) ?? [];
      if (!names.includes(node.name)) names.push(node.name);
      missing.set(output, names);
      return;
    }
    for (const input of inputsOf(node)) resolve(input, output, seen);
  };

  for (const output of outputs) {
    reads.set(output, new Set());
    resolve(output.node, output, new Set());
  }
  return { slots, request, aggregates, store: [...store.values()], reads, missing };
}

function originsOf(
  outputs: readonly Output[],
  required: ReadonlyMap<string, RequiredInput>,
  keys: ReadonlySet<string>,
): ReadonlyMap<RequiredInput, InputOrigin> {
  const { missing } = resolveOutputs(outputs, required, new Set(), keys);
  return new Map(
    [...required.values()].map((input) => {
      const of = (output: Output) => output.view.rows.name === input.source;
      const lacking = [...missing].filter(
        ([output, columns]) => of(output) && columns.includes(input.column),
      );
      if (lacking.length > 0) {
        const isDefaulted = lacking.every(([{ notes }]) => notes?.defaultValue !== undefined);
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

/** Whether a column is part of the entity key and the request names the entity. */
function isKey(leaf: ColumnNode, view: View, keys: ReadonlySet<string>): boolean {
  return view.rows.key.includes(leaf.name) && keys.has(leaf.name);
}

function missingInput(
  missing: ReadonlyMap<Output, readonly string[]>,
  defaulted: ReadonlySet<Output>,
  outputs: readonly Output[],
  keys: ReadonlySet<string>,
): OnceflowError {
  const needed = [...missing].filter(([output]) => !defaulted.has(output));
  const lines = needed.map(([{ name }, columns]) => `${name} needs ${columns.join(", ")}`);
  const wanted = [...new Set(outputs.flatMap(({ view }) => view.rows.key))];
  const hint = wanted.every((key) => keys.has(key))
    ? "These columns are not stored: send them as inputs, or add them to what the view stores."
    : `Send them as inputs, or send the entity (${wanted.join(", ")}) to read its stored row.`;
  return new OnceflowError(
    "MISSING_INPUT",
    `the request lacks inputs: ${lines.join("; ")}. ${hint}`,
    { missing: Object.fromEntries(needed.map(([{ name }, columns]) => [name, columns])) },
  );
}
