/** The OpenAPI 3.1 description of the HTTP service: every route with every answer. */
import type { Catalogue } from "../../engine/catalogue.ts";
import type { ErrorCode } from "../../engine/errors.ts";
import type { Json } from "../../engine/wire.ts";
import { describeService } from "../describe.ts";
import { bodyLimitBytes, depthLimit } from "./json-body.ts";
import { type Route, routes } from "./routes.ts";
import type { FeatureRequest } from "../request.ts";
import { requestLimits } from "../request.ts";
import {
  codesByStatus,
  problemOfCodes,
  refTo,
  type Schema,
  type Schemas,
  schemasOf,
} from "./schemas.ts";

/** Problems that any request may end in. */
const commonCodes: readonly ErrorCode[] = [
  ...(["REQUEST_INVALID", "MEDIA_TYPE_UNSUPPORTED", "HEADERS_TOO_LARGE"] as const),
  ...(["UNKNOWN_HOST", "RATE_LIMITED", "INTERNAL"] as const),
];

/** Problems of the paths that are not open to all, where callers are asked who they are. */
const accessCodes: readonly ErrorCode[] = ["UNAUTHENTICATED", "FORBIDDEN", "AUTH_UNAVAILABLE"];

/** Statuses of what Node refuses before there is a request, where they are not the registry's. */
const earlyStatuses: Readonly<Record<number, ErrorCode>> = { 408: "REQUEST_INVALID" };

/** An OpenAPI document, as plain JSON. */
export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: Schema;
  readonly paths: Readonly<Record<string, Schema>>;
  readonly components: Schema & { readonly schemas: Schemas };
  readonly [member: string]: Json;
}

/** Requests to start from, by a name for each. */
export function exampleRequests(catalogue: Catalogue): Record<string, FeatureRequest> {
  return Object.fromEntries(
    [...catalogue.services.keys()].flatMap((service) =>
      describeService(catalogue, service).examples.map((request) => [
        exampleName(request),
        request,
      ]),
    ),
  );
}

/** What an example of a service is called. */
export function exampleName({ service, entities }: FeatureRequest): string {
  return `${service}_by_${entities === undefined ? "inputs" : "entity"}`;
}

/** How the service runs, as far as callers have to know. */
export interface ServiceTerms {
  /** Whether callers need a key or token. */
  readonly asksWho?: boolean;
}

/** The document of a catalogue. */
export function describeApi(
  catalogue: Catalogue,
  { asksWho = false }: ServiceTerms = {},
): OpenApiDocument {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes)
    (paths[route.path] ??= {})[route.method.toLowerCase()] = describeRoute(route, catalogue);
  const { rows, features, mixtures } = requestLimits;
  return {
    openapi: "3.1.1",
    info: {
      title: "onceflow",
      version: "1",
      summary: "Features of entities, as models were trained on them.",
      description:
        `A body has at most ${bodyLimitBytes} bytes and ${depthLimit} levels of nesting; a request at most ` +
        `${rows} rows, ${features} features and ${mixtures} different sets of members among its rows. ` +
        "A path that takes another method answers 405 METHOD_NOT_ALLOWED with an `allow` header.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: asksWho ? [{ bearer: [] }] : [{}, { bearer: [] }],
    paths,
    components: {
      schemas: schemasOf(catalogue),
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "An API key or a token." },
      },
    },
  };
}

function describeRoute(route: Route, catalogue: Catalogue): Schema {
  const { id, path, summary, description, method } = route;
  const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string", minLength: 1 },
  }));
  return {
    operationId: id,
    summary,
    ...(description === undefined ? {} : { description }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(method === "GET" ? {} : { requestBody: requestBodyOf(catalogue) }),
    ...(isOpen(route) ? { security: [] } : {}),
    responses: responsesOf(route),
  };
}

function requestBodyOf(catalogue: Catalogue): Schema {
  const examples = Object.entries(exampleRequests(catalogue)).map(([name, value]) => [
    name,
    { value: value as Json },
  ]);
  return {
    required: true,
    content: {
      "application/json": {
        schema: refTo("FeatureRequest"),
        examples: Object.fromEntries(examples) as Schema,
      },
    },
  };
}

/** Whether it is open to all, whoever is asked who they are. */
const isOpen = ({ action }: Route): boolean => action === "open";

function responsesOf(route: Route): Schema {
  const { answers, codes } = route;
  const byStatus = codesByStatus([...commonCodes, ...(isOpen(route) ? [] : accessCodes), ...codes]);
  for (const [status, code] of Object.entries(earlyStatuses))
    byStatus.set(Number(status), [...(byStatus.get(Number(status)) ?? []), code]);
  const statuses = new Set([...Object.keys(answers).map(Number), ...byStatus.keys()]);
  return Object.fromEntries(
    [...statuses].map((status) => {
      const answer = answers[status];
      const own = byStatus.get(status) ?? [];
      const problem = { "application/problem+json": { schema: problemOfCodes(status, own) } };
      const description = [answer?.description, own.length > 0 && `${own.join(", ")}.`];
      const response = {
        description: description.filter(Boolean).join(" Or "),
        content: {
          ...(answer === undefined ? {} : { [answer.type]: { schema: answer.schema } }),
          ...(own.length === 0 ? {} : problem),
        },
      };
      return [status, response];
    }),
  );
}
