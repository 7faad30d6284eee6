/** What becomes of expectations that do not hold. */
import type { View } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { toJson } from "../engine/wire.ts";
import { cut } from "../engine/words.ts";
import { rowsPerFile } from "../sources/ordinal.ts";
import type { Violation } from "./view-program.ts";

/** Of a value in a message, so that payloads stay small. */
const shownLength = 60;

/** Violations of chunks as those of their file: rows are counted together, the first is shown. */
export function sumViolations(violations: readonly Violation[]): Violation[] {
  const sums = new Map<string, Violation>();
  for (const violation of violations) {
    const key = `${violation.feature} ${violation.text}`;
    const sum = sums.get(key);
    const count = (sum?.count ?? 0) + violation.count;
    sums.set(key, { ...(sum ?? violation), count });
  }
  return [...sums.values()];
}

/** Throws where an expectation with onFail: "fail" does not hold; collects the others. */
export function judge(
  view: View,
  violations: readonly Violation[],
  path: string | undefined,
  warnings: string[],
): void {
  const texts = violations.map((violation) => {
    const { feature, text, count, ordinal, value, dtype } = violation;
    const shown = cut(JSON.stringify(toJson(dtype, value)), shownLength);
    const where =
      ordinal === undefined
        ? `is ${shown}`
        : `does not hold for ${count} ${count === 1 ? "row" : "rows"}, first ${shown} in row ${(ordinal % rowsPerFile) + 1} of ${path ?? "the source"}`;
    return { violation, text: `feature "${feature}" expects ${text}; it ${where}` };
  });
  warnings.push(
    ...texts.filter(({ violation }) => violation.onFail === "warn").map(({ text }) => text),
  );
  const failed = texts.filter(({ violation }) => violation.onFail === "fail");
  if (failed.length > 0)
    throw new OnceflowError(
      "EXPECTATION_FAILED",
      `view "${view.name}": ${failed.map(({ text }) => text).join("; ")}. No row was written. Mend the data, or change the expectation or its onFail.`,
      { view: view.name, features: failed.map(({ violation }) => violation.feature) },
    );
}
