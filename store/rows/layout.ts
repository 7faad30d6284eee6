/** What the encoder and the decoder of rows share: see codec.ts for the encoding. */
import type { Column } from "./column-data.ts";

export const formatByte = 0x01;

/** Where the parts of a row lie. */
export interface Layout {
  readonly columns: readonly Column[];
  /** Per column its place among the bool columns, or −1. */
  readonly boolIndex: readonly number[];
  readonly nullBytes: number;
  /** Bytes before the values: format, nulls and bools. */
  readonly headerBytes: number;
}

export function layoutOf(columns: readonly Column[]): Layout {
  let bools = 0;
  const boolIndex = columns.map(({ dtype }) => (dtype === "bool" ? bools++ : -1));
  const nullBytes = (columns.length + 7) >> 3;
  return { columns, boolIndex, nullBytes, headerBytes: 1 + nullBytes + ((bools + 7) >> 3) };
}
