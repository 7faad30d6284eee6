/**
 * What stands before every route: limits on headers, rate limits, who asks and whether they may.
 * All of it but the names in a request is settled before a byte of the body is read.
 */
import type { IncomingMessage } from "node:http";
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  preSerializationHookHandler,
} from "fastify";
import type { Catalogue } from "../../engine/catalogue.ts";
import { type ErrorCode, errorCodeOf, OnceflowError } from "../../engine/errors.ts";
import { type Access, asksWho, type Caller, type Unrecognized } from "../auth/access.ts";
import { callerOfAddress, hostsNamed } from "../auth/addresses.ts";
import { createRateLimit, type RateLimit } from "../auth/rate-limit.ts";
import { type Action, createReadCheck, forbidden } from "../auth/scopes.ts";
import { routes, urlOf } from "./routes.ts";

const actions = new Map(routes.map((route) => [urlOf(route), route.action]));

/**
 * What a request needs: `admin` where the table does not say; undefined for a path that is not
 * there: any caller may learn so.
 */
function actionOf({ routeOptions: { url } }: FastifyRequest): Action | undefined {
  return url === undefined ? undefined : (actions.get(url) ?? "admin");
}

/** What the headers of a request may be at most. */
export const headerLimits = { count: 100, bytes: 16 * 1024 } as const;

declare module "fastify" {
  interface FastifyRequest {
    /** Who asks; null where nobody is asked who they are, or none was recognized. */
    caller: Caller | null;
  }
}

export interface GuardOptions {
  readonly catalogue: Catalogue;
  /** Without it, anybody may ask for anything. */
  readonly access: Access | undefined;
}

/** Puts the guards before every route. */
export function registerGuards(app: FastifyInstance, options: GuardOptions): void {
  const { catalogue, access } = options;
  app.decorateRequest("caller", null);
  const settings = access?.settings;
  const addressRate = settings?.addressRate && createRateLimit(settings.addressRate);
  const isOurs = settings?.hosts && hostsNamed(settings.hosts);
  const report = createReport(app);
  const admit = access && asksWho(access.settings) ? createAdmission(access, report) : undefined;

  app.addHook("onRequest", (request, reply, done) => {
    try {
      checkHead(request.raw);
      if (isOurs) checkHost(request.raw, isOurs);
      if (addressRate) spend(addressRate, callerOfAddress(request.ip), reply);
      const admitted = admit?.(request, reply);
      if (admitted === undefined) done();
      else
        admitted.then(
          () => done(),
          (error: unknown) => done(error as Error),
        );
    } catch (error) {
      done(error as Error);
    }
  });
  if (admit === undefined) return;

  const checkRead = createReadCheck(catalogue);
  app.addHook("preHandler", (request, _reply, done) => {
    try {
      if (actionOf(request) === "read") checkRead(request.caller, request.body);
      done();
    } catch (error) {
      if (errorCodeOf(error) === "FORBIDDEN")
        report(request, "FORBIDDEN", { caller: request.caller?.id });
      done(error as Error);
    }
  });
  app.addHook("preSerialization", hideReadiness);
}

/** To strangers readiness is a yes or no: its reasons name views and addresses. */
const hideReadiness: preSerializationHookHandler<unknown> = (request, reply, payload, done) => {
  const isHidden =
    request.routeOptions.url === "/readyz" &&
    reply.problem === undefined &&
    request.caller?.grants.actions.has("describe") !== true;
  done(null, isHidden ? { status: (payload as { readonly status?: unknown }).status } : payload);
};

/** Lets a request pass, or throws; a promise where a token must be checked. */
type Admission = (request: FastifyRequest, reply: FastifyReply) => Promise<void> | undefined;

