/**
 * Reads JSON bodies. Text that is no UTF-8 is refused, not repaired, since a repaired key would be
 * another key; depth is bounded before anything is parsed. Two members of one name are refused:
 * whoever sent them, or stood in between, may have meant either. So are members by which programs
 * reach the prototype of all objects.
 */
import { messageOf, OnceflowError } from "../../engine/errors.ts";

/** The most bytes of a body. */
export const bodyLimitBytes = 1024 * 1024;
/** The most objects and arrays inside one another. */
export const depthLimit = 32;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Parses a body. @throws REQUEST_INVALID */
export function parseJsonBody(bytes: Buffer): unknown {
  const { depth, members } = measure(bytes);
  if (depth > depthLimit)
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
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new OnceflowError("REQUEST_INVALID", `the body is no JSON: ${messageOf(error)}.`);
  }
  // Of two members with one name JSON.parse keeps the last.
  if (countMembers(json) !== members)
    throw new OnceflowError(
      "REQUEST_INVALID",
      "an object of the body has two members of one name; send each once.",
    );
  return json;
}

/** The members of all objects. @throws REQUEST_INVALID for names that reach a prototype */
function countMembers(json: unknown): number {
  if (typeof json !== "object" || json === null) return 0;
  let count = 0;
  if (Array.isArray(json)) {
    for (const element of json) count += countMembers(element);
    return count;
  }
  const members = json as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(members)) {
    const value = members[name];
    count++;
    if (typeof value === "object") count += countMembers(value);
    if (name === "__proto__" || (name === "constructor" && hasPrototype(value)))
      throw new OnceflowError(
        "REQUEST_INVALID",
        `the body has a member "${name}", by which programs reach the prototype of all objects; it can be a value, such as an id, but no name.`,
      );
  }
  return count;
}

function hasPrototype(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.hasOwn(value, "prototype");
}

const [quote, backslash, colon] = [0x22, 0x5c, 0x3a];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The depth of JSON text, read up to where it passes the limit, and how many members it has. */
function measure(bytes: Buffer): { readonly depth: number; readonly members: number } {
  let depth = 0;
  let members = 0;
  let deepest = 0;
  let inText = false;
  for (let at = 0; at < bytes.length && deepest <= depthLimit; at++) {
    const byte = bytes[at];
    if (inText) {
      if (byte === backslash) at++;
      else if (byte === quote) inText = false;
    } else if (byte === quote) inText = true;
    else if (byte === colon) members++;
    else if (byte === openList || byte === openObject) deepest = Math.max(deepest, ++depth);
    else if (byte === closeList || byte === closeObject) depth--;
  }
  return { depth: deepest, members };
}
