/** Reads the rows of a request by the definitions: which columns they carry, and their values. */
import type { Value } from "../engine/language/dtypes.ts";
import { OnceflowError } from "../engine/errors.ts";
import { fromJson, keyFromJson, readJson, readKey } from "../engine/wire.ts";
import { encodeEntityKey } from "../store/rows/entity-key.ts";
import type { Planned } from "./planned.ts";
import type { Members, ParsedRequest, RawRow } from "./request.ts";
import { pathTo, requestLimits } from "./request.ts";
import { hasShape, type RowShape } from "./shapes.ts";

/** One row of a request, its values read. */
export interface RequestRow {
  /** Its place in the request. */
  readonly place: number;
  /** Key columns by name; undefined where the row named no entity. */
  readonly entity: Readonly<Record<string, string>> | undefined;
  /** Values of the group's inputs. */
  readonly values: readonly Value[];
}

/** Rows that carry the same members, so that the same parts answer all of them. */
export interface RowGroup {
  readonly shape: RowShape;
  readonly rows: RequestRow[];
}

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
      const shape = planned.shapeOf(row, () => ({
        inputs: inputsPath(),
        row: rows.length > 1 ? path : undefined,
      }));
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
