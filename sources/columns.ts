/**
 * Which columns of a file the declared ones are, by one rule for all formats (docs/sources.md).
 *
 * A column is the one of exactly its name; else the only one whose name is the same once it is
 * normalised. A name that `column(…)` gives is taken as it is, and its column is no other's.
 */
import type { ColumnType } from "../engine/language/dtypes.ts";
import { closest, type OnceflowError } from "../engine/errors.ts";
import { cut, quote } from "../engine/words.ts";
import { called, fault, type Input, spell } from "./chunk.ts";

/** The names of all columns of a file in its order; undefined for what is no text. */
export type NamesInFile = readonly (string | undefined)[];

/** Names that a message lists, at most. */
const mostListed = 100;

/**
 * Finds the place in the file of each declared column.
 *
 * @param hint - what else may be wrong where columns are missing
 * @throws SCHEMA_MISMATCH where one is missing, or more than one may be it
 */
export function findColumns(
  input: Input,
  names: NamesInFile,
  hint: () => string | undefined = () => undefined,
): ReadonlyMap<string, number> {
  const matches = [...matchColumns(input, names)];
  const missing = matches.flatMap(([name, places]) => (places.length === 0 ? [name] : []));
  if (missing.length > 0) {
    const claimed = new Set(matches.flatMap(([, places]) => places));
    const left = names.flatMap((name, at) => (name === undefined || claimed.has(at) ? [] : [name]));
    throw lacking(input, names, missing, left, hint());
  }
  for (const [name, [first = 0, second]] of matches)
    if (second !== undefined)
      throw ambiguous(input, name, [names[first] ?? "", names[second] ?? ""]);
  return new Map(matches.map(([name, [place = 0]]) => [name, place]));
}

/** Whether a file of these columns has every declared one. */
export function hasColumns(input: Input, names: NamesInFile): boolean {
  return [...matchColumns(input, names).values()].every((places) => places.length > 0);
}

/** The places of the columns that each declared one may be. */
function matchColumns(
  { source, whole = source }: Input,
  names: NamesInFile,
): ReadonlyMap<string, readonly number[]> {
  const given = new Set(Object.values(whole.types).map(({ from }) => from));
  const exact = placesOf(names);
  const alike = placesOf(
    names.map((name) => (name === undefined || given.has(name) ? undefined : normaliseName(name))),
  );
  return new Map(
    Object.entries(source.types).map(([name, { from }]) => {
      const places = exact.get(from ?? name) ?? [];
      return [name, places.length === 0 && from === undefined ? (alike.get(name) ?? []) : places];
    }),
  );
}

function placesOf(names: NamesInFile): ReadonlyMap<string, readonly number[]> {
  const places = new Map<string, number[]>();
  for (const [place, name] of names.entries()) {
    if (name === undefined) continue;
    const known = places.get(name);
    if (known === undefined) places.set(name, [place]);
    else known.push(place);
  }
  return places;
}

/**
 * The name that a column of a file goes by where none has the declared one: without blanks around
 * it, in lower case, `/` as `_per_`, blanks as `_`.
 *
 * "Work load Average/day " becomes work_load_average_per_day.
 */
export function normaliseName(name: string): string {
  return name.trim().replaceAll("/", "_per_").replaceAll(/\s+/g, "_").toLowerCase();
}

function lacking(
  input: Input,
  names: NamesInFile,
  missing: readonly string[],
  left: readonly string[],
  hint: string | undefined,
): OnceflowError {
  const { source } = input;
  const [first = ""] = missing;
  const near = nearest(source.types[first]?.from ?? first, left);
  const guess = near === undefined ? "" : ` Did you mean ${quote(near)}?`;
  const expected = Object.entries(source.types).map(([name, { from }]) =>
    from === undefined ? name : called(source, name),
  );
  const fix =
    hint ?? (near === undefined ? undefined : `If so, ${declaration(input, first, near)}.`);
  return fault(
    "SCHEMA_MISMATCH",
    input,
    `has no column ${missing.map((name) => called(source, name)).join(", ")}.${guess} Expected: ${expected.join(", ")}. Got: ${listed(names)}`,
    {
      expected: Object.entries(source.types).map(([name, { from }]) => from ?? name),
      got: names.slice(0, mostListed).map(readable),
      ...(fix === undefined ? {} : { fix }),
    },
  );
}

function ambiguous(input: Input, column: string, [one, other]: [string, string]): OnceflowError {
  if (one === other)
    return fault("SCHEMA_MISMATCH", input, `has two columns ${quote(one)}`, {
      column,
      fix: "Write the file with a name of its own for each.",
    });
  const problem = `has two columns that may be ${quote(column)}: ${quote(one)}, ${quote(other)}`;
  const fix = `For one of them, ${declaration(input, column, one)}.`;
  return fault("SCHEMA_MISMATCH", input, problem, { column, fix });
}

/** How a column is declared that files call by a name of their own. */
function declaration({ source }: Input, name: string, from: string): string {
  return `declare ${name}: column(${quote(from)}, ${spell(source.types[name] as ColumnType)})`;
}

/** The name that differs least in letters and digits, if one is near. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string) =>
    text
      .normalize("NFKD")
      .replaceAll(/[^\p{L}\p{N}]/gu, "")
      .toLowerCase();
  const byPlain = new Map(names.map((each) => [plain(each), each]));
  byPlain.delete("");
  const sought = plain(name);
  const near = closest(sought, byPlain.keys(), Math.floor(sought.length / 3));
  return near === undefined ? undefined : byPlain.get(near);
}

function listed(names: NamesInFile): string {
  if (names.length === 0) return "none";
  const more = names.length - mostListed;
  const list = names.slice(0, mostListed).map(readable).map(showName).join(", ");
  return more > 0 ? `${list} and ${more} more` : list;
}

function readable(name: string | undefined): string {
  return name ?? "\ufffd";
}

/** A name of a file in a list of names. */
export function showName(name: string): string {
  const short = cut(name, 60);
  return /^[\w.$-]+$/.test(name) ? short : quote(short);
}
