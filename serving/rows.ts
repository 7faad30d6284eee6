/** Reads the rows of a request by the definitions: which columns they carry, and their values. */
import type { Value } from "../engine/dtypes.ts";
import { didYouMean, OnceflowError } from "../engine/errors.ts";
import type { RequiredInput } from "../engine/planner.ts";
import { fromJson, keyFromJson } from "../engine/wire.ts";
import { encodeEntityKey } from "../store/entity-key.ts";
import type { Binding, Planned } from "./planned.ts";
import type { Members, ParsedRequest, RawRow } from "./request.ts";
import { atPath, invalid, pathTo, requestLimits } from "./request.ts";

/** One row of a request, its values read. */
export interface RequestRow {
  /** Its place in the request. */
  readonly place: number;
  /** Its JSON path. */
  readonly path: string;
  /** Key columns by name; undefined where the row named no entity. */
  readonly entity: Readonly<Record<string, string>> | undefined;
  /** Values of the group's inputs. */
  readonly values: readonly Value[];
}

/** Rows that carry the same inputs and keys, so one binding answers all of them. */
export interface RowGroup {
  readonly binding: Binding;
  /** The inputs that some output needs, in the order of each row's values. */
  readonly inputs: readonly RequiredInput[];
  readonly rows: RequestRow[];
}

/** What rows with the same members have in common. */
interface Shape {
  readonly group: RowGroup;
  /** The member of the row's inputs that holds each of the group's inputs. */
  readonly names: readonly string[];
}

/**
 * Groups rows by what they carry.
 *
 * @throws UNKNOWN_INPUT, VALUE_INVALID, REQUEST_INVALID, REQUEST_TOO_LARGE, MISSING_INPUT
 */
export function groupRows(planned: Planned, request: ParsedRequest): RowGroup[] {
  const { rows, sharesInputs } = request;
  const shapes = new Map<string, Shape>();
  let shared: readonly Value[] | undefined;
  rows.forEach((row, place) => {
    // An entity is what the caller looks for; without one, the inputs are the row.
    const path = row.entity !== undefined ? `entities[${place}]` : `inputs[${place}]`;
    const inputsPath = sharesInputs ? "inputs" : `inputs[${place}]`;
    const carried = JSON.stringify([
      row.entity && Object.keys(row.entity),
      row.inputs && Object.keys(row.inputs),
    ]);
    let shape = shapes.get(carried);
    if (shape === undefined) {
      if (shapes.size === requestLimits.mixtures)
        throw new OnceflowError(
          "REQUEST_TOO_LARGE",
          `${path} carries yet another set of members; the rows of one request may carry ${requestLimits.mixtures} different sets. Split it.`,
          { path, limit: requestLimits.mixtures },
        );
      shape = shapeOf(planned, row, inputsPath, rows.length > 1 ? path : undefined);
      shapes.set(carried, shape);
    }
    const { group, names } = shape;
    const read = () => readValues(group.inputs, names, row.inputs, inputsPath);
    const values = sharesInputs ? (shared ??= read()) : read();
    group.rows.push({ place, path, entity: row.entity && readEntity(row.entity, path), values });
  });
  return [...shapes.values()].map((shape) => shape.group);
}

function shapeOf(
  planned: Planned,
  row: RawRow,
  inputsPath: string,
  rowPath: string | undefined,
): Shape {
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
    const binding = planned.bind(new Set(inputs.map(({ id }) => id)), new Set(keys));
    return { group: { binding, inputs, rows: [] }, names: [...needed.values()] };
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
  inputs: readonly RequiredInput[],
  names: readonly string[],
  members: Members | undefined,
  path: string,
): readonly Value[] {
  return inputs.map(({ dtype, nullable, id }, i) => {
    const name = names[i] ?? "";
    const json = members?.[name];
    const value = fromJson(dtype, json, pathTo(path, name));
    if (value === null && !nullable)
      throw new OnceflowError(
        "VALUE_INVALID",
        `${pathTo(path, name)} is null, and column ${id} is declared without nulls; send ${dtype === "int64" ? "an" : "a"} ${dtype}.`,
        { where: pathTo(path, name), dtype },
      );
    return value;
  });
}

function readEntity(entity: Members, path: string): Readonly<Record<string, string>> {
  const read: Record<string, string> = {};
  for (const name of Object.keys(entity))
    read[name] = keyFromJson(entity[name], pathTo(path, name));
  const parts = Object.values(read);
  // The store has the same limit; what a caller sends is told apart from what a file holds.
  if (parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0) > requestLimits.keyBytes) {
    const at = parts.length === 1 ? pathTo(path, Object.keys(read)[0] ?? "") : path;
    throw new OnceflowError(
      "REQUEST_TOO_LARGE",
      `${at} has over ${requestLimits.keyBytes} bytes of UTF-8, the limit of an entity key.`,
      { path: at, limit: requestLimits.keyBytes },
    );
  }
  return read;
}

/** The encoded key of a row for an entity whose key columns the row carries. */
export function keyOf({ entity }: RequestRow, columns: readonly string[]): Buffer {
  return encodeEntityKey(columns.map((column) => entity?.[column] ?? ""));
}
