/**
 * Reads JSON bodies. Text that is no UTF-8 is refused, not repaired, since a repaired key would be
 * another key; depth is bounded before anything is parsed. Two members of one name are refused:
 * whoever sent them, or stood in between, may have meant either. So are members by which programs
 * reach the prototype of all objects.
 */
import { messageOf, OnceflowError } from "../../engine/errors.ts";
import { parseJson, roundsToInteger } from "../../engine/json-text.ts";

/** The most bytes of a body. */
export const bodyLimitBytes = 1024 * 1024;
/** The most objects and arrays inside one another. */
export const depthLimit = 32;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Parses a body. @throws REQUEST_INVALID */
export function parseJsonBody(bytes: Buffer): unknown {
  const { depth, members, rounds } = measure(bytes);
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
  return rounds ? parseJson(text) : json;
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

const [quote, backslash, colon, point] = [0x22, 0x5c, 0x3a, 0x2e];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** What JSON text is like, as far as it is read. */
interface Measure {
  readonly depth: number;
  readonly members: number;
  /** Whether a number that is no integer would be read as one. */
  readonly rounds: boolean;
}

/** Reads JSON text up to where its depth passes the limit. */
function measure(bytes: Buffer): Measure {
  let depth = 0;
  let members = 0;
  let deepest = 0;
  let inText = false;
  let rounds = false;
  for (let at = 0; at < bytes.length && deepest <= depthLimit; at++) {
    const byte = bytes[at];
    if (inText) {
      if (byte === backslash) at++;
      else if (byte === quote) inText = false;
    } else if (byte === quote) inText = true;
    else if (byte === colon) members++;
    else if (byte === openList || byte === openObject) deepest = Math.max(deepest, ++depth);
    else if (byte === closeList || byte === closeObject) depth--;
    else if (byte === point || (isExponent(byte) && isDigit(bytes[at - 1]))) {
      const end = endOfNumber(bytes, at);
      rounds ||= mayRound(bytes, at, end) && roundsToInteger(textAround(bytes, at, end));
      at = end - 1;
    }
  }
  return { depth: deepest, members, rounds };
}

const isDigit = (byte: number | undefined): boolean =>
  byte !== undefined && byte >= 0x30 && byte <= 0x39;

/** Where a number ends whose point or exponent is at a place. */
function endOfNumber(bytes: Buffer, at: number): number {
  let end = at + 1;
  while (
    end < bytes.length &&
    (isDigit(bytes[end]) || isExponent(bytes[end]) || isSign(bytes[end]))
  )
    end++;
  return end;
}

const isExponent = (byte: number | undefined): boolean => byte === 0x65 || byte === 0x45;
const isSign = (byte: number | undefined): boolean => byte === 0x2b || byte === 0x2d;

/** Whether the digits are worth a look: most fractions are far from an integer. */
function mayRound(bytes: Buffer, at: number, end: number): boolean {
  for (let place = at; place < end; place++) if (isExponent(bytes[place])) return true;
  // Of a number below 10^12 a fraction is rounded away only within 0.01 of an integer.
  if (isDigit(bytes[at - 12])) return true;
  const first = bytes[at + 1];
  return (first === 0x30 || first === 0x39) && bytes[at + 2] === first;
}

function textAround(bytes: Buffer, at: number, end: number): string {
  let start = at;
  while (start > 0 && isDigit(bytes[start - 1])) start--;
  return bytes.toString("latin1", start, end);
}
