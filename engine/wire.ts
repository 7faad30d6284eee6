/**
 * Values as JSON: one table for HTTP, Temporal payloads, NDJSON and what the store keeps as text.
 *
 * | dtype        | JSON                                                                       |
 * | ------------ | -------------------------------------------------------------------------- |
 * | bool, string | as they are; ill-formed UTF-16 is refused                                  |
 * | int64        | a number within ±(2^53 − 1), else a decimal string                         |
 * | float64      | a number; NaN, ±Infinity and −0 as "NaN", "Infinity", "-Infinity", "-0"    |
 * | timestamp    | ISO 8601 UTC out, ISO 8601 or epoch milliseconds in, microseconds kept;    |
 * |              | the years 1 to 9999                                                        |
 * | list_float64 | an array of float64                                                        |
 *
 * A number whose text is no integer is none either where JSON would round it to one: text that
 * callers write is read by `parseJson` (json-text.ts).
 *
 * The dtype of the definition, not the look of the value, decides how an input is read.
 */
import type { Dtype, Int64, Value } from "./language/dtypes.ts";
import { OnceflowError } from "./errors.ts";
import { RoundedNumber } from "./json-text.ts";
import { parseInt64, toInt64 } from "./language/int64.ts";
import { toTimestamp } from "./operations/scalar.ts";

export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The JSON form of a value of the given dtype. */
export function toJson(dtype: Dtype, value: Value): Json {
  if (value === null) return null;
  switch (dtype) {
    case "bool":
      return value as boolean;
    case "string":
      return value as string;
    case "int64":
      return typeof value === "bigint" ? value.toString() : value;
    case "float64":
      return float64ToJson(value as number);
    case "timestamp":
      return formatTimestamp(value as Int64);
    case "list_float64":
      return (value as readonly number[]).map(float64ToJson);
  }
}

function float64ToJson(value: number): number | string {
  if (Object.is(value, -0)) return "-0";
  return Number.isFinite(value) ? value : String(value);
}

/**
 * Reads a JSON value as the given dtype.
 *
 * @param where - what the value is for, named in the error
 * @throws VALUE_INVALID
 */
export function fromJson(dtype: Dtype, json: unknown, where: string): Value {
  const value = readJson(dtype, json);
  if (value !== undefined) return value;
  throw new OnceflowError(
    "VALUE_INVALID",
    `${where} is ${showValue(json)}; expected ${dtype}: ${expected[dtype]}.`,
    { where, dtype },
  );
}

/** What a request may send for a value of each dtype, in words. */
export const expected: Readonly<Record<Dtype, string>> = {
  bool: "true or false",
  int64: "an integer within ±(2^53 − 1) as a number, or any 64-bit integer as a decimal string",
  float64: 'a number, or one of "NaN", "Infinity", "-Infinity", "-0"',
  string: "well-formed Unicode text",
  timestamp: "an ISO 8601 time of the years 1 to 9999, or epoch milliseconds as an integer",
  list_float64: "an array of numbers",
};

/** The same, or undefined for what is no such value. */
export function readJson(dtype: Dtype, json: unknown): Value | undefined {
  if (json === null) return null;
  switch (dtype) {
    case "bool":
      return typeof json === "boolean" ? json : undefined;
    case "string":
      return typeof json === "string" && json.isWellFormed() ? json : undefined;
    case "int64":
      if (typeof json === "number") return Number.isSafeInteger(json) ? json + 0 : undefined;
      return typeof json === "string" ? (parseInt64(json) ?? undefined) : undefined;
    case "float64":
      return readFloat64(json);
    case "timestamp":
      if (typeof json === "number") return Number.isSafeInteger(json) ? scaleMs(json) : undefined;
      return typeof json === "string" ? parseTimestamp(json) : undefined;
    case "list_float64": {
      if (!Array.isArray(json)) return undefined;
      const items = json.map(readFloat64);
      return items.every((item) => item !== undefined) ? items : undefined;
    }
  }
}

