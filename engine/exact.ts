/**
 * Exact sums: whole numbers of a fixed unit, a power of two of which every input is a multiple. Whole
 * numbers add up to the same in any order, and a quotient of two of them is rounded once, here.
 */
import { OnceflowError } from "./errors.ts";
import type { Json } from "./wire.ts";
import type { Dtype } from "./language/dtypes.ts";

/** Exponent of the least double above zero, of which every finite double is a multiple. */
const leastExponent = -1074;
/** Bits of a double's significand. */
const significandBits = 53;

const scratch = new DataView(new ArrayBuffer(8));

/** The exponent of the power of two in which values of a dtype are counted: 0 for integers. */
export function unitExponent(dtype: Dtype): number {
  return dtype === "float64" ? leastExponent : 0;
}

/** A finite value as a whole number of its dtype's unit. */
export function unitsOf(value: number | bigint, dtype: Dtype): bigint {
  if (dtype !== "float64") return BigInt(value);
  scratch.setFloat64(0, Number(value));
  const bits = scratch.getBigUint64(0);
  const fraction = bits & 0xf_ffff_ffff_ffffn;
  const biased = (bits >> 52n) & 0x7ffn;
  const units = biased === 0n ? fraction : (fraction | (1n << 52n)) << (biased - 1n);
  return bits >> 63n === 1n ? -units : units;
}

/** The double nearest to numerator ÷ denominator × 2^exponent, ties to even; the denominator is positive. */
export function nearestDouble(numerator: bigint, denominator: bigint, exponent: number): number {
  if (numerator === 0n) return 0;
  const isNegative = numerator < 0n;
  const dividend = isNegative ? -numerator : numerator;
  // Of the quotient, more bits than a double has: what lies below them only breaks ties.
  const wanted = significandBits + 11 + bitLength(denominator);
  const shift = Math.max(0, wanted - bitLength(dividend));
  const shifted = dividend << BigInt(shift);
  const quotient = shifted / denominator;
  const isCut = quotient * denominator !== shifted;
  const unit = exponent - shift;
  const length = bitLength(quotient);
  // The exponent of the last bit that is kept: those of the smallest doubles have fewer.
  const last = Math.max(unit + length - significandBits, leastExponent);
  const dropped = BigInt(last - unit);
  const half = 1n << (dropped - 1n);
  let kept = quotient >> dropped;
  const rest = quotient - (kept << dropped);
  if (rest > half || (rest === half && (isCut || (kept & 1n) === 1n))) kept++;
  // Both factors are doubles, and so is the product, or it is beyond all of them.
  const double = last > 971 ? Infinity : Number(kept) * 2 ** last;
  return isNegative ? -double : double;
}

/** A whole number as text of one form: hexadecimal, "p", and the zero bits that were left out. */
export function encodeExact(exact: bigint): string {
  if (exact === 0n) return "0p0";
  let [rest, zeros] = [exact, 0];
  while ((rest & 0xffff_ffffn) === 0n) [rest, zeros] = [rest >> 32n, zeros + 32];
  while ((rest & 1n) === 0n) [rest, zeros] = [rest >> 1n, zeros + 1];
  return `${rest.toString(16)}p${zeros}`;
}

/** Reads what `encodeExact` wrote. @throws VALUE_INVALID for any other text */
export function decodeExact(json: Json): bigint {
  const text = typeof json === "string" ? json : JSON.stringify(json);
  const [, sign, digits, zeros] = /^(-?)([0-9a-f]{1,2000})p(\d{1,4})$/.exec(text) ?? [];
  if (digits === undefined)
    throw new OnceflowError(
      "VALUE_INVALID",
      `an aggregate state holds ${JSON.stringify(text.slice(0, 60))}, which is no exact number.`,
    );
  const exact = BigInt(`0x${digits}`) << BigInt(zeros ?? 0);
  return sign === "-" ? -exact : exact;
}

function bitLength(positive: bigint): number {
  const digits = positive.toString(16);
  return digits.length * 4 - (Math.clz32(parseInt(digits.charAt(0), 16)) - 28);
}
