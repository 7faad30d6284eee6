/**
 * The online compiler: expressions to one JavaScript function over a row of input slots.
 *
 * Generated code comes only from the checked tree: it names steps by number, and takes functions
 * and constants as arrays, so no text of a user's is ever in it. Where code generation is refused
 * (`--disallow-code-generation-from-strings`) closures run the same steps.
 */
import type { Value } from "../dtypes.ts";
import type { Node } from "../node.ts";
import { linearize, type Program, type Step } from "./program.ts";

/** Computes all outputs of one row from the values of its slots. Cost: no lookup by name. */
export type RowProgram = (slots: readonly Value[]) => Value[];

/** How to run the steps: `auto` generates code where the process allows it. */
export type OnlineForm = "auto" | "closures" | "generated";

type Call = (...values: readonly Value[]) => Value;

/**
 * Compiles nodes to one function.
 *
 * @param slotOf - the input slot of a node whose value is given
 */
export function compileOnline(
  outputs: readonly Node[],
  slotOf: (node: Node) => number | undefined,
  form: OnlineForm = "auto",
): RowProgram {
  const program = linearize(outputs, slotOf);
  if (form === "closures") return fromClosures(program);
  try {
    return generate(program);
  } catch (error) {
    if (form === "auto" && error instanceof EvalError) return fromClosures(program);
    throw error;
  }
}

function fromClosures({ steps, outputs }: Program): RowProgram {
  return (slots) => {
    const values: Value[] = [];
    for (const step of steps) values.push(run(step, slots, values));
    return outputs.map((place) => values[place] ?? null);
  };
}

function run(step: Step, slots: readonly Value[], values: readonly Value[]): Value {
  switch (step.kind) {
    case "slot":
      return slots[step.slot] ?? null;
    case "constant":
      return step.value;
    case "call": {
      const inputs = step.inputs.map((place) => values[place] ?? null);
      if (step.propagates && inputs.includes(null)) return null;
      return (step.call as Call)(...inputs);
    }
  }
}

function generate({ steps, outputs }: Program): RowProgram {
  const calls: Call[] = [];
  const constants: Value[] = [];
  const outer: string[] = [];
  const inner: string[] = [];
  steps.forEach((step, place) => {
    switch (step.kind) {
      case "slot":
        inner.push(`const v${place} = slots[${step.slot}];`);
        return;
      case "constant":
        outer.push(`const v${place} = constants[${constants.push(step.value) - 1}];`);
        return;
      case "call": {
        outer.push(`const f${place} = calls[${calls.push(step.call as Call) - 1}];`);
        const call = `f${place}(${step.inputs.map((input) => `v${input}`).join(", ")})`;
        const isNull = [...new Set(step.inputs)].map((input) => `v${input} === null`).join(" || ");
        inner.push(`const v${place} = ${step.propagates ? `${isNull} ? null : ${call}` : call};`);
      }
    }
  });
  const source = [
    '"use strict";',
    ...outer,
    "return (slots) => {",
    ...inner,
    `return [${outputs.map((place) => `v${place}`).join(", ")}];`,
    "};",
  ].join("\n");
  // The one place where code is made; see the header for why it is safe.
  const build = new Function("calls", "constants", source) as (
    calls: readonly Call[],
    constants: readonly Value[],
  ) => RowProgram;
  return build(calls, constants);
}
