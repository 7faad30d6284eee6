/**
 * Scalar functions that the row compiler calls where JavaScript's own operator differs from what
 * polars computes.
 */
import type { Int64 } from "../language/dtypes.ts";

/** The order of floats: NaN equals NaN and is greater than everything else; −0 equals 0. */
export function equalFloat64(a: number, b: number): boolean {
  return a === b || (Number.isNaN(a) && Number.isNaN(b));
}

export function lessFloat64(a: number, b: number): boolean {
  return a < b || (Number.isNaN(b) && !Number.isNaN(a));
}

/** Strings are ordered by code point, which is the order of their UTF-8 bytes. */
export function lessString(a: string, b: string): boolean {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (x === y) continue;
    // A surrogate stands for a code point above every other 16-bit unit.
    const [surrogateX, surrogateY] = [isSurrogate(x), isSurrogate(y)];
    return surrogateX === surrogateY ? x < y : surrogateY;
  }
  return a.length < b.length;
}

function isSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdfff;
}

/** The number of code points. */
export function lengthOfString(text: string): number {
  let count = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit <= 0xdbff) count--;
  }
  return count;
}

/** Rounds to an integer, ties to the even one; keeps −0, NaN and infinities. */
function roundHalfEven(x: number): number {
  const truncated = Math.trunc(x);
  const rest = Math.abs(x - truncated);
  if (rest < 0.5 || Number.isNaN(rest)) return truncated;
  if (rest === 0.5 && truncated % 2 === 0) return truncated;
  return truncated + Math.sign(x);
}

/** Rounds to decimals, ties to even of the scaled value; what cannot be scaled stays as it is. */
export function roundFloat64(x: number, decimals: number): number {
  if (decimals === 0) return roundHalfEven(x);
  const scale = 10 ** decimals;
  const scaled = x * scale;
  return Number.isFinite(scaled) ? roundHalfEven(scaled) / scale : x;
}

const usPerDay = 86_400_000_000;

/** First and last microsecond of the years 1 to 9999: the domain of timestamps. */
export const timestampMin = -62_135_596_800_000_000n;
export const timestampMax = 253_402_300_799_999_999n;

/** The timestamp of a count of microseconds, or null outside the years 1 to 9999. */
export function toTimestamp(us: Int64): Int64 | null {
  return us >= timestampMin && us <= timestampMax ? us : null;
}

/** Whole milliseconds, rounded down: exact as a double over the domain of timestamps. */
function millisecondsOf(us: Int64): number {
  if (typeof us === "number") return Math.floor(us / 1000);
  return Number((us - (((us % 1000n) + 1000n) % 1000n)) / 1000n);
}

/** A part of a timestamp, of its milliseconds; null outside the years 1 to 9999. */
function partOf(part: (ms: number) => number): (us: Int64) => number | null {
  return (us) => (toTimestamp(us) === null ? null : part(millisecondsOf(us)));
}

export const yearOf = partOf((ms) => new Date(ms).getUTCFullYear());
export const monthOf = partOf((ms) => new Date(ms).getUTCMonth() + 1);
export const dayOf = partOf((ms) => new Date(ms).getUTCDate());
export const hourOf = partOf((ms) => new Date(ms).getUTCHours());

/** 1 for Monday to 7 for Sunday, as in ISO 8601. */
export const dayOfWeekOf = partOf((ms) => {
  const days = Math.floor(ms / (usPerDay / 1000));
  // 1970-01-01 was a Thursday.
  return ((((days + 3) % 7) + 7) % 7) + 1;
});
