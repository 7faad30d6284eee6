/**
 * The parts of a bound plan: outputs that rest on the stored row of one view, or on none. They are
 * computed together or not at all, so that nothing is ever computed from a row that is missing or
 * too old. Each part is a program over numbered registers, so that nothing is looked up by name
 * while rows are computed.
 */
import type { View } from "./catalogue.ts";
import { compileOnline, type OnlineForm, type RowProgram } from "./compile/online.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { Dtype, Value } from "./language/dtypes.ts";
import type { Expectation } from "./language/expectations.ts";
import type { Node } from "./language/node.ts";
import type { RequiredInput, Resolved } from "./resolve.ts";

/** The columns of one view's stored row that a part reads. */
export interface StoreRead {
  readonly view: View;
  /** Stored columns, in the order of their registers; the event time is not among them. */
  readonly columns: readonly string[];
  /** Registers of `columns`, one each. */
  readonly registers: readonly number[];
  /** The register that takes the row's event time, where an output needs it. */
  readonly eventTimeRegister: number | undefined;
}

/** An aggregate value that a part reads from its view's snapshot. */
export interface AggregateRead {
  readonly view: View;
  readonly fingerprint: string;
  readonly register: number;
}

/** A value of the request that a part reads. */
export interface RequestRead {
  readonly input: RequiredInput;
  readonly register: number;
}

/** An output of a bound plan, and what its value is computed from. */
export interface BoundOutput extends Pick<Resolved, "output" | "given" | "maps"> {
  /** Its place among all outputs of the plan. */
  readonly place: number;
  /** Whether its default stands for inputs that are neither in the request nor stored. */
  readonly defaulted: boolean;
}

/** An expectation, and the place of its `violated` flag in the program's result. */
export interface BoundExpectation {
  readonly expectation: Expectation;
  /** Index among the outputs of the part. */
  readonly output: number;
  readonly place: number;
}

/** What is computed together, for requests that carry a given set of inputs. */
export interface BoundPart {
  readonly outputs: readonly BoundOutput[];
  readonly registerCount: number;
  readonly request: readonly RequestRead[];
  /** Undefined where the outputs rest on no stored row. */
  readonly read: StoreRead | undefined;
  readonly aggregates: readonly AggregateRead[];
  readonly expectations: readonly BoundExpectation[];
  /** The outputs in order, then the flags of the expectations. */
  readonly program: RowProgram;
  /** One output, then the flags of its expectations; tells which of the outputs throws. */
  readonly alone: (output: number) => RowProgram;
}

/** Divides outputs into parts and compiles each. What lacks an input is its default, and rests on nothing. */
export function compileParts(
  resolved: readonly Resolved[],
  form: OnlineForm,
): readonly BoundPart[] {
  const groups = new Map<View | undefined, BoundOutput[]>();
  resolved.forEach(({ output, row, given, maps, missing }, place) => {
    const defaulted = missing.length > 0;
    const key = defaulted ? undefined : row;
    const group = groups.get(key) ?? [];
    groups.set(key, group);
    group.push(
      defaulted
        ? { output, place, defaulted, given: [], maps: [] }
        : { output, place, defaulted, given, maps },
    );
  });
  return [...groups.values()].map((outputs) => compilePart(outputs, form));
}

function compilePart(outputs: readonly BoundOutput[], form: OnlineForm): BoundPart {
  const { registers, ...reads } = allot(outputs);
  const nodes = outputs.map(({ output: { node, notes }, defaulted }): Node =>
    defaulted ? literalOf(node.dtype, notes?.defaultValue ?? null) : node,
  );
  const expectations: BoundExpectation[] = [];
  outputs.forEach(({ output: { node, notes }, defaulted }, index) => {
    if (defaulted) return;
    for (const expectation of notes?.expectations ?? []) {
      const place = nodes.push(expectation.predicate.violated(node)) - 1;
      expectations.push({ expectation, output: index, place });
    }
  });
  const compile = (wanted: readonly Node[]) =>
    compileOnline(wanted, (node) => registers.get(fingerprintOf(node)), form);
  /** Compiled when something throws, and kept. */
  const programs: RowProgram[] = [];
  return Object.freeze({
    outputs,
    registerCount: registers.size,
    ...reads,
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

/** Gives each value that is taken as it is a register of its own, by its formula. */
function allot(outputs: readonly BoundOutput[]) {
  const registers = new Map<string, number>();
  const request: RequestRead[] = [];
  const aggregates: AggregateRead[] = [];
  const stored: { column: string; register: number }[] = [];
  let view: View | undefined;
  let eventTimeRegister: number | undefined;
  for (const each of outputs.flatMap(({ given }) => given)) {
    const key = fingerprintOf(each.node);
    if (registers.has(key)) continue;
    const register = registers.size;
    registers.set(key, register);
    switch (each.from) {
      case "request":
        request.push({ input: each.input, register });
        break;
      case "aggregate":
        aggregates.push({ view: each.view, fingerprint: each.fingerprint, register });
        break;
      case "stored":
        view = each.view;
        if (each.isEventTime) eventTimeRegister = register;
        else stored.push({ column: each.column, register });
    }
  }
  const read = view && {
    view,
    columns: stored.map(({ column }) => column),
    registers: stored.map(({ register }) => register),
    eventTimeRegister,
  };
  return { registers, request, aggregates, read };
}

function literalOf(dtype: Dtype, value: Value): Node {
  return Object.freeze({ kind: "literal", dtype, shape: "scalar", value });
}
