/** A feature request from options, for `get` and `explain`. */
import { readFile } from "node:fs/promises";
import { type Command, Option } from "commander";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { parseJson } from "../engine/json-text.ts";
import type { Asked } from "../engine/planner.ts";
import type { Json } from "../engine/wire.ts";
import type { FeatureRequest } from "../serving/request.ts";
import { type JsonOption, usageError } from "./context.ts";
import { clean } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/** Options that say what is asked. */
export interface AskedOptions extends JsonOption {
  readonly service?: string;
  readonly features?: string;
}

/** Options that say for which rows. */
export interface RowOptions {
  readonly entity?: readonly string[];
  readonly input?: readonly string[];
  readonly inputsFile?: string;
  readonly snapshot?: readonly string[];
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

/** Adds `--service` and `--features`. */
export function addAskedOptions(command: Command): Command {
  return command
    .addOption(new Option("--service <name>", "feature service").conflicts("features"))
    .option("--features <names>", "features, or columns as <view>.<column>, between commas");
}

/** Adds `--entity`, `--input`, `--inputs-file` and `--snapshot`. */
export function addRowOptions(command: Command): Command {
  return command
    .option(
      "--entity <key=value>",
      "entity of one row; again for more rows; a key of several columns has commas between them",
      collect,
    )
    .addOption(
      new Option(
        "--input <column=value>",
        "raw value for all rows, as JSON where it can be read so, else as text; again for more",
      )
        .argParser(collect)
        .conflicts("inputsFile"),
    )
    .option("--inputs-file <path>", "NDJSON, one object of raw values for each row; - reads stdin")
    .option(
      "--snapshot <view=id>",
      "aggregate snapshot to answer from (default: the latest); again for more views",
      collect,
    );
}

/** What is asked. @throws a usage error where neither or nothing is named */
export function askedOf({ service, features }: AskedOptions): Asked {
  if (service !== undefined) return { service };
  const names = (features ?? "").split(",").map((name) => name.trim());
  if (features === undefined) throw usageError("give --service or --features.");
  if (names.includes("")) throw usageError(`--features is "${features}"; it has an empty name.`);
  return { features: names };
}

/** The request of the options. @throws REQUEST_INVALID where the file of inputs cannot be read */
export async function requestOf(
  options: AskedOptions & RowOptions,
  terminal: Terminal,
): Promise<FeatureRequest> {
  const { entity, input, inputsFile, snapshot } = options;
  const inputs =
    inputsFile !== undefined
      ? await readRows(inputsFile, terminal)
      : input === undefined
        ? undefined
        : recordOf("--input", input, parseValue);
  return {
    ...askedOf(options),
    ...(entity === undefined ? {} : { entities: entity.map(parseEntity) }),
    ...(inputs === undefined ? {} : { inputs }),
    ...(snapshot === undefined ? {} : { snapshots: recordOf("--snapshot", snapshot, (id) => id) }),
  };
}

/** `id=11`, or `store=3,sku=a,b` for several columns: a comma before `name=` parts them. */
export function parseEntity(text: string): Readonly<Record<string, string>> {
  // Values stay text: an id such as 0011 is no number.
  return recordOf("--entity", text.split(/,(?=[A-Za-z_]\w*=)/), (value) => value);
}

/**
 * A value as JSON where that is exact, else as text: a number that JSON would round or that has
 * no JSON form travels as text, which the dtype of the column then reads.
 */
export function parseValue(text: string): Json {
  try {
    const value = parseJson(text) as Json;
    if (typeof value !== "number") return value;
    const isExact = Number.isInteger(value)
      ? Number.isSafeInteger(value) && !Object.is(value, -0)
      : Number.isFinite(value);
    return isExact ? value : Object.is(value, -0) ? "-0" : text;
  } catch {
    return text;
  }
}

function recordOf<T>(
  option: string,
  pairs: readonly string[],
  parse: (value: string) => T,
): Readonly<Record<string, T>> {
  const record = new Map<string, T>();
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) throw usageError(`${option} is "${clean(pair)}"; write name=value, such as id=11.`);
    const name = pair.slice(0, at);
    if (record.has(name)) throw usageError(`${option} names "${clean(name)}" twice.`);
    record.set(name, parse(pair.slice(at + 1)));
  }
  return Object.fromEntries(record);
}

async function readRows(
  path: string,
  terminal: Terminal,
): Promise<readonly Readonly<Record<string, Json>>[]> {
  const where = path === "-" ? "standard input" : path;
  let text: string;
  try {
    text = path === "-" ? await terminal.readInput() : await readFile(path, "utf8");
  } catch (error) {
    throw new OnceflowError(
      "REQUEST_INVALID",
      `--inputs-file ${where} cannot be read: ${messageOf(error)}.`,
    );
  }
  const rows = text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    try {
      return [parseJson(line) as Readonly<Record<string, Json>>];
    } catch (error) {
      throw new OnceflowError(
        "REQUEST_INVALID",
        `line ${i + 1} of ${where} is no JSON: ${messageOf(error)}. Write one object a line.`,
        { line: i + 1 },
      );
    }
  });
  if (rows.length === 0)
    throw new OnceflowError("REQUEST_INVALID", `${where} has no row: write one object a line.`);
  return rows;
}
