/**
 * The form of a feature request, the same over HTTP and as a Temporal payload.
 *
 * What is checked here needs no catalogue: members, kinds and limits. Each error names the JSON
 * path of what is wrong, such as `entities[3].id`.
 */
import { didYouMean, OnceflowError } from "../engine/errors.ts";
import { RoundedNumber } from "../engine/json-text.ts";
import type { Asked } from "../engine/planner.ts";
import type { Json } from "../engine/wire.ts";
import type { AnswerForm } from "./answer-form.ts";

/** What a caller sends: one of `service` and `features`, and the rows to answer. */
export interface FeatureRequest {
  readonly service?: string;
  /** Features by name, or columns as `<view>.<column>`. */
  readonly features?: readonly string[];
  /** Key columns by name, one object for each row. */
  readonly entities?: readonly Readonly<Record<string, string | number>>[];
  /** Raw columns by name (`age`, or `absences.age`): one object for all rows, or one for each. */
  readonly inputs?: Readonly<Record<string, Json>> | readonly Readonly<Record<string, Json>>[];
  /** Aggregate snapshots to answer from, by view; the latest where none is named. */
  readonly snapshots?: Readonly<Record<string, string>>;
  /** What the answer's fingerprint must be, so that another definition is refused. */
  readonly fingerprint?: string;
  /**
   * Seconds, for all views or by view: a stored row that is older counts as outdated, also within
   * the view's TTL.
   */
  readonly max_age?: number | Readonly<Record<string, number>>;
  /** An object for each row, or lists by feature; rows by default. */
  readonly form?: "rows";
}

/** A request for an answer in columns. */
export interface ColumnRequest extends Omit<FeatureRequest, "form"> {
  readonly form: "columns";
}

/** What one request may ask for at most. */
export const requestLimits = {
  rows: 1000,
  features: 500,
  /** UTF-8 bytes of an entity key. */
  keyBytes: 512,
  /** UTF-16 code units of a name. */
  nameLength: 256,
  /** Different sets of inputs and keys among the rows: each is planned apart. */
  mixtures: 32,
} as const;

/** A JSON object whose members have not been looked at. */
export type Members = Readonly<Record<string, unknown>>;

/** One row as it was sent: its key columns and raw columns, not yet read. */
export interface RawRow {
  readonly entity: Members | undefined;
  readonly inputs: Members | undefined;
}

/** A request whose form is right. */
export interface ParsedRequest {
  readonly asked: Asked;
  readonly rows: readonly RawRow[];
  /** Whether one `inputs` object stands for all rows. */
  readonly sharesInputs: boolean;
  /** Snapshot id by view. */
  readonly pins: ReadonlyMap<string, string>;
  readonly fingerprint: string | undefined;
  readonly maxAge: MaxAge;
  readonly form: AnswerForm;
}

/** Seconds for all views, and for single ones. */
export interface MaxAge {
  readonly all: number;
  readonly byView: ReadonlyMap<string, number>;
}

const members: readonly string[] = [
  "service",
  "features",
  "entities",
  "inputs",
  "snapshots",
  "fingerprint",
  "max_age",
  "form",
];
const anyAge: MaxAge = { all: Infinity, byView: new Map() };

/**
 * Checks the form of a request.
 *
 * @throws REQUEST_INVALID, REQUEST_TOO_LARGE with the JSON path
 */
export function parseRequest(json: unknown): ParsedRequest {
  const request = objectAt(json, "the request");
  for (const name of Object.keys(request))
    if (!members.includes(name))
      throw invalid(
        cut(name),
        `"${cut(name)}" is no member of a request.${didYouMean(cut(name), members)} There are: ${members.join(", ")}.`,
      );
  const { entities, inputs } = request;
  const parsedEntities = entities === undefined ? undefined : rowsAt(entities, "entities");
  const parsedInputs = Array.isArray(inputs) ? rowsAt(inputs, "inputs") : inputs;
  return {
    asked: askedOf(request),
    ...joinRows(parsedEntities, parsedInputs),
    pins: pinsOf(request["snapshots"]),
    fingerprint:
      request["fingerprint"] === undefined
        ? undefined
        : nameAt(request["fingerprint"], "fingerprint"),
    maxAge: maxAgeOf(request["max_age"]),
    form: formOf(request["form"]),
  };
}

function askedOf({ service, features }: Members): Asked {
  if ((service === undefined) === (features === undefined))
    throw invalid(
      "service",
      `the request ${service === undefined ? "lacks both" : "has both"} "service" and "features"; send exactly one of them.`,
    );
  if (service !== undefined) return { service: nameAt(service, "service") };
  if (!Array.isArray(features) || features.length === 0)
    throw invalid("features", `features is ${show(features)}; expected a list of names.`);
  requireAtMost("features", features.length, requestLimits.features, "features");
  const places = new Map<string, number>();
  features.forEach((feature: unknown, i) => {
    const name = nameAt(feature, `features[${i}]`);
    const first = places.get(name);
    if (first !== undefined)
      throw invalid(
        `features[${i}]`,
        `features[${i}] repeats features[${first}], "${name}"; ask for each once.`,
      );
    places.set(name, i);
  });
  return { features: [...places.keys()] };
}

