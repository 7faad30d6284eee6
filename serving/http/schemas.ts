/**
 * JSON Schemas (2020-12) of what travels over HTTP, from the constants that the code checks by.
 * docs/http.md says the same for people; real answers are held to them by a test.
 */
import type { Catalogue, Service } from "../../engine/catalogue.ts";
import { type Dtype, dtypes } from "../../engine/language/dtypes.ts";
import { type ErrorCode, errorRegistry } from "../../engine/errors.ts";
import { expected, type Json } from "../../engine/wire.ts";
import { statuses } from "../answer.ts";
import { requestLimits } from "../request.ts";

export type Schema = { readonly [keyword: string]: Json };
export type Schemas = Readonly<Record<string, Schema>>;

/** A reference to a schema of the document. */
export const refTo = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });

const text: Schema = { type: "string" };
const listOf = (items: Schema): Schema => ({ type: "array", items });
const mapOf = (values: Schema): Schema => ({ type: "object", additionalProperties: values });
const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });

/** An object that has these members and, but for the optional ones, all of them. */
function objectOf(properties: Schemas, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name));
  return { type: "object", properties, required, additionalProperties: false };
}

const safeInteger: Schema = {
  type: "integer",
  minimum: Number.MIN_SAFE_INTEGER,
  maximum: Number.MAX_SAFE_INTEGER,
};
const name: Schema = { type: "string", minLength: 1, maxLength: requestLimits.nameLength };

/** The schema that values of a dtype have, in requests and in answers. */
const valueSchemas: Readonly<Record<Dtype, { readonly title: string; readonly schema: Schema }>> = {
  bool: { title: "Bool", schema: { type: "boolean" } },
  int64: {
    title: "Int64",
    schema: { anyOf: [safeInteger, { type: "string", pattern: "^-?\\d{1,19}$" }] },
  },
  float64: {
    title: "Float64",
    schema: {
      anyOf: [{ type: "number" }, { type: "string", enum: ["NaN", "Infinity", "-Infinity", "-0"] }],
    },
  },
  string: { title: "String", schema: text },
  timestamp: {
    title: "Timestamp",
    schema: {
      anyOf: [
        { type: "string", pattern: "^\\d{4}-\\d\\d-\\d\\d([T ]\\d\\d:\\d\\d.*)?$" },
        safeInteger,
      ],
    },
  },
  list_float64: { title: "ListFloat64", schema: listOf(refTo("Float64")) },
};

const valueOf = (dtype: Dtype): Schema => refTo(valueSchemas[dtype].title);

/** Columns of a request, or values of an answer, of one row. */
const rowOf = (columns: readonly { readonly name: string; readonly dtype: Dtype }[]): Schema =>
  objectOf(Object.fromEntries(columns.map((each) => [each.name, orNull(valueOf(each.dtype))])));

/** The name of the schema of a service's features. */
const featuresOf = (service: string): string => `features.${service}`;

/** All schemas of a catalogue's document, by name. */
export function schemasOf(catalogue: Catalogue): Schemas {
  const services = [...catalogue.services.values()];
  return {
    ...Object.fromEntries(
      dtypes.map((dtype) => [
        valueSchemas[dtype].title,
        { description: `${dtype}: ${expected[dtype]}.`, ...valueSchemas[dtype].schema },
      ]),
    ),
    Value: {
      description: "A value by the dtype of its feature or column, or null.",
      anyOf: [...dtypes.map(valueOf), { type: "null" }],
    },
    Status: {
      description: "What is known of a value, from best to worst.",
      type: "string",
      enum: [...statuses],
    },
    FeatureRequest: requestSchema(services),
    ...answerSchemas(),
    ...descriptionSchemas(),
    Problem: problemSchema,
    ...Object.fromEntries(
      services.map((service) => [featuresOf(service.name), rowSchema(service)]),
    ),
  };
}