function createAdmission(access: Access, report: Report): Admission {
  const { callerRate } = access.settings;
  const rate = callerRate && createRateLimit(callerRate);

  function settle(
    request: FastifyRequest,
    reply: FastifyReply,
    found: Caller | Unrecognized,
  ): void {
    const action = actionOf(request);
    if ("why" in found) {
      if (action === "open") return;
      report(request, "UNAUTHENTICATED", found);
      void reply.header("www-authenticate", 'Bearer realm="onceflow"');
      throw new OnceflowError(
        "UNAUTHENTICATED",
        "send a valid API key or token: Authorization: Bearer <key>.",
      );
    }
    request.caller = found;
    if (rate && action !== "open") spend(rate, found.id, reply);
    if (action !== undefined && !found.grants.actions.has(action)) {
      report(request, "FORBIDDEN", { caller: found.id });
      throw forbidden();
    }
  }

  return (request, reply) => {
    const found = access.recognize(request.headers.authorization);
    if (!(found instanceof Promise)) return void settle(request, reply, found);
    return found
      .catch((error: unknown): Unrecognized => {
        if (actionOf(request) !== "open") throw error;
        return { why: "tokens cannot be checked" };
      })
      .then((each) => settle(request, reply, each));
  };
}

/** Lines a second, at most, about callers that are refused: they must not fill the disk. */
const reportRate = { perSecond: 5, burst: 20 };

/** Logs who was refused and why. */
type Report = (request: FastifyRequest, code: ErrorCode, facts: object) => void;

/** What there is no room for is counted. */
function createReport(app: FastifyInstance): Report {
  const room = createRateLimit(reportRate);
  let left = 0;
  return ({ ip, method, routeOptions }, code, facts) => {
    if (room("") > 0) return void left++;
    const line = { audit: "refused", code, ...facts, address: ip, method };
    app.log.warn({ ...line, route: routeOptions.url ?? null, left_out: left }, "caller refused");
    left = 0;
  };
}

function spend(rate: RateLimit, caller: string, reply: FastifyReply): void {
  const waitMs = rate(caller);
  if (waitMs === 0) return;
  const seconds = Math.ceil(waitMs / 1000);
  void reply.header("retry-after", seconds);
  throw new OnceflowError(
    "RATE_LIMITED",
    "this caller sends more requests than it may; wait as long as Retry-After says.",
    { retry_after_seconds: seconds },
  );
}

const otherCharset = /;\s*charset\s*=\s*(?!"?utf-?8"?\s*(?:;|$))/i;

const singleHeaders = ["host", "authorization", "content-type"] as const;

/** How many of the headers, name and value in turn, have a name. */
function countOf(rawHeaders: readonly string[], name: string): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const each = rawHeaders[i] as string;
    // Only one that is as long is made lower case: that is slow.
    if (each.length === name.length && each.toLowerCase() === name) count++;
  }
  return count;
}

function checkHead({ headers, rawHeaders, httpVersionMajor }: IncomingMessage): void {
  // Node takes a line without a version for HTTP/0.9, which has no headers at all.
  if (httpVersionMajor !== 1)
    throw new OnceflowError("REQUEST_INVALID", "the request is no valid HTTP/1.1.");
  // Of these Node keeps the first, where a proxy may have gone by the last.
  for (const name of singleHeaders)
    if (headers[name] !== undefined && countOf(rawHeaders, name) > 1)
      throw new OnceflowError(
        "REQUEST_INVALID",
        `the header ${name} is there twice; send it once.`,
      );
  const count = rawHeaders.length / 2;
  if (count > headerLimits.count)
    throw new OnceflowError(
      "HEADERS_TOO_LARGE",
      `the request has ${count} headers; ${headerLimits.count} are the limit.`,
      { limit: headerLimits.count },
    );
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity")
    throw new OnceflowError(
      "MEDIA_TYPE_UNSUPPORTED",
      "the body has a content-encoding; send it as it is, without compression.",
    );
  const type = headers["content-type"];
  if (type !== undefined && type.length > 16 && otherCharset.test(type))
    throw new OnceflowError(
      "MEDIA_TYPE_UNSUPPORTED",
      "the content-type names another charset than UTF-8; send the body in UTF-8.",
    );
}

/** Browsers always send the header; who sends none is no page of the web. */
function checkHost(
  { headers: { host } }: IncomingMessage,
  isOurs: (host: string) => boolean,
): void {
  if (host !== undefined && !isOurs(host)) throw unknownHost(host);
}

/** Of a request under a name that may be anybody's. */
export function unknownHost(host: string): OnceflowError {
  const shown = JSON.stringify(host.slice(0, 64));
  return new OnceflowError(
    "UNKNOWN_HOST",
    `the header host is ${shown}; ask under an address or localhost. To serve under another name, list it in ONCEFLOW_HOSTS.`,
  );
}
