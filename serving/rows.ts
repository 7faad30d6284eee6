/** Reads the rows of a request by the definitions: which columns they carry, and their values. */
import type { Value } from "../engine/language/dtypes.ts";
import { didYouMean, OnceflowError } from "../engine/errors.ts";
import type { BoundPlan, RequestRead, RequiredInput } from "../engine/planner.ts";
import { fromJson, keyFromJson, readJson, readKey } from "../engine/wire.ts";
import { encodeEntityKey } from "../store/rows/entity-key.ts";
import type { Part, Planned } from "./planned.ts";
import type { Members, ParsedRequest, RawRow } from "./request.ts";
import { atPath, invalid, pathTo, requestLimits } from "./request.ts";

/** One row of a request, its values read. */
export interface RequestRow {
  /** Its place in the request. */
  readonly place: number;
  /** Key columns by name; undefined where the row named no entity. */
  readonly entity: Readonly<Record<string, string>> | undefined;
  /** Values of the group's inputs. */
  readonly values: readonly Value[];
}

/** Rows that carry the same members, so one binding answers all of them. */
export interface RowGroup {
  readonly shape: RowShape;
  readonly rows: RequestRow[];
}

/** What is settled beforehand for all rows with the same members, in the same order. */
export interface RowShape {
  /** Names of the key columns and of the inputs that a row carries; undefined without any. */
  readonly keys: readonly string[] | undefined;
  readonly carried: readonly string[] | undefined;
  readonly parts: readonly ShapedPart[];
  readonly bound: BoundPlan;
  /** The inputs that some output needs, in the order of each row's values. */
  readonly inputs: readonly RequiredInput[];
  /** The member of the row's inputs that holds each of these. */
  readonly names: readonly string[];
}

/** A part, and for each value of the request that it reads its place among the row's values. */
export interface ShapedPart extends Part {
  /** −1 for a key column, which is the entity's. */
  readonly values: readonly number[];
}

/** Shapes that are kept for each plan; the oldest gives way. */
const shapesLimit = 64;

/**
 * Groups rows by what they carry.
 *
 * @throws UNKNOWN_INPUT, VALUE_INVALID, REQUEST_INVALID, REQUEST_TOO_LARGE, MISSING_INPUT
 */
export function groupRows(planned: Planned, request: ParsedRequest): RowGroup[] {
  const { rows, sharesInputs } = request;
  const groups: RowGroup[] = [];
  let shared: readonly Value[] | undefined;
  for (let place = 0; place < rows.length; place++) {
    const row = rows[place] as RawRow;
    const inputsPath = () => (sharesInputs ? "inputs" : `inputs[${place}]`);
    let group = groups.find(({ shape }) => hasShape(row, shape));
    if (group === undefined) {
      const path = pathOf(row, place);
      if (groups.length === requestLimits.mixtures)
        throw new OnceflowError(
          "REQUEST_TOO_LARGE",
          `${path} carries yet another set of members; the rows of one request may carry ${requestLimits.mixtures} different sets. Split it.`,
          { path, limit: requestLimits.mixtures },
        );
      let shape = planned.shapes.find((each) => hasShape(row, each));
      if (shape === undefined) {
        shape = shapeOf(planned, row, inputsPath(), rows.length > 1 ? path : undefined);
        planned.shapes.unshift(shape);
        planned.shapes.length = Math.min(planned.shapes.length, shapesLimit);
      }
      group = { shape, rows: [] };
      groups.push(group);
    }
    const { shape } = group;
    const values =
      sharesInputs && shared !== undefined ? shared : readValues(shape, row.inputs, inputsPath);
    if (sharesInputs) shared = values;
    group.rows.push({ place, entity: row.entity && readEntity(row.entity, place), values });
  }
  return groups;
}

/** The JSON path of a row: an entity is what is looked for; without one, the inputs are the row. */
export function pathOf({ entity }: { readonly entity: unknown }, place: number): string {
  return entity === undefined ? `inputs[${place}]` : `entities[${place}]`;
}

function hasShape({ entity, inputs }: RawRow, { keys, carried }: RowShape): boolean {
  return hasMembers(entity, keys) && hasMembers(inputs, carried);
}

function hasMembers(members: Members | undefined, names: readonly string[] | undefined): boolean {
  if (members === undefined || names === undefined) return members === names;
  const own = Object.keys(members);
  return own.length === names.length && own.every((name, i) => name === names[i]);
}

