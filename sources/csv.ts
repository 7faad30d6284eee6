/**
 * The structure of CSV text as RFC 4180 has it: where records and fields begin and end.
 *
 * polars parses the values. It neither tells lines nor refuses short rows, and it cuts work at any
 * line end, so this pass over the bytes comes first; it finds where a record ends, and refuses
 * what is ragged or wrongly quoted. About 5 ns a byte.
 */
import type { Dtype } from "../engine/language/dtypes.ts";
import { parseInt64 } from "../engine/language/int64.ts";
import { timestampMax, timestampMin } from "../engine/operations/scalar.ts";
import { parseTimestamp } from "../engine/wire.ts";

const quote = 0x22;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** A record of a CSV text. */
export interface CsvRecord {
  /** Offset behind its line end. */
  readonly end: number;
  readonly fieldCount: number;
  /** Line ends in it, its own included: more than one where a quoted field spans lines. */
  readonly lineCount: number;
  /** Whether a field begins with a blank, which polars skips before numbers: alone it is no null. */
  readonly hasBlank: boolean;
  /** Whether polars would drop a carriage return, since it ends a field and no line. */
  readonly hasLostReturn: boolean;
  /** Offsets of each field: start and end in turn, quotes included; filled where asked for. */
  readonly bounds: readonly number[];
  /** What is wrong with its quotes. */
  readonly problem?: string;
}

/** So that a pass that wants none allocates none. */
const noBounds: number[] = [];

/**
 * Reads the record that begins at `start`; undefined where it does not end within the bytes.
 *
 * @param isLast - whether the text ends with the bytes, so that a record may end without line end
 */
export function readRecord(
  bytes: Uint8Array,
  start: number,
  separator: number,
  isLast: boolean,
  wantBounds: boolean,
): CsvRecord | undefined {
  const bounds = wantBounds ? [] : noBounds;
  const { length } = bytes;
  let fieldCount = 0;
  let lineCount = 0;
  let hasBlank = false;
  let hasLostReturn = false;
  let at = start;
  for (;;) {
    const fieldStart = at;
    let fieldEnd: number;
    let problem: string | undefined;
    if (bytes[at] === quote) {
      at++;
      if (isBlank(bytes[at])) hasBlank = true;
      for (;;) {
        while (at < length && bytes[at] !== quote) if (bytes[at++] === lineFeed) lineCount++;
        if (at + 1 >= length && !isLast) return undefined;
        if (at >= length) {
          problem = "opens a quote that is never closed";
          break;
        }
        at++;
        if (bytes[at] !== quote) break;
        at++;
      }
      fieldEnd = at;
      if (bytes[at] === carriageReturn && bytes[at + 1] === lineFeed) at++;
      else if (bytes[at] === carriageReturn && at + 1 >= length && !isLast) return undefined;
      if (at < length && bytes[at] !== separator && bytes[at] !== lineFeed)
        problem = "has text after a closing quote";
    } else {
      if (isBlank(bytes[at])) hasBlank = true;
      for (; at < length; at++) {
        const byte = bytes[at];
        if (byte === separator || byte === lineFeed) break;
        if (byte === quote) problem = "has a quote inside a field that does not begin with one";
      }
      if (at >= length && !isLast) return undefined;
      fieldEnd = at;
      if (at > fieldStart && bytes[at - 1] === carriageReturn) {
        // At the end of the text it is half of a line end.
        if (bytes[at] === lineFeed || at >= length) fieldEnd--;
        else hasLostReturn = true;
      }
    }
    fieldCount++;
    if (wantBounds) bounds.push(fieldStart, fieldEnd);
    if (problem !== undefined)
      return { end: at, fieldCount, lineCount, hasBlank, hasLostReturn, bounds, problem };
    if (bytes[at] !== separator || at >= length) {
      if (at < length) lineCount++;
      const end = Math.min(at + 1, length);
      return { end, fieldCount, lineCount, hasBlank, hasLostReturn, bounds };
    }
    at++;
  }
}

/** What polars skips before a number. */
function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09;
}

/** Whether a field between two bounds holds blanks alone, at least one. */
export function isBlankField(bytes: Uint8Array, start: number, end: number): boolean {
  const isQuoted = bytes[start] === quote;
  const text = isQuoted ? bytes.subarray(start + 1, end - 1) : bytes.subarray(start, end);
  return text.length > 0 && text.every(isBlank);
}

