/** What the readers of CSV and parquet share: their chunks, the check of columns, their errors. */
import { promises as fs } from "node:fs";
import type pl from "nodejs-polars";
import { columnNamed, columnNamesOf, lazyOf } from "../engine/compile/frame.ts";
import type { Source } from "../engine/language/definitions.ts";
import type { Dtype } from "../engine/language/dtypes.ts";
import { didYouMean, messageOf, OnceflowError } from "../engine/errors.ts";
import type { SourceFile } from "./files.ts";

/** What is being read; every error names both. */
export interface Input {
  readonly source: Source;
  readonly file: SourceFile;
}

/** Declared columns of some rows of a file, before the checks that all formats share. */
export interface Chunk {
  /** Builds them: a chunk of which no row is wanted needs none. */
  readonly frame: () => pl.DataFrame;
  /** Nulls by column. */
  readonly nulls: Readonly<Record<string, number>>;
  /** Timestamp columns in µs; a null is 0. */
  readonly times: ReadonlyMap<string, BigInt64Array>;
  /** Rows of the file before the first of this chunk. */
  readonly firstRow: number;
  /** Names the place of a row of this chunk. */
  readonly place: (row: number) => string;
}

/** Nulls of each column of a frame. */
export function nullsOf(frame: pl.DataFrame): Record<string, number> {
  return frame.nullCount().toRecords()[0] as Record<string, number>;
}

/** The declared columns in their order. */
export function declared(source: Source): [name: string, dtype: Dtype][] {
  return Object.entries(source.types).map(([name, { dtype }]) => [name, dtype]);
}

/** The declared columns of a frame, in their order. */
export function project(frame: pl.DataFrame, source: Source): pl.DataFrame {
  const names = declared(source).map(([name]) => name);
  const found = columnNamesOf(frame);
  if (found.length === names.length && names.every((name, i) => found[i] === name)) return frame;
  return lazyOf(frame)
    .select(...names.map(columnNamed))
    .collectSync();
}

/** Refuses a file that lacks declared columns, listing what is expected and what is there. */
export function assertColumns(input: Input, names: readonly string[], fix?: string): void {
  const missing = declared(input.source).filter(([name]) => !names.includes(name));
  const [first] = missing;
  if (first === undefined) return;
  const expected = declared(input.source).map(([name]) => name);
  const unclaimed = names.filter((name) => !expected.includes(name));
  throw fault(
    "SCHEMA_MISMATCH",
    input,
    `has no column ${missing.map(([name]) => `"${name}"`).join(", ")}.${didYouMean(first[0], unclaimed)} Expected: ${expected.join(", ")}. Got: ${names.join(", ")}`,
    { expected, got: names, ...(fix === undefined ? {} : { fix }) },
  );
}

/**
 * Opens the file for reading.
 *
 * @throws SOURCE_CORRUPT where it is empty, SOURCE_MISSING where it cannot be opened
 */
export async function openFile(input: Input): Promise<fs.FileHandle> {
  if (input.file.sizeBytes === 0) throw fault("SOURCE_CORRUPT", input, "is empty (0 bytes)");
  try {
    return await fs.open(input.file.path, "r");
  } catch (cause) {
    throw unreadable(input, cause);
  }
}

/** The error for what the file system says. */
export function unreadable(input: Input, cause: unknown): OnceflowError {
  return fault("SOURCE_MISSING", input, `cannot be read: ${messageOf(cause)}`, {}, cause);
}

/** What can be wrong with a file. */
export type FaultCode =
  "SOURCE_MISSING" | "SOURCE_CORRUPT" | "SCHEMA_MISMATCH" | "VALUE_UNPARSABLE" | "NULL_NOT_ALLOWED";

/** An error that begins with source and file; `fix` is appended to the message. */
export function fault(
  code: FaultCode,
  input: Input,
  problem: string,
  { fix, ...details }: { fix?: string; [key: string]: unknown } = {},
  cause?: unknown,
): OnceflowError {
  const message = `source "${input.source.name}", file ${input.file.path}: ${problem}.${fix === undefined ? "" : ` ${fix}`}`;
  return new OnceflowError(
    code,
    message,
    { source: input.source.name, path: input.file.path, ...details },
    cause,
  );
}

/** The error for a value that is not of its column's dtype; `place` names its row. */
export function unparsable(
  input: Input,
  place: string,
  column: string,
  dtype: Dtype,
  text: string,
): OnceflowError {
  return fault(
    "VALUE_UNPARSABLE",
    input,
    `${place}: "${column}" is ${JSON.stringify(cut(text, 60))}, which is no ${dtype}`,
    { column, dtype, value: cut(text, 60) },
  );
}

/** The head of a text, marked where something is left out. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
