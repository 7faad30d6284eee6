/**
 * Reads source files into polars frames: exactly the declared columns, every value exact or refused.
 *
 * Bytes are read by us and decoded by polars' synchronous readers. Its own file scans map the file
 * into memory, so that a writer who cuts it kills the process (SIGBUS), and a panic over a damaged
 * file aborts the process where the call is asynchronous; in a synchronous call it is an error.
 */
import pl from "nodejs-polars";
import { columnNamed, heightOf, lazyOf, toColumns, toSeries } from "../engine/compile/frame.ts";
import type { Source } from "../engine/language/definitions.ts";
import { OnceflowError } from "../engine/errors.ts";
import type { Interval } from "../engine/calendar/interval.ts";
import { timestampMax, timestampMin } from "../engine/operations/scalar.ts";
import { countFrame } from "../engine/compile/frame-memory.ts";
import {
  called,
  type Chunk,
  type ChunkSize,
  declared,
  fault,
  type Input,
  spell,
  unparsable,
} from "./chunk.ts";
import { partOf, type SourceFile } from "./files.ts";
import { readByFormat } from "./readers.ts";
import { ordinalColumn, rowsPerFile } from "./ordinal.ts";
import { lookOutside, type OutsideRows } from "./outside.ts";

/** What of a file is read, and in what chunks. */
export interface ReadOptions extends ChunkSize {
  /** Of the declared columns and the ordinal, those to read, at least one; default all. */
  readonly columns?: readonly string[];
  /** Told after the last chunk of rows that no interval takes, where the source leaves them out. */
  readonly leftOut?: (rows: OutsideRows) => void;
}

/**
 * Reads a file in chunks of rows, at least one, in the file's order.
 *
 * Each frame has the columns asked for in declared order as Bool, Int64, Float64, Utf8,
 * Datetime(µs), List(Float64), then `__ordinal` (Int64, exact as a double): the file's index × 2^32
 * + the row's number in the file, counted before the rows outside [start, end), and outside what the
 * file may hold, are dropped. A source without event time keeps all rows. Other columns of the file
 * are ignored: they may be missing, and hold what they like.
 *
 * CSV comes in chunks of about 16 MiB, parquet in chunks of about 3 million values; of parquet only
 * the columns asked for and the event time are read. Decoding blocks the event loop: about 0.1 s
 * for a chunk of CSV, 25 ms for a million values of parquet; a column of a row group of parquet is
 * decoded at once.
 *
 * @throws SOURCE_MISSING, SOURCE_CORRUPT, SCHEMA_MISMATCH, VALUE_UNPARSABLE, NULL_NOT_ALLOWED and,
 *   after the last chunk, EVENT_TIME_OUTSIDE, each naming source and file, and row and column where
 *   there is one
 */
export async function* readChunks(
  source: Source,
  file: SourceFile,
  interval: Interval,
  options: ReadOptions = {},
): AsyncGenerator<pl.DataFrame> {
  const { columns } = options;
  const { eventTime } = source;
  const read = columns === undefined ? source : narrow(source, columns);
  const input: Input = { source: read, part: partOf(file), whole: source };
  const isNumbered = columns?.includes(ordinalColumn) ?? true;
  const isExtra = eventTime !== undefined && columns?.includes(eventTime) === false;
  const { reach, isBeside = false } = file;
  const wanted = reach === undefined ? interval : commonOf(interval, reach);
  const outside = reach === undefined || isBeside ? undefined : lookOutside(input, reach);
  for await (const chunk of readByFormat(input, options)) {
    const frame = select(chunk, input, wanted, isNumbered, outside);
    countFrame(frame);
    yield isExtra ? lazyOf(frame).drop(eventTime).collectSync() : frame;
  }
  const left = outside?.judge();
  if (left !== undefined) options.leftOut?.(left);
}

function commonOf(one: Interval, other: Interval): Interval {
  return {
    startMs: Math.max(one.startMs, other.startMs),
    endMs: Math.min(one.endMs, other.endMs),
  };
}

const narrowSources = new WeakMap<Source, Map<string, Source>>();

/** A source that declares only some of its columns, and its event time, to filter by. */
function narrow(source: Source, columns: readonly string[]): Source {
  const sources = narrowSources.get(source) ?? new Map<string, Source>();
  narrowSources.set(source, sources);
  const key = columns.join();
  let narrowed = sources.get(key);
  if (narrowed === undefined) {
    const isKnown = (name: string) => Object.hasOwn(source.types, name) || name === ordinalColumn;
    const unknown = columns.find((name) => !isKnown(name));
    if (unknown !== undefined || columns.every((name) => name === ordinalColumn))
      throw new OnceflowError(
        "INTERNAL",
        `source "${source.name}" has no column "${unknown ?? ""}" to read.`,
      );
    const isRead = (name: string) => columns.includes(name) || name === source.eventTime;
    const types = Object.entries(source.types).filter(([name]) => isRead(name));
    sources.set(key, (narrowed = { ...source, types: Object.fromEntries(types) }));
  }
  return narrowed;
}

