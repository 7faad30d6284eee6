/** What the readers of CSV and parquet share: their chunks, the check of columns, their errors. */
import type pl from "nodejs-polars";
import { columnNamed, columnNamesOf, lazyOf } from "../engine/compile/frame.ts";
import type { Source } from "../engine/language/definitions.ts";
import type { ColumnType, Dtype } from "../engine/language/dtypes.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { cut, quote } from "../engine/words.ts";
import type { PartBytes, SourcePart } from "./raw-part.ts";

/** What is being read; every error names source and part. */
export interface Input {
  readonly source: Source;
  readonly part: SourcePart;
  /** The source with all its columns, where `source` has some of them. */
  readonly whole?: Source;
}

/** How much a chunk holds, about. */
export interface ChunkSize {
  /** Bytes of a chunk of CSV; default 16 MiB. */
  readonly chunkBytes?: number;
  /** Values of a chunk of parquet; default 3 Mi. */
  readonly chunkValues?: number;
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

/**
 * Opens the part for reading.
 *
 * @throws SOURCE_CORRUPT where it is empty, SOURCE_MISSING where it cannot be opened, as whatever
 *   is read of it later
 */
export async function openPart(input: Input): Promise<PartBytes> {
  if (input.part.sizeBytes === 0) throw fault("SOURCE_CORRUPT", input, "is empty (0 bytes)");
  const named = <T>(asking: Promise<T>): Promise<T> =>
    asking.catch((cause: unknown) => {
      throw fault("SOURCE_MISSING", input, `cannot be read: ${messageOf(cause)}`, {}, cause);
    });
  const bytes = await named(input.part.open());
  return {
    size: () => named(bytes.size()),
    read: (into, start) => named(bytes.read(into, start)),
    close: bytes.close,
  };
}

/** What can be wrong with a file. */
export type FaultCode =
  | "SOURCE_MISSING"
  | "SOURCE_CORRUPT"
  | "SCHEMA_MISMATCH"
  | "VALUE_UNPARSABLE"
  | "NULL_NOT_ALLOWED"
  | "EVENT_TIME_OUTSIDE";

/** An error that begins with source and file; `fix` is appended to the message. */
export function fault(
  code: FaultCode,
  input: Input,
  problem: string,
  { fix, ...details }: { fix?: string; [key: string]: unknown } = {},
  cause?: unknown,
): OnceflowError {
  const message = `source "${input.source.name}", file ${input.part.id}: ${problem}.${fix === undefined ? "" : ` ${fix}`}`;
  return new OnceflowError(
    code,
    message,
    { source: input.source.name, path: input.part.id, ...details },
    cause,
  );
}

/** A column in messages, by the name that its files have for it where it is declared by another. */
export function called({ types }: Source, name: string): string {
  const from = types[name]?.from;
  return from === undefined ? quote(name) : `${quote(from)} (${name})`;
}

/** A column type as definitions write it. */
export function spell({ dtype, nullable }: ColumnType): string {
  const type = dtype === "list_float64" ? "listFloat64" : dtype;
  return nullable ? `nullable(${type})` : type;
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
    `${place}: ${called(input.source, column)} is ${JSON.stringify(cut(text, 60))}, which is no ${dtype}`,
    { column, dtype, value: cut(text, 60) },
  );
}
