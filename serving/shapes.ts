/**
 * Shapes of rows: what is settled once for all rows that carry the same members in the same order,
 * so that nothing of a row but its values is looked at.
 */
import { didYouMean } from "../engine/errors.ts";
import type { RequestRead } from "../engine/plan-parts.ts";
import type { Plan } from "../engine/planner.ts";
import type { RequiredInput } from "../engine/resolve.ts";
import type { BindParts, Part } from "./ready-parts.ts";
import type { Members, RawRow } from "./request.ts";
import { atPath, invalid, pathTo, requestLimits } from "./request.ts";

/** What is settled for rows with the same members. */
export interface RowShape {
  /** Names of the key columns and of the inputs that a row carries; undefined without any. */
  readonly keys: readonly string[] | undefined;
  readonly carried: readonly string[] | undefined;
  readonly parts: readonly ShapedPart[];
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

/** Where a row lies in its request, for messages. */
export interface RowPaths {
  readonly inputs: string;
  /** Undefined where it is the only row. */
  readonly row: string | undefined;
}

/**
 * Gives the shape of a row.
 *
 * @throws UNKNOWN_INPUT, REQUEST_INVALID, MISSING_INPUT
 */
export type FindShape = (row: RawRow, paths: () => RowPaths) => RowShape;

/** Shapes that are kept for each plan; the oldest gives way. */
const shapesLimit = 64;

/** Makes the function that settles the shapes of a plan, and keeps them. */
export function createShapes(plan: Plan, bind: BindParts): FindShape {
  /** The newest first. */
  const kept: RowShape[] = [];
  return (row, paths) => {
    let shape = kept.find((each) => hasShape(row, each));
    if (shape === undefined) {
      shape = settle(plan, bind, row, paths());
      kept.unshift(shape);
      kept.length = Math.min(kept.length, shapesLimit);
    }
    return shape;
  };
}

/** Whether a row has these members, in this order. */
export function hasShape({ entity, inputs }: RawRow, { keys, carried }: RowShape): boolean {
  return hasMembers(entity, keys) && hasMembers(inputs, carried);
}

function hasMembers(members: Members | undefined, names: readonly string[] | undefined): boolean {
  if (members === undefined || names === undefined) return members === names;
  const own = Object.keys(members);
  return own.length === names.length && own.every((name, i) => name === names[i]);
}

function settle(plan: Plan, bind: BindParts, row: RawRow, paths: RowPaths): RowShape {
  const keys = Object.keys(row.entity ?? {});
  if (row.entity !== undefined) requireKeys(keys, plan.entityKeys, paths.row ?? "entities[0]");
  const needed = new Map<RequiredInput, string>();
  for (const name of Object.keys(row.inputs ?? {})) {
    const path = pathTo(paths.inputs, name);
    const input = inputNamed(plan, name, path);
    if (input === undefined) continue;
    const twin = needed.get(input);
    if (twin !== undefined)
      throw invalid(
        path,
        `${path} and ${pathTo(paths.inputs, twin)} are both ${input.id}; send one.`,
      );
    needed.set(input, name);
  }
  const inputs = [...needed.keys()];
  try {
    const parts = bind(new Set(inputs.map(({ id }) => id)), new Set(keys));
    const placeOf = ({ input }: RequestRead) => inputs.findIndex(({ id }) => id === input.id);
    return {
      keys: row.entity && keys,
      carried: row.inputs && Object.keys(row.inputs),
      parts: parts.map((part) => ({ ...part, values: part.request.map(placeOf) })),
      inputs,
      names: [...needed.values()],
    };
  } catch (error) {
    throw paths.row === undefined ? error : atPath(paths.row, error);
  }
}

function inputNamed(plan: Plan, name: string, path: string): RequiredInput | undefined {
  if (name.length > requestLimits.nameLength)
    throw invalid(path, `${path} has a name of over ${requestLimits.nameLength} characters.`);
  try {
    return plan.inputNamed(name);
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
