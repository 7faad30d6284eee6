/** CSV of sources that tests read, or have refused, in chunks of every size. */
import assert from "node:assert/strict";
import {
  type ColumnTypes,
  entity,
  type Source,
  source,
} from "../../../engine/language/definitions.ts";
import type { Value } from "../../../engine/language/dtypes.ts";
import type { ErrorCode } from "../../../engine/errors.ts";
import { failureOf } from "../fails-with.ts";
import { anyInterval, readAll, temporaryFolder } from "./source-files.ts";

const person = entity("person", { key: "id" });

/** A source "people" of these columns, keyed by id. */
export function sourceOf<C extends ColumnTypes>(columns: C, separator = ","): Source {
  return source("people", { files: "x", columns, entity: person, csv: { separator } });
}

/** A folder for CSV files, and what reads them; call `remove` after. */
export function csvFiles() {
  const { write, remove } = temporaryFolder();

  /** The rows of a text, read in one chunk and, to find errors of cutting, in tiny ones. */
  const read = async (from: Source, text: string | Buffer): Promise<Record<string, Value[]>> => {
    const file = await write("x.csv", text);
    const { __ordinal, ...rows } = await readAll(from, file);
    for (const chunkBytes of [1, 2, 3, 5, 7]) {
      const { __ordinal: ordinals, ...again } = await readAll(from, file, anyInterval, {
        chunkBytes,
      });
      assert.deepStrictEqual(again, rows);
      assert.deepStrictEqual(ordinals, __ordinal);
    }
    return rows;
  };

  /** Asserts that a text is refused, in one chunk and in small ones, by a message with these parts. */
  const refuses = async (
    from: Source,
    text: string | Buffer,
    code: ErrorCode,
    ...parts: (string | RegExp)[]
  ): Promise<void> => {
    const file = await write("bad.csv", text);
    for (const options of [{}, { chunkBytes: text.length > 1000 ? 8192 : 1 }]) {
      const error = await failureOf(() => readAll(from, file, anyInterval, options));
      assert.equal(error.code, code, error.message);
      assert.ok(error.message.startsWith(`source "people", file ${file.path}: `), error.message);
      for (const part of parts)
        if (typeof part === "string") assert.ok(error.message.includes(part), error.message);
        else assert.match(error.message, part);
    }
  };

  return { write, read, refuses, remove };
}