/** Whether polars would drop the carriage return at the end of a field between two bounds. */
export function losesReturn(bytes: Uint8Array, start: number, end: number): boolean {
  const isEnd = end >= bytes.length || bytes[end] === carriageReturn;
  return end > start && bytes[end - 1] === carriageReturn && !isEnd;
}

/** The text of a field between two bounds, without its quotes; undefined where it is not UTF-8. */
export function fieldText(bytes: Uint8Array, start: number, end: number): string | undefined {
  const isQuoted = bytes[start] === quote;
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    const text = decoder.decode(
      isQuoted ? bytes.subarray(start + 1, end - 1) : bytes.subarray(start, end),
    );
    return isQuoted ? text.replaceAll('""', '"') : text;
  } catch {
    return undefined;
  }
}

/** A place in a CSV text. */
export interface CsvPlace {
  /** Data rows before it. */
  readonly row: number;
  /** Lines before it, the header included. */
  readonly line: number;
}

/** How people count: the first data row is 1, and the first line of the file is 1. */
export function describePlace({ row, line }: CsvPlace): string {
  return `row ${row + 1} (line ${line + 1})`;
}

/** Whole records at the head of some bytes. */
export interface CsvRecords {
  readonly end: number;
  readonly rows: number;
  readonly lines: number;
  readonly hasBlank: boolean;
  readonly hasLostReturn: boolean;
  /** What is wrong with the record that begins at `end`. */
  readonly problem?: string;
}

/** Measures the whole records in the bytes, at most `limit`; each must have `width` fields. */
export function measureRecords(
  bytes: Uint8Array,
  start: number,
  separator: number,
  width: number,
  isLast: boolean,
  limit = Infinity,
): CsvRecords {
  let end = start;
  let rows = 0;
  let lines = 0;
  let hasBlank = false;
  let hasLostReturn = false;
  while (end < bytes.length && rows < limit) {
    const record = readRecord(bytes, end, separator, isLast, false);
    if (record === undefined) break;
    const problem = record.problem ?? ragged(record, width);
    if (problem !== undefined) return { end, rows, lines, hasBlank, hasLostReturn, problem };
    if (record.hasBlank) hasBlank = true;
    if (record.hasLostReturn) hasLostReturn = true;
    ({ end } = record);
    rows++;
    lines += record.lineCount;
  }
  return { end, rows, lines, hasBlank, hasLostReturn };
}

function ragged({ fieldCount }: CsvRecord, width: number): string | undefined {
  if (fieldCount === width) return undefined;
  return `has ${fieldCount} ${fieldCount === 1 ? "field" : "fields"}, the header has ${width}`;
}

const decimal = /^[ \t]*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;
const special = /^[ \t]*[+-]?(?:nan|inf|infinity)$/i;

/**
 * Whether a cell's text is a value of the dtype: the language that polars reads, written down, but
 * for numbers beyond a double's range, which polars takes for infinity.
 *
 * | dtype     | text                                                                          |
 * | --------- | ----------------------------------------------------------------------------- |
 * | bool      | true or false, in any case                                                    |
 * | int64     | decimal digits with an optional sign, within 64 bits                          |
 * | float64   | a decimal number, to the nearest double, or nan, inf or infinity in any case   |
 * | string    | any UTF-8                                                                     |
 * | timestamp | ISO 8601 with at most 6 decimals, years 1 to 9999; UTC unless it has an offset |
 *
 * Numbers may have spaces and tabs before them and none behind. An empty cell is a null of every
 * dtype, of string only without quotes: `""` is the empty string. A cell of blanks is text, and no
 * value of any other dtype.
 */
export function isReadable(dtype: Dtype, text: string): boolean {
  switch (dtype) {
    case "bool":
      return /^(?:true|false)$/i.test(text);
    case "int64": {
      const digits = /^[ \t]*(?:\+|(-))?0*(\d+)$/.exec(text);
      return digits !== null && parseInt64(`${digits[1] ?? ""}${digits[2]}`) !== null;
    }
    case "float64":
      // Number("1.") and Number(" .5") are what polars reads; a word alone may say infinity.
      return decimal.test(text) ? Number.isFinite(Number(text)) : special.test(text);
    case "string":
      return true;
    case "timestamp": {
      const us = parseTimestamp(text);
      return us !== undefined && us >= timestampMin && us <= timestampMax;
    }
    case "list_float64":
      return false;
  }
}