function shapeOf(
  planned: Planned,
  row: RawRow,
  inputsPath: string,
  rowPath: string | undefined,
): RowShape {
  const keys = Object.keys(row.entity ?? {});
  if (row.entity !== undefined)
    requireKeys(keys, planned.plan.entityKeys, rowPath ?? "entities[0]");
  const needed = new Map<RequiredInput, string>();
  for (const name of Object.keys(row.inputs ?? {})) {
    const path = pathTo(inputsPath, name);
    const input = inputNamed(planned, name, path);
    if (input === undefined) continue;
    const twin = needed.get(input);
    if (twin !== undefined)
      throw invalid(
        path,
        `${path} and ${pathTo(inputsPath, twin)} are both ${input.id}; send one.`,
      );
    needed.set(input, name);
  }
  const inputs = [...needed.keys()];
  try {
    const { bound, parts } = planned.bind(new Set(inputs.map(({ id }) => id)), new Set(keys));
    const placeOf = ({ input }: RequestRead) => inputs.findIndex(({ id }) => id === input.id);
    return {
      keys: row.entity && keys,
      carried: row.inputs && Object.keys(row.inputs),
      parts: parts.map((part) => ({ ...part, values: part.bound.request.map(placeOf) })),
      bound,
      inputs,
      names: [...needed.values()],
    };
  } catch (error) {
    throw rowPath === undefined ? error : atPath(rowPath, error);
  }
}

function inputNamed(planned: Planned, name: string, path: string): RequiredInput | undefined {
  if (name.length > requestLimits.nameLength)
    throw invalid(path, `${path} has a name of over ${requestLimits.nameLength} characters.`);
  try {
    return planned.plan.inputNamed(name);
  } catch (error) {
    throw atPath(path, error);
  }
}

function requireKeys(keys: readonly string[], known: readonly string[], path: string): void {
  if (keys.length === 0) throw invalid(path, `${path} is empty; send ${known.join(", ")}.`);
  for (const key of keys)
    if (!known.includes(key)) {
      const at = pathTo(path, key);
      throw invalid(
        at,
        `${at} is no key column of what is asked for.${didYouMean(key, known)} Key columns: ${known.join(", ")}.`,
      );
    }
}

function readValues(
  { inputs, names }: RowShape,
  members: Members | undefined,
  path: () => string,
): readonly Value[] {
  return inputs.map(({ dtype, nullable, id }, i) => {
    const name = names[i] ?? "";
    const json = members?.[name];
    const value = readJson(dtype, json) ?? fromJson(dtype, json, pathTo(path(), name));
    if (value === null && !nullable)
      throw new OnceflowError(
        "VALUE_INVALID",
        `${pathTo(path(), name)} is null, and column ${id} is declared without nulls; send ${dtype === "int64" ? "an" : "a"} ${dtype}.`,
        { where: pathTo(path(), name), dtype },
      );
    return value;
  });
}

function readEntity(entity: Members, place: number): Readonly<Record<string, string>> {
  const read: Record<string, string> = {};
  let units = 0;
  for (const name of Object.keys(entity)) {
    const json = entity[name];
    const text = readKey(json) ?? keyFromJson(json, pathTo(pathOf({ entity }, place), name));
    read[name] = text;
    units += text.length;
  }
  // A unit takes three bytes at most, so few need not be counted. The store has the same limit;
  // what a caller sends is told apart from what a file holds.
  if (units * 3 > requestLimits.keyBytes && bytesOf(read) > requestLimits.keyBytes) {
    const path = pathOf({ entity }, place);
    const [first = "", second] = Object.keys(read);
    const at = second === undefined ? pathTo(path, first) : path;
    throw new OnceflowError(
      "REQUEST_TOO_LARGE",
      `${at} has over ${requestLimits.keyBytes} bytes of UTF-8, the limit of an entity key.`,
      { path: at, limit: requestLimits.keyBytes },
    );
  }
  return read;
}

function bytesOf(entity: Readonly<Record<string, string>>): number {
  return Object.values(entity).reduce((sum, part) => sum + Buffer.byteLength(part), 0);
}

/** The encoded key of a row for an entity whose key columns the row carries. */
export function keyOf({ entity }: RequestRow, columns: readonly string[]): Buffer {
  return encodeEntityKey(columns.map((column) => entity?.[column] ?? ""));
}