const specialFloats: ReadonlyMap<unknown, number> = new Map([
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
  ["-0", -0],
]);

function readFloat64(json: unknown): number | undefined {
  // JSON.parse turns 1e999 into Infinity; only the word may say so.
  if (typeof json === "number") return Number.isFinite(json) ? json : undefined;
  if (json instanceof RoundedNumber) return json.value;
  return specialFloats.get(json);
}

function scaleMs(ms: number): Int64 | undefined {
  return inDomain(BigInt(ms) * 1000n);
}

/** ISO 8601 in UTC, with as many decimals as the value has: none, 3 or 6. */
export function formatTimestamp(us: Int64): string {
  const [seconds, rest] = secondsOf(us);
  const date = new Date(seconds * 1000);
  // Beyond these years the count itself is the only exact spelling.
  if (Number.isNaN(date.getTime())) return us.toString();
  const text = date.toISOString().slice(0, -".000Z".length);
  if (rest === 0) return `${text}Z`;
  const micros = rest.toString().padStart(6, "0");
  return `${text}.${micros.endsWith("000") ? micros.slice(0, 3) : micros}Z`;
}

const isoTime =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(Z|[+-]\d\d:\d\d)?)?$/;

/** Whole seconds, rounded down, and the microseconds beyond them. */
function secondsOf(us: Int64): readonly [seconds: number, rest: number] {
  if (typeof us === "bigint") {
    const rest = ((us % 1_000_000n) + 1_000_000n) % 1_000_000n;
    return [Number((us - rest) / 1_000_000n), Number(rest)];
  }
  const seconds = Math.floor(us / 1_000_000);
  const rest = us - seconds * 1_000_000;
  // The quotient may have been rounded up to a whole number.
  return rest < 0 ? [seconds - 1, rest + 1_000_000] : [seconds, rest];
}

/**
 * Microseconds since the epoch of an ISO 8601 time (UTC unless it names an offset), or undefined
 * for other text and outside the years 1 to 9999.
 */
export function parseTimestamp(text: string): Int64 | undefined {
  const match = isoTime.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour = "00", minute = "00", second = "00", fraction = "", zone] =
    match;
  const date = `${year}-${month}-${day}`;
  const midnight = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(date))
    return undefined;
  // 24:00 is the end of a day, and nothing of the day is behind it; Date.parse sees no fraction.
  if (hour === "24" && Number(fraction) > 0) return undefined;
  const ms = Date.parse(`${date}T${hour}:${minute}:${second}${zone ?? "Z"}`);
  if (Number.isNaN(ms)) return undefined;
  return inDomain(BigInt(ms) * 1000n + BigInt(fraction.padEnd(6, "0")));
}

function inDomain(us: bigint): Int64 | undefined {
  const exact = toInt64(us);
  return exact === null ? undefined : (toTimestamp(exact) ?? undefined);
}

/**
 * Reads one part of an entity key: text as it is, or a safe integer as its decimal text.
 *
 * @throws VALUE_INVALID
 */
export function keyFromJson(json: unknown, where: string): string {
  const key = readKey(json);
  if (key !== undefined) return key;
  throw new OnceflowError(
    "VALUE_INVALID",
    `${where} is ${showValue(json)}; expected an entity key: text, or an integer within ±(2^53 − 1).`,
    { where },
  );
}

/** The same, or undefined for what is no part of a key. */
export function readKey(json: unknown): string | undefined {
  if (typeof json === "string" && json.isWellFormed()) return json;
  if (typeof json === "number" && Number.isSafeInteger(json)) return (json + 0).toString();
  return undefined;
}

/** Any value at all as a short text for messages: as JSON where it has one. */
export function showValue(value: unknown): string {
  if (Object.is(value, -0)) return "-0";
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number") return String(value);
  if (value instanceof RoundedNumber) return value.text.slice(0, 60);
  try {
    return JSON.stringify(value)?.slice(0, 60) ?? typeof value;
  } catch {
    // It holds a bigint, or itself.
    return Array.isArray(value) ? "an array" : "an object";
  }
}
