/**
 * The headers of a column chunk's pages: a decoder trusts their counts, and allocates by them; where
 * one is negative or far too large, the process would end.
 */
import { readInteger, readStruct, structEnd, type ThriftStruct } from "./thrift.ts";

/** Ids of the fields that are looked into, by struct. */
const pageField = { decodedBytes: 2, bytes: 3, data: 5, dictionary: 7, dataV2: 8 } as const;
const countField = 1;
/** Nulls, rows, and the bytes of levels. */
const furtherCounts = [2, 3, 5, 6];

/**
 * Checks the pages of a chunk that lies in some bytes. It costs some µs a page; what is in the pages
 * is not touched.
 *
 * @param values - of the whole chunk
 * @throws Error where a header says what no chunk of so many values can hold
 */
export function assertPages(bytes: Buffer, start: number, end: number, values: number): void {
  for (let at = start; at < end;) {
    const dataStart = structEnd(bytes, at);
    const header = readStruct(bytes.subarray(at, dataStart));
    const decodedBytes = readCount(header, pageField.decodedBytes);
    const size = readCount(header, pageField.bytes);
    for (const id of [pageField.data, pageField.dataV2]) {
      const page = header.get(id);
      if (page === undefined) continue;
      const counts = readStruct(page.bytes);
      if (readCount(counts, countField) > values) throw new Error("a page has too many values");
      if (id === pageField.dataV2) for (const count of furtherCounts) readCount(counts, count);
    }
    const dictionary = header.get(pageField.dictionary);
    // An entry takes a bit at least.
    if (
      dictionary !== undefined &&
      readCount(readStruct(dictionary.bytes), countField) > 8 * decodedBytes
    )
      throw new Error("a dictionary has too many values");
    at = dataStart + size;
    if (at > end) throw new Error("a page ends behind its column");
  }
}

function readCount(fields: ThriftStruct, id: number): number {
  const count = readInteger(fields.get(id));
  if (count < 0) throw new Error("a page has a negative size");
  return count;
}
