/** Checks the input of `backfill`, which a person may have typed in the Temporal UI. */
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { reprocessModes } from "../engine/calendar/grid.ts";
import { parseInstant } from "../engine/calendar/interval.ts";
import type { BackfillInput } from "../workflows/contract.ts";

const example = '{"view":"badges","from":"2026-01-01","to":"2026-02-01","reprocess":"missing"}';
/** The members of an input, and who gives them: `carried` is for the next execution alone. */
const members = {
  view: "anyone",
  from: "anyone",
  to: "anyone",
  reprocess: "anyone",
  maxParallel: "anyone",
  newestFirst: "anyone",
  partitionsPerRun: "anyone",
  fingerprint: "anyone",
  definition: "anyone",
  carried: "execution",
} as const satisfies Readonly<Record<keyof BackfillInput, "anyone" | "execution">>;
const shown = Object.entries(members).flatMap(([name, by]) => (by === "anyone" ? [name] : []));

const modes: readonly unknown[] = reprocessModes;

/**
 * The input, with everything in it as it must be.
 *
 * @throws REQUEST_INVALID naming the member, what it holds and what was expected
 */
export function checkBackfill(input: unknown): BackfillInput {
  if (typeof input !== "object" || input === null || Array.isArray(input))
    throw invalid(`is ${JSON.stringify(input)}; expected a JSON object`);
  const given = input as Readonly<Record<string, unknown>>;
  const wrong = (name: string, expected: string): never => {
    throw invalid(`has ${name} ${JSON.stringify(given[name])}; expected ${expected}`);
  };
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(members, name));
  if (unknown !== undefined)
    throw invalid(`has "${unknown}", which is none of ${shown.join(", ")}`);
  if (typeof given["view"] !== "string") wrong("view", "the name of a feature view");
  const [from = 0, to = 0] = ["from", "to"].map((name) => {
    try {
      return parseInstant(String(given[name]));
    } catch (error) {
      throw invalid(`has no usable ${name}: ${messageOf(error).replace(/\.$/, "")}`);
    }
  });
  if (from >= to) wrong("to", `a time after from, ${JSON.stringify(given["from"])}`);
  const { reprocess, maxParallel, partitionsPerRun, newestFirst } = given;
  if (reprocess !== undefined && !modes.includes(reprocess))
    wrong("reprocess", reprocessModes.map((mode) => `"${mode}"`).join(", "));
  if (maxParallel !== undefined && !isWhole(maxParallel, 400))
    wrong("maxParallel", "a whole number 1-400");
  if (partitionsPerRun !== undefined && !isWhole(partitionsPerRun, 400))
    wrong("partitionsPerRun", "a whole number 1-400");
  if (newestFirst !== undefined && typeof newestFirst !== "boolean")
    wrong("newestFirst", "true or false");
  return input as BackfillInput;
}

function isWhole(value: unknown, max: number): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= max;
}

function invalid(problem: string): OnceflowError {
  return new OnceflowError(
    "REQUEST_INVALID",
    `the input of backfill ${problem}. An input looks like ${example}.`,
  );
}
