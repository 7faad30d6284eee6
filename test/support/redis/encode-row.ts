/** One row, encoded as a batch of one. */
import type { Value } from "../../../engine/language/dtypes.ts";
import { columnsOfRows, type ColumnData } from "../../../store/rows/column-data.ts";
import type { RowCodec } from "../../../store/rows/codec.ts";

/** The bytes of a row by its values, in storage order. */
export function encodeRow(codec: RowCodec, values: readonly Value[]): Buffer {
  return encodeRows(codec, columnsOfRows(codec.columns, [values]), 1)[0] as Buffer;
}

/** The bytes of each row of a batch. */
export function encodeRows(codec: RowCodec, data: readonly ColumnData[], count: number): Buffer[] {
  const encoder = codec.encoder(data);
  const sizes = new Uint32Array(count);
  encoder.measure(0, count, sizes);
  const ends = sizes.map((_, i) => sizes.subarray(0, i + 1).reduce((sum, size) => sum + size, 0));
  const starts = ends.map((end, i) => end - (sizes[i] as number));
  const bytes = Buffer.alloc(ends.at(-1) ?? 0, 0xff);
  const places = starts.slice();
  encoder.write(0, count, { bytes, view: new DataView(bytes.buffer, bytes.byteOffset), places });
  if (!places.every((place, i) => place === ends[i])) throw new Error("a row has another size");
  return Array.from(starts, (start, i) => bytes.subarray(start, ends[i]));
}
