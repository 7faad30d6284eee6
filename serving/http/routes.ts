/**
 * Every route of the HTTP service, once: the application adds them with their handlers, the guards
 * ask what each needs, and the OpenAPI document describes them.
 */
import type { ErrorCode } from "../../engine/errors.ts";
import type { Action } from "../auth/scopes.ts";
import { refTo, type Schema } from "./schemas.ts";

/** An answer that is no problem document. */
interface Answer {
  readonly description: string;
  readonly type: "application/json" | "text/html" | "text/plain";
  readonly schema: Schema;
}

/** A route, what it needs, and all that it may answer. */
export interface Route {
  readonly method: "GET" | "POST";
  /** As OpenAPI writes it: `/v1/services/{name}`. */
  readonly path: string;
  /** By which its handler is found. */
  readonly id: string;
  /** What a caller must be allowed to do. */
  readonly action: Action;
  readonly summary: string;
  readonly description?: string;
  readonly answers: Readonly<Record<number, Answer>>;
  /** Problems beside those that all paths have. */
  readonly codes: readonly ErrorCode[];
}

const json = (name: string, description: string): Answer => ({
  description,
  type: "application/json",
  schema: refTo(name),
});

/** Every route but those that refuse a method. */
const table = [
  {
    method: "POST",
    path: "/v1/features",
    id: "getFeatures",
    action: "read",
    summary: "The features of a request",
    description:
      "By what the store holds of an entity, by what the request holds, or both. A value that is missing or stale is data with a status, no error.",
    answers: {
      200: {
        description: "One row for each row of the request, or the same in columns.",
        type: "application/json",
        schema: { oneOf: [refTo("FeatureAnswer"), refTo("ColumnAnswer")] },
      },
    },
    codes: [
      ...(["VALUE_INVALID", "UNKNOWN_INPUT", "MISSING_INPUT"] as const),
      ...(["UNKNOWN_SERVICE", "UNKNOWN_FEATURE", "UNKNOWN_VIEW", "UNKNOWN_SNAPSHOT"] as const),
      ...(["FINGERPRINT_MISMATCH", "REQUEST_TOO_LARGE"] as const),
      ...(["VALUE_OUTDATED", "NO_SNAPSHOT", "STORE_UNAVAILABLE", "STORE_LOST"] as const),
      ...(["OVERLOADED", "DEADLINE_EXCEEDED"] as const),
    ],
  },
  {
    method: "GET",
    path: "/v1/services",
    id: "listServices",
    action: "describe",
    summary: "Every feature service",
    answers: { 200: json("ServiceList", "Services with their features, in order.") },
    codes: [],
  },
  {
    method: "GET",
    path: "/v1/services/{name}",
    id: "describeService",
    action: "describe",
    summary: "A service: outputs, inputs, entity keys, requests to start from",
    answers: { 200: json("ServiceDescription", "The service.") },
    // A name that is longer than a path may have is an unknown route.
    codes: ["UNKNOWN_SERVICE", "UNKNOWN_ROUTE"],
  },
  {
    method: "GET",
    path: "/v1/catalogue",
    id: "describeCatalogue",
    action: "describe",
    summary: "Every view, feature and service, with kinds, tags and fingerprints",
    answers: { 200: json("CatalogueDescription", "The catalogue of this build.") },
    codes: [],
  },
  {
    method: "GET",
    path: "/openapi.json",
    id: "getOpenApi",
    action: "describe",
    summary: "This description",
    answers: {
      200: {
        description: "An OpenAPI 3.1 document.",
        type: "application/json",
        schema: { type: "object", required: ["openapi", "info", "paths", "components"] },
      },
    },
    codes: [],
  },
  {
    method: "GET",
    path: "/docs",
    id: "getDocs",
    action: "describe",
    summary: "This description as a page",
    answers: {
      200: {
        description: "A page that needs no script and loads nothing.",
        type: "text/html",
        schema: { type: "string" },
      },
    },
    codes: [],
  },
  {
    method: "GET",
    path: "/healthz",
    id: "getLiveness",
    action: "open",
    summary: "Whether the process is alive",
    answers: { 200: json("Liveness", "It is.") },
    codes: [],
  },
  {
    method: "GET",
    path: "/readyz",
    id: "getReadiness",
    action: "open",
    summary: "Whether Redis answers and what is current was read",
    answers: {
      200: json("Readiness", "Ready, with what the store holds of each view."),
      503: json("Readiness", "Not ready, with the reason."),
    },
    codes: [],
  },
] as const satisfies readonly Route[];

export type RouteId = (typeof table)[number]["id"];

export const routes: readonly (Route & { readonly id: RouteId })[] = table;

/** The path of a route as Fastify writes it. */
export const urlOf = ({ path }: Pick<Route, "path">): string =>
  path.replaceAll(/\{(\w+)\}/g, ":$1");
