/**
 * The formats that can be read: a new one is a row in engine/language/formats.ts, without whose
 * reader this does not compile.
 */
import { type Ending, endingOf, fileFormats } from "../engine/language/formats.ts";
import { type Chunk, type ChunkSize, declared, fault, type Input } from "./chunk.ts";
import { readCsv } from "./scan-csv.ts";
import { readParquet } from "./scan-parquet.ts";

/** Reads the declared columns of a part in chunks of rows, at least one. */
type Reader = (input: Input, size: ChunkSize) => AsyncGenerator<Chunk>;

const readers: Readonly<Record<Ending, Reader>> = {
  ".csv": readCsv,
  ".parquet": readParquet,
};

/**
 * Reads a part by the format that its name ends in.
 *
 * @throws SCHEMA_MISMATCH where it ends in none, or in one that cannot hold a declared column
 */
export function readByFormat(input: Input, size: ChunkSize): AsyncGenerator<Chunk> {
  const ending = endingOf(input.part.id);
  if (ending === undefined) {
    const problem = `is neither ${Object.keys(fileFormats).join(" nor ")} by its name`;
    throw fault("SCHEMA_MISMATCH", input, problem);
  }
  const { name: format, lacks } = fileFormats[ending];
  for (const [name, dtype] of declared(input.source))
    if (lacks.includes(dtype)) {
      const problem = `is ${format}, which cannot hold the ${dtype} column "${name}"; use parquet`;
      throw fault("SCHEMA_MISMATCH", input, problem);
    }
  return readers[ending](input, size);
}
