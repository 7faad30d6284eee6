/**
 * JSON text read without losing that a number was no integer. `JSON.parse` rounds to the nearest
 * double, and so takes 9007199254740991.4 for 9007199254740991: a reader of integers could not tell.
 */

/** A number whose text is no integer, and whose nearest double is one. */
export class RoundedNumber {
  // It has no members that a reader of objects could find.
  readonly #text: string;

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

  /** A mark, in whose place `writeJson` puts the text. */
  toJSON(): string {
    return mark + this.#text;
  }
}

/** No text of a caller begins so. */
const mark = `rounded ${crypto.randomUUID()} `;

/** A string, which is left as it is, or a number. */
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** `JSON.parse`, with a `RoundedNumber` for each number that needs one. @throws SyntaxError */
export function parseJson(text: string): unknown {
  const json: unknown = JSON.parse(text);
  let isMarked = false;
  const marked = text.replaceAll(token, (each) => {
    if (each.startsWith('"') || !roundsToInteger(each)) return each;
    isMarked = true;
    return `"${mark}${each}"`;
  });
  return isMarked ? revive(JSON.parse(marked)) : json;
}

/** `JSON.stringify`, with the text of each `RoundedNumber` as it was. */
export function writeJson(json: unknown): string {
  return JSON.stringify(json).replaceAll(new RegExp(`"${mark}([^"]*)"`, "g"), "$1");
}

function revive(json: unknown): unknown {
  if (typeof json === "string" && json.startsWith(mark))
    return new RoundedNumber(json.slice(mark.length));
  if (Array.isArray(json)) return json.map(revive);
  if (typeof json !== "object" || json === null) return json;
  for (const [name, value] of Object.entries(json))
    if (typeof value === "object" || typeof value === "string")
      Object.defineProperty(json, name, {
        value: revive(value),
        enumerable: true,
        configurable: true,
        writable: true,
      });
  return json;
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
