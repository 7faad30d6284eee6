/**
 * JSON text read without losing that a number was no integer. `JSON.parse` rounds to the nearest
 * double, and so takes 9007199254740991.4 for 9007199254740991: a reader of integers could not tell.
 */

/** Marks a `RoundedNumber` of any copy of this module: Temporal's SDK loads one by `require`. */
const brand = Symbol.for("onceflow.RoundedNumber");

/** A number whose text is no integer, and whose nearest double is one. */
export class RoundedNumber {
  // It has no members that a reader of objects could find.
  readonly #text: string;
  readonly [brand] = true;

  static [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && brand in value;
  }

  constructor(text: string) {
    this.#text = text;
  }

  /** As it was written. */
  get text(): string {
    return this.#text;
  }

  /** The nearest double, for readers of floats. */
  get value(): number {
    return Number(this.#text);
  }

  /** Who calculates with it has the nearest double. */
  valueOf(): number {
    return this.value;
  }
}

/** `JSON.parse`, with a `RoundedNumber` for each number that needs one. @throws SyntaxError */
export function parseJson(text: string): unknown {
  const json: unknown = JSON.parse(text);
  // Most texts have no such number, and JSON.parse is many times faster.
  for (const [each] of text.matchAll(token)) if (isRounded(each)) return buildJson(text);
  return json;
}

/** A bracket, a text with the colon of a name, or a number or word. */
const token = /[[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*:)?|[^\s,:[\]{}"]+/g;

/** Builds what JSON text says, which must be right. */
function buildJson(text: string): unknown {
  const whole: unknown[] = [];
  const open: object[] = [whole];
  let name = "";
  for (const [each] of text.matchAll(token)) {
    if (each === "]" || each === "}") open.pop();
    else if (each.endsWith(":")) name = JSON.parse(each.slice(0, -1)) as string;
    else {
      const value = startOf(each);
      const parent = open.at(-1);
      // No other way makes a member of the name "__proto__".
      Object.defineProperty(parent, Array.isArray(parent) ? parent.length : name, {
        value,
        enumerable: true,
        configurable: true,
        writable: true,
      });
      if (each === "[" || each === "{") open.push(value as object);
    }
  }
  return whole[0];
}

/** The value of a token; of a bracket, the empty array or object that it opens. */
function startOf(each: string): unknown {
  if (each === "[") return [];
  if (each === "{") return {};
  return isRounded(each) ? new RoundedNumber(each) : JSON.parse(each);
}

const isRounded = (each: string): boolean => !each.startsWith('"') && roundsToInteger(each);

/**
 * `JSON.stringify`, and exact: the text of a `RoundedNumber` as it was, −0 as -0.0, and what JSON has
 * no number for as wire.ts has it: NaN and the infinities by name, a bigint as a decimal string.
 */
export function writeJson(json: unknown): string {
  let isMarked = false;
  const write = (mark: string) =>
    JSON.stringify(json, (_, value: unknown) => {
      if (typeof value === "bigint") return value.toString();
      const text = value instanceof RoundedNumber ? value.text : Object.is(value, -0) ? "-0.0" : "";
      if (text !== "") {
        isMarked = true;
        return mark + text;
      }
      return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
    });
  const plain = write("");
  if (!isMarked) return plain;
  // Letters alone stand in JSON as they are, so that no text or name has a mark that is not there.
  let mark = "number";
  while (plain.includes(mark)) mark += "x";
  return write(mark).replaceAll(new RegExp(`"${mark}([^"]*)"`, "g"), "$1");
}

/** Whether the text of a number is no integer and its nearest double is one. */
export function roundsToInteger(text: string): boolean {
  return /[.eE]/.test(text) && Number.isInteger(Number(text)) && !isInteger(text);
}

/** Whether the number that a text stands for is an integer, exactly. */
function isInteger(text: string): boolean {
  const [, whole = "", fraction = "", exponent = "0"] =
    /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  let end = fraction.length + whole.length;
  const digits = whole + fraction;
  while (end > 0 && digits[end - 1] === "0") end--;
  // Without its last zeros the digits stand for an integer that many places too large.
  return end === 0 || Number(exponent) >= end - whole.length;
}
