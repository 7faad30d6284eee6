/**
 * Scopes: what a caller may do. The whole language:
 *
 *   admin                everything
 *   describe             the catalogue, the services, the OpenAPI document
 *   read:*               every feature
 *   read:service:<name>  the features of one service, asked for by the service's name
 *   read:view:<name>     features, columns and services whose values all come from views so named
 *
 * Scopes add up, and nothing takes away. What a request may name beside these (views, in pins) is
 * limited to the views that it reads anyway.
 */
import { type Catalogue, columnNamed } from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { parseRequest } from "../request.ts";

/** What a route needs; `open` needs nothing. */
export type Action = "open" | "read" | "describe" | "admin";

/** What scopes add up to. */
export interface Grants {
  readonly actions: ReadonlySet<Action>;
  /** Whether every feature may be read. */
  readonly readsAll: boolean;
  readonly services: ReadonlySet<string>;
  readonly views: ReadonlySet<string>;
}

const plain = ["admin", "describe", "read:*"] as const;
const named = /^read:(service|view):(.+)$/;

/** The forms that a scope may have, for messages. */
export const scopeForms = [...plain, "read:service:<name>", "read:view:<name>"].join(", ");

/** What a scope names; undefined for text that is no scope. */
export function parseScope(
  text: string,
): { readonly kind: "plain" | "service" | "view"; readonly name: string } | undefined {
  if ((plain as readonly string[]).includes(text)) return { kind: "plain", name: text };
  const [, kind, name] = named.exec(text) ?? [];
  return kind === undefined || name === undefined
    ? undefined
    : { kind: kind as "service" | "view", name };
}

/** What scopes allow; text that is no scope allows nothing, as tokens have other scopes too. */
export function grantsOf(scopes: readonly string[]): Grants {
  const actions = new Set<Action>(["open"]);
  const services = new Set<string>();
  const views = new Set<string>();
  for (const scope of scopes.map(parseScope)) {
    if (scope === undefined) continue;
    const { kind, name } = scope;
    if (kind === "service") services.add(name);
    if (kind === "view") views.add(name);
    if (kind !== "plain" || name === "read:*") actions.add("read");
    else if (name === "admin")
      for (const action of ["read", "describe", "admin"] as const) actions.add(action);
    else actions.add(name as Action);
  }
  const readsAll = scopes.includes("admin") || scopes.includes("read:*");
  return { actions, readsAll, services, views };
}

/**
 * Makes the check of a feature request. It looks at names alone, before anything is planned.
 *
 * Whoever may not read everything learns of nothing else: names that do not exist are refused as
 * those that are not allowed.
 *
 * @throws (the check) FORBIDDEN; REQUEST_INVALID or REQUEST_TOO_LARGE where nobody could tell what
 *   is asked; UNKNOWN_SERVICE for a service that is allowed but is not there
 */
export function createReadCheck(
  catalogue: Catalogue,
): (caller: { readonly grants: Grants } | null, body: unknown) => void {
  const viewsOfService = new Map(
    [...catalogue.services].map(([name, { outputs }]) => [
      name,
      new Set(outputs.map(({ view }) => view.name)),
    ]),
  );

  function viewOf(name: unknown): string | undefined {
    if (typeof name !== "string") return undefined;
    const feature = catalogue.features.get(name);
    if (feature !== undefined) return feature.view;
    return columnNamed(catalogue, name)?.view.name;
  }

  /** The views that a request reads, if it may. */
  function readable({ services, views }: Grants, body: unknown): ReadonlySet<string> {
    const { service, features } = membersOf(body);
    if (typeof service === "string" && features === undefined) {
      const read = viewsOfService.get(service);
      const isNamed = services.has(service);
      if (read !== undefined && (isNamed || [...read].every((view) => views.has(view))))
        return read;
      // Without a suggestion, which would name another service.
      if (read === undefined && isNamed)
        throw new OnceflowError("UNKNOWN_SERVICE", `no feature service is named "${service}".`);
      throw forbidden();
    }
    if (Array.isArray(features) && service === undefined) {
      const read = new Set(features.map(viewOf));
      for (const view of read) if (view === undefined || !views.has(view)) throw forbidden();
      if (read.size > 0) return read as ReadonlySet<string>;
    }
    // What is asked for has no form, and the parser of requests says what is wrong with it.
    parseRequest(body);
    throw forbidden();
  }

  return (caller, body) => {
    if (caller === null) throw forbidden();
    if (caller.grants.readsAll) return;
    const read = readable(caller.grants, body);
    const { snapshots, max_age } = membersOf(body);
    for (const byView of [snapshots, max_age])
      for (const view of Object.keys(membersOf(byView))) if (!read.has(view)) throw forbidden();
  };
}

type Members = Readonly<Record<string, unknown>>;

function membersOf(json: unknown): Members {
  return typeof json === "object" && json !== null ? (json as Members) : {};
}

/** Always the same, so that it says nothing of what there is. */
export function forbidden(): OnceflowError {
  return new OnceflowError(
    "FORBIDDEN",
    "the scopes of this key or token do not allow what is asked for. Features take read:*, or " +
      "read:service:<name> or read:view:<name> of what is asked for; /docs, /openapi.json, " +
      "/v1/services and /v1/catalogue take describe.",
  );
}