function rowSchema({ name: service, outputs }: Service): Schema {
  return {
    description: `Features of one row, as service ${service} answers them.`,
    ...rowOf(outputs.map((output) => ({ name: output.name, dtype: output.node.dtype }))),
  };
}

function requestSchema(services: readonly Service[]): Schema {
  const { rows, features, keyBytes } = requestLimits;
  const inputs = mapOf(refTo("Value"));
  const seconds: Schema = { type: "number", exclusiveMinimum: 0 };
  return {
    description: "What to answer, for which rows. Of `service` and `features` send exactly one.",
    ...objectOf(
      {
        service: {
          description: "A feature service; the answer has its features in its order.",
          type: "string",
          enum: services.map((service) => service.name),
        },
        features: {
          description: "Names of features, or of columns as <view>.<column>.",
          ...listOf(name),
          minItems: 1,
          maxItems: features,
          uniqueItems: true,
        },
        entities: {
          description: `Key columns, one object for each row; a key has at most ${keyBytes} bytes of UTF-8.`,
          ...listOf({
            type: "object",
            minProperties: 1,
            additionalProperties: { anyOf: [{ ...text, maxLength: keyBytes }, safeInteger] },
          }),
          maxItems: rows,
        },
        inputs: {
          description: "Raw columns by name: one object for all rows, or a list with one for each.",
          anyOf: [inputs, { ...listOf(inputs), maxItems: rows }],
        },
        snapshots: {
          description: "Ids of aggregate snapshots by view; the latest where none is named.",
          ...mapOf(name),
        },
        fingerprint: {
          description: "What the answer's fingerprint must be, so that another build refuses.",
          ...name,
        },
        max_age: {
          description: "Seconds, for all views or by view: an older stored row counts as outdated.",
          anyOf: [seconds, mapOf(seconds)],
        },
        form: {
          description: "An object for each row, or lists by feature; rows by default.",
          type: "string",
          enum: ["rows", "columns"],
        },
      },
      ["service", "features", "entities", "inputs", "snapshots", "fingerprint", "max_age", "form"],
    ),
    oneOf: [{ required: ["service"] }, { required: ["features"] }],
  };
}

function answerSchemas(): Schemas {
  const head = {
    service: { ...text, description: "Present where the request named a service." },
    fingerprint: { ...text, description: "Hash of all that the outputs mean." },
    snapshot: {
      ...mapOf(text),
      description: "The one snapshot of each view whose aggregates are used.",
    },
    as_of: {
      ...mapOf(orNull(text)),
      description:
        "The end up to which each view is published; null where nothing of it is published.",
    },
    uncovered: {
      ...listOf(text),
      description: "Views of which an interval before that end is missing.",
    },
  };
  const entity = mapOf(text);
  const time: Schema = {
    description:
      "Event time of the stored row that the value rests on; null where it rests on none.",
    type: ["string", "null"],
  };
  const age: Schema = {
    description: "Seconds between the event time and the answer.",
    type: ["number", "null"],
    minimum: 0,
  };
  const lists = (items: Schema) => listOf(listOf(items));
  const cellOf = (what: Schemas) =>
    listOf(objectOf({ row: { type: "integer", minimum: 0 }, feature: text, ...what }));
  return {
    FeatureRow: {
      description: "The answer for one row; all records have the features in the order asked.",
      ...objectOf(
        {
          entity: { ...entity, description: "The key columns of the row, as text." },
          features: mapOf(refTo("Value")),
          statuses: mapOf(refTo("Status")),
          event_times: mapOf(time),
          ages: mapOf(age),
          violations: {
            ...mapOf(listOf(text)),
            description: "Expectations that values do not satisfy, by feature.",
          },
          errors: { ...mapOf(text), description: "Why values have the status ERROR, by feature." },
        },
        ["entity", "violations", "errors"],
      ),
    },
    FeatureAnswer: {
      description: "The answer in rows, in the order of the request.",
      ...objectOf({ ...head, results: listOf(refTo("FeatureRow")) }, ["service", "uncovered"]),
    },
    ColumnAnswer: {
      description:
        "The answer in columns: one list for each feature, with one element for each row.",
      ...objectOf(
        {
          ...head,
          entities: listOf(orNull(entity)),
          features: listOf(text),
          values: lists(refTo("Value")),
          statuses: lists(refTo("Status")),
          event_times: lists(time),
          ages: lists(age),
          violations: cellOf({ expectations: listOf(text) }),
          errors: cellOf({ message: text }),
        },
        ["service", "uncovered", "violations", "errors"],
      ),
    },
  };
}

