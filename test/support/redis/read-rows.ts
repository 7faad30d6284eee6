/** Reads rows of the store, decoded, as serving does when it computes from them. */
import type { Int64, Value } from "../../../engine/language/dtypes.ts";
import type { OnlineStore } from "../../../store/online-store.ts";
import type { RowDecoder } from "../../../store/rows/codec.ts";
import type { RowRead } from "../../../store/rows/reader.ts";
import { decodeMark, readEventTime, versionBytes } from "../../../store/rows/version.ts";

/** A stored row of a test. */
export interface DecodedRow {
  readonly eventTimeUs: Int64;
  /** Of the publish that wrote it. */
  readonly generation: number;
  /** The wanted columns, in the decoder's order. */
  readonly values: Value[];
}

/** Rows of each read in the order of its keys, null where there is none, and the bytes of all. */
export async function readDecoded(
  store: Pick<OnlineStore, "readRows">,
  reads: readonly (RowRead & { readonly decode: RowDecoder })[],
): Promise<{ readonly rows: (DecodedRow | null)[][]; readonly bytes: number }> {
  const { rows, bytes } = await store.readRows(reads);
  const decoded = rows.map((found, read) =>
    found.map((row) =>
      row === null
        ? null
        : {
            eventTimeUs: readEventTime(row),
            generation: decodeMark(row).generation,
            values: (reads[read] as (typeof reads)[number]).decode(row, versionBytes),
          },
    ),
  );
  return { rows: decoded, bytes };
}
