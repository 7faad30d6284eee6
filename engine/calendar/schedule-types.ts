/** Whether the options of a schedule are of the types that they are declared as. */
import { isRecord } from "../language/record.ts";
import { showValue } from "../wire.ts";

type Check = readonly [expected: string, isRight: (value: unknown) => boolean];

const isText = (value: unknown): value is string => typeof value === "string";
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isUpstream = (value: unknown): boolean =>
  isRecord(value) && (value["kind"] === "view" ? isText(value["name"]) : isView(value["view"]));
const isView = (value: unknown): boolean => isRecord(value) && isText(value["name"]);

const text: Check = ["a text", isText];
const flag: Check = ["true or false", (value) => typeof value === "boolean"];
const count: Check = ["a number", (value) => typeof value === "number"];
const names: Check = ["an array of names", isTexts];

const sensor: Readonly<Record<string, Check>> = {
  file: text,
  task: text,
  every: text,
  timeout: text,
};
const retry: Readonly<Record<string, Check>> = { attempts: count, initial: text, max: text };

const options: Readonly<Record<string, Check>> = {
  every: text,
  cron: text,
  timeZone: text,
  offset: text,
  jitter: text,
  catchup: flag,
  allowedLateness: count,
  pauseOnFailure: flag,
  dependsOn: [
    "an array of views, or of { view, earlier }",
    (value) => Array.isArray(value) && value.every(isUpstream),
  ],
  waitFor: [
    "an array of { file } or { task }",
    (value) =>
      Array.isArray(value) &&
      value.every((each) => isRecord(each) && isText(each["file"] ?? each["task"])),
  ],
  workflow: text,
  retry: ["an object", isRecord],
  maxActiveRuns: count,
  pool: ["{ name, slots }", (value) => isRecord(value) && isText(value["name"])],
  deadline: text,
  onFailure: names,
  onLate: names,
};

/** What is wrong with the types of options, each with what it should be; a value may be left out. */
export function scheduleTypeProblems(given: Readonly<Record<string, unknown>>): string[] {
  const problems = problemsOf(given, options, "");
  if (!isText(given["start"]))
    problems.push(`start is ${showValue(given["start"])}; give a time such as "2026-01-31".`);
  if (isRecord(given["retry"])) problems.push(...problemsOf(given["retry"], retry, "retry."));
  const waits: unknown = given["waitFor"];
  if (Array.isArray(waits))
    for (const each of waits)
      if (isRecord(each)) problems.push(...problemsOf(each, sensor, "waitFor: "));
  return problems;
}

function problemsOf(
  given: Readonly<Record<string, unknown>>,
  checks: Readonly<Record<string, Check>>,
  prefix: string,
): string[] {
  return Object.entries(checks).flatMap(([name, [expected, isRight]]) => {
    const value = given[name];
    if (value === undefined || isRight(value)) return [];
    return [`${prefix}${name} is ${showValue(value)}; give ${expected}.`];
  });
}