function descriptionSchemas(): Schemas {
  const dtype: Schema = { type: "string", enum: [...dtypes] };
  const description = orNull(text);
  const notes = {
    description,
    tags: mapOf(text),
    expectations: listOf(text),
    default: refTo("Value"),
  };
  const service = { name: text, description, fingerprint: text };
  const services = listOf(objectOf({ ...service, features: listOf(text) }));
  const view = {
    name: text,
    description,
    source: text,
    entity: text,
    entity_keys: listOf(text),
    event_time: orNull(text),
    ttl_seconds: orNull({ type: "number" }),
    fingerprint: text,
    aggregates_fingerprint: text,
    stores: listOf(objectOf({ name: text, dtype })),
  };
  const feature = {
    name: text,
    view: text,
    module: text,
    dtype,
    fingerprint: text,
    ...notes,
    kind: { enum: ["aggregate", "stored", "computed", null] },
  };
  const input = {
    name: text,
    id: text,
    dtype,
    nullable: { type: "boolean" },
    features: listOf(text),
    from: {
      description:
        "Where it comes from in a row that names its entity. request: it must be sent; store: " +
        "the store has it, or what is computed of it; entity: it is a key column; default: " +
        "neither, and defaults stand for the features that need it.",
      enum: ["request", "store", "entity", "default"],
    },
  };
  const readiness = {
    status: { enum: ["ready", "unavailable"] },
    reason: { ...text, description: "Why it is not ready." },
    views: listOf(
      objectOf({
        view: text,
        fingerprint: text,
        materialized: { type: "boolean" },
        filled: { type: "boolean" },
        snapshot: orNull(text),
      }),
    ),
  };
  return {
    ServiceList: objectOf({ services }),
    ServiceDescription: objectOf({
      ...service,
      features: listOf(objectOf({ name: text, view: text, dtype, ...notes })),
      entity_keys: listOf(text),
      inputs: listOf(objectOf(input)),
      examples: listOf(refTo("FeatureRequest")),
    }),
    CatalogueDescription: objectOf({
      views: listOf(objectOf(view)),
      features: listOf(objectOf(feature)),
      services,
    }),
    Liveness: objectOf({ status: { const: "alive" } }),
    Readiness: objectOf(readiness, ["reason", "views"]),
  };
}

const problemSchema: Schema = {
  description: "Problem details (RFC 9457); details of the error are further members.",
  type: "object",
  properties: {
    type: { type: "string", pattern: "^urn:onceflow:error:[A-Z_]+$" },
    title: text,
    status: { type: "integer" },
    code: { ...text, description: "Stable, see docs/errors.md." },
    detail: text,
    request_id: { ...text, description: "Names the request in the log, as x-request-id does." },
  },
  required: ["type", "title", "status", "code", "detail"],
};

/** The schema of a problem with one of these codes and this HTTP status. */
export function problemOfCodes(status: number, codes: readonly ErrorCode[]): Schema {
  return {
    allOf: [refTo("Problem")],
    properties: { status: { const: status }, code: { enum: [...codes] } },
  };
}

/** Codes by the HTTP status that the registry gives them. */
export function codesByStatus(codes: readonly ErrorCode[]): Map<number, ErrorCode[]> {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    const { http } = errorRegistry[code];
    byStatus.set(http, [...(byStatus.get(http) ?? []), code]);
  }
  return new Map([...byStatus].sort(([a], [b]) => a - b));
}