/** Checks nulls and times, numbers the rows and drops those outside the interval. */
function select(
  chunk: Chunk,
  input: Input,
  interval: Interval,
  isNumbered: boolean,
  outside: ReturnType<typeof lookOutside> | undefined,
): pl.DataFrame {
  const { eventTime } = input.source;
  assertNulls(chunk, input);
  const ranges = new Map([...chunk.times].map(([name, times]) => [name, rangeOf(times)]));
  for (const [name, range] of ranges) assertInDomain(chunk, name, range, input);
  const range = eventTime === undefined ? undefined : ranges.get(eventTime);
  if (range !== undefined) outside?.add(chunk, range);
  const kept = eventTime === undefined ? "all" : keptOf(range, interval);
  if (kept === "none") return emptyFrame(input.source, isNumbered);
  const frame = chunk.frame();
  if (isNumbered) number(frame, input, chunk.firstRow);
  if (eventTime === undefined || kept === "all") return frame;
  const time = columnNamed(eventTime).cast(pl.Int64);
  const { startMs, endMs } = interval;
  return lazyOf(frame)
    .filter(time.gtEq(microseconds(startMs)).and(time.lt(microseconds(endMs))))
    .collectSync();
}

/** Adds the ordinals. */
function number(frame: pl.DataFrame, { source, part }: Input, firstRow: number): void {
  // A double holds every ordinal exactly, and fills far faster than bigints do.
  const first = part.index * rowsPerFile + firstRow;
  const ordinals = new Float64Array(heightOf(frame));
  for (let row = 0; row < ordinals.length; row++) ordinals[row] = first + row;
  const series = pl.Series(ordinals).cast(pl.Int64).alias(ordinalColumn);
  frame.insertAtIdx(declared(source).length, series);
}

const emptyFrames = new WeakMap<Source, pl.DataFrame>();

/** The frame of no rows of a source: built once, since most chunks of a long backfill are it. */
function emptyFrame(source: Source, isNumbered: boolean): pl.DataFrame {
  let frame = emptyFrames.get(source);
  if (frame === undefined) {
    const columns = declared(source).map(([name, dtype]) => toSeries(name, dtype, []));
    if (isNumbered) columns.push(toSeries(ordinalColumn, "int64", []));
    frame = pl.DataFrame(columns);
    emptyFrames.set(source, frame);
  }
  return frame;
}

function assertNulls({ frame, nulls, place }: Chunk, input: Input): void {
  const { types, entity, eventTime } = input.source;
  for (const [name, { dtype, nullable }] of Object.entries(types)) {
    if ((nulls[name] ?? 0) === 0) continue;
    const isIdentity = entity.keys.includes(name) || name === eventTime;
    if (nullable && !isIdentity) continue;
    const row = toColumns(frame(), [name])[0]?.nulls?.indexOf(1) ?? 0;
    throw fault("NULL_NOT_ALLOWED", input, `${place(row)}: ${called(input.source, name)} is null`, {
      column: name,
      fix: isIdentity
        ? "An entity key or event time is never null."
        : `Declare it as ${spell({ dtype, nullable: true })} if that is meant.`,
    });
  }
}

/** Which rows lie in the interval. A file of a partition is mostly all inside, or all outside. */
function keptOf(range: TimeRange | undefined, { startMs, endMs }: Interval) {
  // An event time is never null.
  if (range === undefined) return "none";
  const [start, end] = [BigInt(startMs) * 1000n, BigInt(endMs) * 1000n];
  if (range.min >= start && range.max < end) return "all";
  return range.max < start || range.min >= end ? "none" : "some";
}

/** A literal in µs, through text: a JS number would become a double, which is exact only for ms. */
function microseconds(ms: number): pl.Expr {
  return pl.lit(String(BigInt(ms) * 1000n)).cast(pl.Int64);
}

interface TimeRange {
  readonly min: bigint;
  readonly max: bigint;
}

/** The first and last of some times, or undefined where there are none. */
function rangeOf(times: BigInt64Array): TimeRange | undefined {
  // A bigint for each time would cost ten times as much as its two words.
  const words = new Int32Array(times.buffer, times.byteOffset, 2 * times.length);
  let [min, max] = [0, 0];
  for (let at = 2; at < words.length; at += 2) {
    if (isBefore(words, at, min)) min = at;
    else if (isBefore(words, max, at)) max = at;
  }
  const [first, last] = [times[min / 2], times[max / 2]];
  return first === undefined || last === undefined ? undefined : { min: first, max: last };
}

/** Whether one integer is less than another, by the places of their words, low before high. */
function isBefore(words: Int32Array, a: number, b: number): boolean {
  const [highA, highB] = [words[a + 1] ?? 0, words[b + 1] ?? 0];
  return highA === highB ? (words[a] ?? 0) >>> 0 < (words[b] ?? 0) >>> 0 : highA < highB;
}

/** @throws VALUE_UNPARSABLE beyond year 9999 */
function assertInDomain(
  { place, times }: Chunk,
  name: string,
  range: TimeRange | undefined,
  input: Input,
): void {
  if (range === undefined || (range.min >= timestampMin && range.max <= timestampMax)) return;
  const column = times.get(name) ?? new BigInt64Array();
  const row = column.findIndex((us) => us < timestampMin || us > timestampMax);
  throw unparsable(input, place(row), name, "timestamp", `${column[row]} µs`);
}
