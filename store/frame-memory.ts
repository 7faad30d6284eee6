/**
 * Bounds the memory of frames. polars frees a frame when V8 collects the object that holds it, and
 * V8, which does not know how large frames are, waits until its own small heap has grown: a worker
 * that reads ten million rows would hold gigabytes of frames that nobody uses.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Values that are read between two collections, of 8 bytes mostly. */
const valuesBetween = 20_000_000;

let collect: (() => void) | undefined;
let values = 0;

/** Counts a frame that was read; after many values, collects what is no longer in use. */
export function countFrame(rows: number, columns: number): void {
  values += rows * columns;
  if (values < valuesBetween) return;
  values = 0;
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
}
