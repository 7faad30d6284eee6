/**
 * Reads JSON bodies. Text that is no UTF-8 is refused, not repaired, since a repaired key would be
 * another key; depth is bounded before anything is parsed. Of members with the same name the last
 * one counts, as `JSON.parse` has it.
 */
import { messageOf, OnceflowError } from "../engine/errors.ts";

/** The most bytes of a body. */
export const bodyLimitBytes = 1024 * 1024;
/** The most objects and arrays inside one another. */
export const depthLimit = 32;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Parses a body. @throws REQUEST_INVALID */
export function parseJsonBody(bytes: Buffer): unknown {
  if (depthOf(bytes) > depthLimit)
    throw new OnceflowError(
      "REQUEST_INVALID",
      `the body nests over ${depthLimit} objects and arrays; a request needs 4.`,
      { limit: depthLimit },
    );
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw new OnceflowError("REQUEST_INVALID", "the body is not valid UTF-8.");
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new OnceflowError("REQUEST_INVALID", `the body is no JSON: ${messageOf(error)}.`);
  }
}

const [quote, backslash] = [0x22, 0x5c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The depth of JSON text, read up to where it passes the limit. */
function depthOf(bytes: Buffer): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let at = 0; at < bytes.length && deepest <= depthLimit; at++) {
    const byte = bytes[at];
    if (inText) {
      if (byte === backslash) at++;
      else if (byte === quote) inText = false;
    } else if (byte === quote) inText = true;
    else if (byte === openList || byte === openObject) deepest = Math.max(deepest, ++depth);
    else if (byte === closeList || byte === closeObject) depth--;
  }
  return deepest;
}
