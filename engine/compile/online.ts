/**
 * The online compiler: expressions to one JavaScript function over a row of input registers.
 *
 * Generated code comes only from the checked tree: it names steps by number, holds numbers and
 * operators, and takes functions and other constants as arrays, so no text of a user's is ever in
 * it. Where code generation is refused (`--disallow-code-generation-from-strings`) closures run the
 * same steps.
 */
import type { Value } from "../language/dtypes.ts";
import type { Node } from "../language/node.ts";
import { linearize, type Program, type Step } from "./program.ts";

/** Computes all outputs of one row from the values of its registers. Cost: no lookup by name. */
export type RowProgram = (registers: readonly Value[]) => Value[];

/** How to run the steps: `auto` generates code where the process allows it. */
export type OnlineForm = "auto" | "closures" | "generated";

type Call = (...values: readonly Value[]) => Value;

/**
 * Compiles nodes to one function.
 *
 * @param registerOf - the input register of a node whose value is given
 */
export function compileOnline(
  outputs: readonly Node[],
  registerOf: (node: Node) => number | undefined,
  form: OnlineForm = "auto",
): RowProgram {
  const program = linearize(outputs, registerOf);
  if (form === "closures") return fromClosures(program);
  try {
    return generate(program);
  } catch (error) {
    if (form === "auto" && error instanceof EvalError) return fromClosures(program);
    throw error;
  }
}

function fromClosures({ steps, outputs }: Program): RowProgram {
  return (registers) => {
    const values: Value[] = [];
    for (const step of steps) values.push(run(step, registers, values));
    return outputs.map((place) => values[place] ?? null);
  };
}

function run(step: Step, registers: readonly Value[], values: readonly Value[]): Value {
  switch (step.kind) {
    case "register":
      return registers[step.register] ?? null;
    case "constant":
      return step.value;
    case "call": {
      const inputs = step.inputs.map((place) => values[place] ?? null);
      if (step.propagates && inputs.includes(null)) return null;
      return (step.call as Call)(...inputs);
    }
  }
}

/** An input of a step as it stands in the code. */
interface Operand {
  /** A name or a literal. */
  readonly text: string;
  readonly mayBeNull: boolean;
}

/**
 * The code of two functions: rows without a null, which most are, take one that looks for null only
 * where an operation gives it; the others take the one that looks for it everywhere.
 */
function generate(program: Program): RowProgram {
  const calls: Call[] = [];
  const constants: Value[] = [];
  const [outer, reads, nulls]: [string[], string[], string[]] = [[], [], []];
  for (const [place, step] of program.steps.entries())
    switch (step.kind) {
      case "register":
        reads.push(`const v${place} = registers[${step.register}];`);
        nulls.push(`v${place} === null`);
        break;
      case "constant":
        if (literalOf(step.value) === undefined)
          outer.push(`const v${place} = constants[${constants.push(step.value) - 1}];`);
        break;
      case "call":
        outer.push(`const f${place} = calls[${calls.push(step.call as Call) - 1}];`);
    }
  const source = [
    '"use strict";',
    ...outer,
    "const withNulls = (registers) => {",
    ...reads,
    ...bodyOf(program, { hasNulls: true }),
    "};",
    "return (registers) => {",
    ...reads,
    `if (${nulls.join(" || ") || "false"}) return withNulls(registers);`,
    ...bodyOf(program, { hasNulls: false }),
    "};",
  ].join("\n");
  // The one place where code is made; see the header for why it is safe.
  const build = new Function("calls", "constants", source) as (
    calls: readonly Call[],
    constants: readonly Value[],
  ) => RowProgram;
  return build(calls, constants);
}

/** What a function does with the registers that it has read, and whether any of these may be null. */
function bodyOf({ steps, outputs }: Program, { hasNulls }: { hasNulls: boolean }): string[] {
  const operands: Operand[] = [];
  const lines: string[] = [];
  for (const [place, step] of steps.entries()) {
    const text = `v${place}`;
    switch (step.kind) {
      case "register":
        operands.push({ text, mayBeNull: hasNulls });
        break;
      case "constant":
        operands.push({ text: literalOf(step.value) ?? text, mayBeNull: step.value === null });
        break;
      case "call": {
        const used = step.inputs.map((input) => operands[input] as Operand);
        const texts = used.map((operand) => operand.text);
        const nullable = new Set(
          used.filter(({ mayBeNull }) => mayBeNull).map((each) => each.text),
        );
        const { code } = step;
        const canUse = code !== undefined && (step.propagates || nullable.size === 0);
        const value = canUse ? code(...texts) : `f${place}(${texts.join(", ")})`;
        const isNull = [...nullable].map((name) => `${name} === null`).join(" || ");
        const guard = step.propagates && isNull !== "" ? `${isNull} ? null : ` : "";
        lines.push(`const ${text} = ${guard}${value};`);
        operands.push({ text, mayBeNull: !canUse || nullable.size > 0 });
      }
    }
  }
  lines.push(`return [${outputs.map((place) => operands[place]?.text).join(", ")}];`);
  return lines;
}

/** Numbers and bools as text, which the engine computes with ahead; undefined for all else. */
function literalOf(value: Value): string | undefined {
  if (typeof value === "boolean") return `${value}`;
  if (typeof value !== "number" || !Number.isFinite(value) || Object.is(value, -0))
    return undefined;
  return value < 0 ? `(${value})` : `${value}`;
}
