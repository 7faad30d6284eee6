/**
 * The rows that this process read last, for views that serve the last value while the store is
 * down. Bounded: the row unused for longest gives way.
 */
import type { Namespace } from "../store/namespace.ts";

/** Bytes of rows and keys that are kept at most. */
const bytesLimit = 64 * 1024 * 1024;
/** What an entry costs beside its bytes, about. */
const entryBytes = 200;

/** Rows by namespace and entity key. */
export interface LastRows {
  /** Keeps what was read for these keys, or forgets what is no longer there. */
  readonly keep: (
    namespace: Namespace,
    keys: readonly Buffer[],
    rows: readonly (Buffer | null)[],
  ) => void;
  /** The rows kept for these keys, null where there is none. */
  readonly find: (namespace: Namespace, keys: readonly Buffer[]) => (Buffer | null)[];
}

/** Makes an empty one. @param limit - bytes of rows, keys and what keeping them costs */
export function createLastRows(limit = bytesLimit): LastRows {
  const rows = new Map<string, Buffer>();
  let bytes = 0;
  const idOf = ({ view, fingerprint, epoch }: Namespace, key: Buffer): string =>
    `${view}/${fingerprint}/${epoch}/${key.toString("latin1")}`;
  const forget = (id: string): void => {
    const row = rows.get(id);
    if (row === undefined) return;
    rows.delete(id);
    bytes -= row.length + id.length + entryBytes;
  };
  return {
    keep(namespace, keys, read) {
      keys.forEach((key, i) => {
        const id = idOf(namespace, key);
        forget(id);
        const row = read[i] ?? null;
        if (row === null) return;
        // A copy: the reply that the row came in is larger.
        rows.set(id, Buffer.from(row));
        bytes += row.length + id.length + entryBytes;
      });
      for (const id of rows.keys()) {
        if (bytes <= limit) break;
        forget(id);
      }
    },
    find: (namespace, keys) => keys.map((key) => rows.get(idOf(namespace, key)) ?? null),
  };
}
