/**
 * A part of a source's raw rows, as readers see it: an id, a version and bytes. files.ts makes it
 * of a local file. Readers know nothing else, so an object of a bucket can stand behind it once files
 * are listed and compared by it as well.
 */

/** What tells whether a part is still as it was. */
export interface PartState {
  /** Another one may hold other bytes: of a file, its size and time of change. */
  readonly version: string;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
}

/** A part as it was when it was listed. */
export interface SourcePart extends PartState {
  /** Names it in messages: of a file, its absolute path. */
  readonly id: string;
  /** Place in the ordered list of parts: of every row's ordinal. */
  readonly index: number;
  /** As it is now; undefined where it is gone. */
  readonly look: () => Promise<PartState | undefined>;
  readonly open: () => Promise<PartBytes>;
}

/** The bytes of an open part; it may have changed since it was listed. */
export interface PartBytes {
  readonly size: () => Promise<number>;
  /** Fills `into` with the bytes from `start` on: how many there were, fewer only at the end. */
  readonly read: (into: Buffer, start: number) => Promise<number>;
  readonly close: () => Promise<void>;
}
