/**
 * Sets of entity keys: frames of the columns key_0, key_1 and so on, since a column of a user's name
 * may hide a method of the frame.
 */
import pl from "nodejs-polars";
import type { Frame } from "../engine/compile/batch.ts";
import { columnNamed, lazyOf } from "../engine/compile/frame.ts";

/** The columns of a set of keys of so many parts. */
export function keyColumns(key: readonly string[]): string[] {
  return key.map((_, i) => `key_${i}`);
}

/** The keys of a frame, each once. */
export function keysIn(frame: Frame, key: readonly string[]): Promise<Frame> {
  const named = keyColumns(key).map((name, i) => columnNamed(key[i] ?? "").alias(name));
  return lazyOf(frame).select(named).unique().collect();
}

/** The keys of both sets. */
export function keysOfBoth(one: Frame | undefined, other: Frame): Promise<Frame> {
  return (one === undefined ? other : pl.concat([one, other])).lazy().unique().collect();
}

/** The rows of a frame whose keys are in a set. */
export function rowsAmong(frame: Frame, keys: Frame, key: readonly string[]): Promise<Frame> {
  return lazyOf(frame)
    .join(keys.lazy(), { leftOn: [...key], rightOn: keyColumns(key), how: "semi" })
    .collect();
}

/** The keys of a set that are not in another. */
export function keysWithout(keys: Frame, others: Frame, key: readonly string[]): Promise<Frame> {
  return keys
    .lazy()
    .join(others.lazy(), { on: keyColumns(key), how: "anti" })
    .collect();
}
