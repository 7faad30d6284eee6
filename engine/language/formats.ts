/**
 * The formats of source files, by the ending of a file's name. sources/readers.ts has a reader for
 * each.
 */
import type { Dtype } from "./dtypes.ts";

/** What is known of a format without reading a file of it. */
export interface FileFormat {
  /** As messages call it. */
  readonly name: string;
  /** Dtypes of which it cannot hold a column. */
  readonly lacks: readonly Dtype[];
}

const formats = {
  ".csv": { name: "CSV", lacks: ["list_float64"] },
  ".parquet": { name: "parquet", lacks: [] },
} as const satisfies Readonly<Record<string, FileFormat>>;

/** How the name of a source file ends. */
export type Ending = keyof typeof formats;

/** The formats by ending. */
export const fileFormats: Readonly<Record<Ending, FileFormat>> = formats;

/** The ending of a path or template that names a format; undefined for any other. */
export function endingOf(file: string): Ending | undefined {
  return (Object.keys(formats) as Ending[]).find((ending) => file.endsWith(ending));
}
