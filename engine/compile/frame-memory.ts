/**
 * Bounds the memory of frames. polars frees a frame when V8 collects the object that holds it, and
 * V8, which does not know how large frames are, waits until its own small heap has grown: a worker
 * that reads ten million rows would hold gigabytes of frames that nobody uses.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type pl from "nodejs-polars";
import { sizeOf } from "./frame.ts";

/** What is read between two collections. */
const bytesBetween = 256 * 1024 * 1024;

let collect: (() => void) | undefined;
let bytes = 0;

/** Counts a frame that was read; after many bytes, collects what is no longer in use. */
export function countFrame(frame: pl.DataFrame): void {
  bytes += sizeOf(frame);
  if (bytes < bytesBetween) return;
  bytes = 0;
  collect ??= exposeCollection();
  collect();
}

function exposeCollection(): () => void {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  // Contexts that come later, such as those of workflows, are to have none.
  setFlagsFromString("--no-expose-gc");
  return gc;
}