function joinRows(
  entities: readonly Members[] | undefined,
  inputs: unknown,
): Pick<ParsedRequest, "rows" | "sharesInputs"> {
  if (Array.isArray(inputs)) {
    const each = inputs as readonly Members[];
    if (entities !== undefined && entities.length !== each.length)
      throw invalid(
        "inputs",
        `inputs has ${each.length} elements and entities ${entities.length}; send one element for each entity, or one object for all.`,
      );
    return {
      rows: each.map((row, i) => ({ entity: entities?.[i], inputs: row })),
      sharesInputs: false,
    };
  }
  const shared = inputs === undefined ? undefined : objectAt(inputs, "inputs");
  const rows = (entities ?? [undefined]).map((entity) => ({ entity, inputs: shared }));
  return { rows, sharesInputs: shared !== undefined };
}

function rowsAt(json: unknown, path: string): readonly Members[] {
  if (!Array.isArray(json))
    throw invalid(path, `${path} is ${show(json)}; expected a list of objects.`);
  requireAtMost(path, json.length, requestLimits.rows, "rows");
  return json.map((row: unknown, i) => objectAt(row, `${path}[${i}]`));
}

function pinsOf(json: unknown): ReadonlyMap<string, string> {
  if (json === undefined) return new Map();
  return new Map(
    Object.entries(objectAt(json, "snapshots")).map(([view, id]) => [
      view,
      nameAt(id, pathTo("snapshots", view)),
    ]),
  );
}

function maxAgeOf(json: unknown): MaxAge {
  if (json === undefined) return anyAge;
  if (typeof json !== "object" || json === null || json instanceof RoundedNumber)
    return { ...anyAge, all: ageAt(json, "max_age") };
  return {
    all: Infinity,
    byView: new Map(
      Object.entries(objectAt(json, "max_age")).map(([view, age]) => [
        view,
        ageAt(age, pathTo("max_age", view)),
      ]),
    ),
  };
}

function ageAt(json: unknown, path: string): number {
  if (json instanceof RoundedNumber) return ageAt(json.value, path);
  if (typeof json === "number" && Number.isFinite(json) && json > 0) return json;
  throw invalid(path, `${path} is ${show(json)}; expected a number of seconds above 0.`);
}

function formOf(json: unknown): AnswerForm {
  if (json === undefined || json === "rows" || json === "columns") return json ?? "rows";
  throw invalid("form", `form is ${show(json)}; expected "rows" or "columns".`);
}

function objectAt(json: unknown, path: string): Members {
  const isObject = typeof json === "object" && json !== null && !Array.isArray(json);
  if (isObject && !(json instanceof RoundedNumber)) return json as Members;
  throw invalid(path, `${path} is ${show(json)}; expected an object.`);
}

function nameAt(json: unknown, path: string): string {
  if (typeof json === "string" && json !== "" && json.length <= requestLimits.nameLength)
    return json;
  throw invalid(
    path,
    `${path} is ${show(json)}; expected a name of 1 to ${requestLimits.nameLength} characters.`,
  );
}

function requireAtMost(path: string, count: number, limit: number, what: string): void {
  if (count > limit)
    throw new OnceflowError(
      "REQUEST_TOO_LARGE",
      `${path} has ${count} elements; one request may ask for ${limit} ${what}. Split it.`,
      { path, count, limit },
    );
}

/** The JSON path of a member: `inputs.age`, or `inputs["an odd name"]`. */
export function pathTo(path: string, member: string): string {
  return /^[A-Za-z_]\w{0,127}$/.test(member)
    ? `${path}.${member}`
    : `${path}[${JSON.stringify(cut(member))}]`;
}

/** An error about the form of a request. */
export function invalid(path: string, message: string): OnceflowError {
  return new OnceflowError("REQUEST_INVALID", message, { path });
}

/** The same error, its message and details led by the path of what it is about. */
export function atPath(path: string, error: unknown): unknown {
  if (!(error instanceof OnceflowError)) return error;
  return new OnceflowError(
    error.code,
    `${path}: ${error.message}`,
    { path, ...error.details },
    error.cause,
  );
}

/** A value in a message, cut short. */
function show(json: unknown): string {
  if (typeof json === "boolean") return `${json}`;
  if (json === undefined) return "missing";
  if (json instanceof RoundedNumber) return cut(json.text);
  if (Array.isArray(json)) return json.length === 0 ? "an empty list" : "a list";
  if (typeof json === "object" && json !== null) return "an object";
  if (typeof json === "string") return JSON.stringify(cut(json));
  return typeof json === "number" || json === null ? `${json}` : typeof json;
}

function cut(text: string): string {
  return text.length > 64 ? `${text.slice(0, 64)}…` : text;
}
