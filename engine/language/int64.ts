/**
 * Exact 64-bit integers: numbers where they are exact, bigints beyond.
 *
 * The canonical form (a number exactly when |x| ≤ 2^53 − 1) makes `===` and `<` right across both
 * kinds. The rule for overflow is one for all compilers: a result that does not fit is null.
 */
import type { Int64 } from "./dtypes.ts";

export const INT64_MIN = -(2n ** 63n);
export const INT64_MAX = 2n ** 63n - 1n;
const SAFE = Number.MAX_SAFE_INTEGER;
const SAFE_BIG = BigInt(SAFE);

/** The canonical form of an exact integer, or null where it does not fit in 64 bits. */
export function toInt64(exact: bigint): Int64 | null {
  if (exact >= -SAFE_BIG && exact <= SAFE_BIG) return Number(exact);
  return exact >= INT64_MIN && exact <= INT64_MAX ? exact : null;
}

export function addInt64(a: Int64, b: Int64): Int64 | null {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    // Beyond the safe range the double may be rounded; the exact path decides.
    if (sum >= -SAFE && sum <= SAFE) return sum;
  }
  return toInt64(BigInt(a) + BigInt(b));
}

export function subInt64(a: Int64, b: Int64): Int64 | null {
  if (typeof a === "number" && typeof b === "number") {
    const difference = a - b;
    if (difference >= -SAFE && difference <= SAFE) return difference;
  }
  return toInt64(BigInt(a) - BigInt(b));
}

export function mulInt64(a: Int64, b: Int64): Int64 | null {
  if (typeof a === "number" && typeof b === "number") {
    const product = a * b;
    // + 0 turns the −0 of 0 × −1 into the only integer zero.
    if (product >= -SAFE && product <= SAFE) return product + 0;
  }
  return toInt64(BigInt(a) * BigInt(b));
}

/** The quotient rounded towards −∞; null on division by zero. */
export function floorDivInt64(a: Int64, b: Int64): Int64 | null {
  if (b === 0) return null;
  if (typeof a === "number" && typeof b === "number") {
    // A double quotient may round up to the next integer, so the remainder corrects it.
    const remainder = a % b;
    const quotient = (a - remainder) / b;
    return (remainder !== 0 && remainder < 0 !== b < 0 ? quotient - 1 : quotient) + 0;
  }
  const [x, y] = [BigInt(a), BigInt(b)];
  const remainder = x % y;
  const quotient = x / y;
  return toInt64(remainder !== 0n && remainder < 0n !== y < 0n ? quotient - 1n : quotient);
}

/** The remainder that belongs to `floorDivInt64`: it has the divisor's sign; null on zero. */
export function modInt64(a: Int64, b: Int64): Int64 | null {
  if (b === 0) return null;
  if (typeof a === "number" && typeof b === "number") {
    const remainder = a % b;
    return (remainder !== 0 && remainder < 0 !== b < 0 ? remainder + b : remainder) + 0;
  }
  const [x, y] = [BigInt(a), BigInt(b)];
  const remainder = x % y;
  return toInt64(remainder !== 0n && remainder < 0n !== y < 0n ? remainder + y : remainder);
}

export function negInt64(a: Int64): Int64 | null {
  return typeof a === "number" ? 0 - a : toInt64(-a);
}

export function absInt64(a: Int64): Int64 | null {
  return a < 0 ? negInt64(a) : a;
}

/** Truncates towards zero; null for NaN, infinities and what does not fit. */
export function float64ToInt64(x: number): Int64 | null {
  if (Number.isNaN(x) || x === Infinity || x === -Infinity) return null;
  const truncated = Math.trunc(x);
  if (truncated >= -SAFE && truncated <= SAFE) return truncated + 0;
  return toInt64(BigInt(truncated));
}

/** The exact integer at `index` of an int64 buffer that is seen as pairs of 32-bit words. */
export function int64FromWords(low: number, high: number): Int64 {
  const unsignedLow = low >>> 0;
  if (high >= -0x200000 && high < 0x200000) {
    const value = high * 4294967296 + unsignedLow;
    if (value >= -SAFE) return value;
  }
  return (BigInt(high) << 32n) | BigInt(unsignedLow);
}

/** Reads a decimal integer such as `-42`; null where the text is anything else or does not fit. */
export function parseInt64(text: string): Int64 | null {
  return /^-?\d{1,19}$/.test(text) ? toInt64(BigInt(text)) : null;
}
