/** Work that nobody waits for any more is given up. */
import { OnceflowError } from "../engine/errors.ts";

/**
 * Asked before and after a read: whether the caller has gone or was told that it takes too long. A
 * function, since to make an object with a getter costs half as much as all else of a request.
 */
export type IsUnwanted = () => boolean;

/** REQUEST_CANCELLED; nobody is there to read it, but the log. */
export function cancelled(): OnceflowError {
  return new OnceflowError("REQUEST_CANCELLED", "the caller went away before the answer.");
}
