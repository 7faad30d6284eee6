/** Says of a map that failed in a frame which row it was, by file, key and features. */
import type { View } from "../engine/catalogue.ts";
import type { Frame } from "../engine/compile/batch.ts";
import { toColumns, valueAt } from "../engine/compile/frame.ts";
import { OnceflowError } from "../engine/errors.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";
import type { Node } from "../engine/language/node.ts";
import { below } from "../engine/rests-on.ts";
import { showValue } from "../engine/wire.ts";
import { cut } from "../engine/words.ts";
import type { SourceFile } from "../sources/files.ts";
import { ordinalColumn, rowsPerFile } from "../sources/ordinal.ts";

/** Of a key in a message, so that payloads stay small. */
const shownLength = 60;
const featuresShown = 5;

/** What the rows of a frame are. */
interface Rows {
  readonly view: View;
  /** What is computed of them. */
  readonly features: readonly { readonly name: string; readonly node: Node }[];
  readonly file: SourceFile;
}

/**
 * Computes something of a frame.
 *
 * @throws what the work throws; of a map that failed, VALUE_INVALID with row, key and features
 */
export async function namingRow<T>(rows: Rows, frame: Frame, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof OnceflowError && typeof error.details["row"] === "number"
      ? named(rows, frame, error, error.details["row"])
      : error;
  }
}

function named({ view, features, file }: Rows, frame: Frame, error: OnceflowError, row: number) {
  const { code, message, details, cause } = error;
  const names = features
    .filter(({ node }) =>
      below([node], "map").some((map) => fingerprintOf(map) === details["node"]),
    )
    .map(({ name }) => name);
  const there = (wanted: readonly string[]) =>
    wanted.filter((name) => frame.columns.includes(name));
  const keys = there(view.rows.key);
  const valuesOf = (columns: readonly string[]) =>
    columns.length === 0 ? [] : toColumns(frame, columns).map((column) => valueAt(column, row));
  const key = valuesOf(keys).map((value, i) => `${keys[i]} ${cut(showValue(value), shownLength)}`);
  const [ordinal] = valuesOf(there([ordinalColumn]));
  const number = ordinal === undefined ? undefined : (Number(ordinal) % rowsPerFile) + 1;
  const where = [
    ...(number === undefined ? [] : [`row ${number}`]),
    ...(key.length === 0 ? [] : [`(${key.join(", ")})`]),
    `of ${file.path}`,
  ].join(" ");
  const shown = names.slice(0, featuresShown).map((name) => `"${name}"`);
  const what =
    names.length === 0
      ? `view "${view.name}"`
      : `${names.length === 1 ? "feature" : "features"} ${shown.join(", ")}${names.length > shown.length ? ` and ${names.length - shown.length} more` : ""} of view "${view.name}"`;
  const sentence = message.endsWith(".") ? message : `${message}.`;
  return new OnceflowError(
    code,
    `${what}, ${where}: ${sentence} Mend the value, or the function: it must give a value or null for every row.`,
    {
      map: details["map"],
      view: view.name,
      features: names.slice(0, featuresShown),
      path: file.path,
      ...(number === undefined ? {} : { row: number }),
    },
    cause,
  );
}
