/**
 * A client of the HTTP service, typed by what `onceflow types` writes. It needs nothing but `fetch`,
 * whose connections stay open from call to call.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type ErrorCode, errorRegistry, OnceflowError, reasonOf } from "../engine/errors.ts";
import { commandLine } from "../engine/invocation.ts";
import { writeJson } from "../engine/json-text.ts";
import type { ColumnAnswer, FeatureAnswer } from "../serving/answer.ts";
import { type Deadline, withDeadline } from "./deadline.ts";
import type { AnyCatalogue, CatalogueTypes, FeatureClient } from "./typed.ts";
import { typedClient } from "./typed.ts";

export { OnceflowError } from "../engine/errors.ts";
export type { ErrorCode } from "../engine/errors.ts";
export type { Status } from "../serving/answer.ts";
export type { CallOptions } from "./deadline.ts";
export type * from "./typed.ts";
export { columnOf } from "./typed.ts";

/** Where and how to ask. */
export interface HttpClientOptions {
  /** Of the service, such as `http://127.0.0.1:8080`; a path in it is kept. */
  readonly url: string;
  /** An API key or token, sent as a bearer. */
  readonly key?: string | undefined;
  /** For a whole call, retries included; 3000 by default. */
  readonly deadlineMs?: number;
  /** After the first try; 2 by default. */
  readonly retries?: number;
}

/** Between two tries: a random time of at most this, doubled with each, and never over the last. */
const backOffMs = { first: 50, last: 2_000 };

/** Members of a problem document that are no details of the error. */
const ofProblem: readonly string[] = ["type", "title", "code", "detail"];

/** What became of one try. */
type Outcome =
  | { readonly answer: FeatureAnswer | ColumnAnswer }
  | {
      readonly error: OnceflowError;
      /** Whether the same may succeed, and how long the server wants to be left alone. */
      readonly retry?: { readonly afterMs: number };
    };

/**
 * Makes a client. Its calls are reads, so they are tried again where no connection came about and
 * where the service is busy or not there (429, 503), within the deadline.
 *
 * A call rejects with the service's error: `code` and message, and among `details` the HTTP
 * `status`, the `request_id` and what else the problem document holds. It rejects with
 * SERVER_UNAVAILABLE where none answers, DEADLINE_EXCEEDED where none answers in time.
 *
 * @throws CONFIG_INVALID for a URL that is none
 */
export function createClient<C extends CatalogueTypes = AnyCatalogue>({
  url,
  key,
  deadlineMs = 3_000,
  retries = 2,
}: HttpClientOptions): FeatureClient<C> {
  const target = routeOf(url);
  const headers = {
    "content-type": "application/json",
    accept: "application/json, application/problem+json",
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
  };
  async function askUntilEnd(body: string, { signal, endMs }: Deadline) {
    for (let tries = 0; ; tries++) {
      const outcome = await post(target, { headers, body, signal });
      if ("answer" in outcome) return outcome.answer;
      const { error, retry } = outcome;
      if (retry === undefined || tries >= retries) throw error;
      const waitMs =
        retry.afterMs + Math.random() * Math.min(backOffMs.first * 2 ** tries, backOffMs.last);
      // To say at once what is wrong is of more use than to wait for the deadline.
      if (performance.now() + waitMs >= endMs) throw error;
      await pause(waitMs, undefined, { signal });
    }
  }
  return typedClient<C>(
    async (request, call = {}) => {
      const body = writeJson(request);
      return withDeadline(call, deadlineMs, (deadline) => askUntilEnd(body, deadline));
    },
    () => Promise.resolve(),
  );
}

async function post(target: URL, init: RequestInit): Promise<Outcome> {
  let response: Response;
  let text: string;
  try {
    // A redirect could take the key elsewhere.
    response = await fetch(target, { ...init, method: "POST", redirect: "error" });
    text = await response.text();
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const why = reasonOf(error) || "no connection";
    return { error: unavailable(target, why, error), retry: { afterMs: 0 } };
  }
  const body = parse(text);
  if (response.ok && body !== undefined) return { answer: body as unknown as FeatureAnswer };
  const error = errorOf(target, response, body);
  // Of the codes of 503, some say that asking again is of no use.
  const isBusy = response.status === 429 || (response.status === 503 && error.retryable);
  return isBusy ? { error, retry: { afterMs: retryAfterMs(response) } } : { error };
}

function errorOf(
  target: URL,
  { status, headers }: Response,
  body: Readonly<Record<string, unknown>> | undefined,
): OnceflowError {
  const { code, detail } = body ?? {};
  const details = {
    ...Object.fromEntries(Object.entries(body ?? {}).filter(([name]) => !ofProblem.includes(name))),
    status,
    request_id: headers.get("x-request-id"),
  };
  if (typeof code === "string" && Object.hasOwn(errorRegistry, code))
    return new OnceflowError(code as ErrorCode, String(detail), details);
  // A proxy, or a service that knows more codes than this client.
  const why = `it answered ${status}${typeof code === "string" ? ` ${code}: ${String(detail)}` : " without a word of onceflow"}`;
  return unavailable(target, why, undefined, details);
}

/** Seconds, or a date; 0 where the header says nothing that can be read. */
function retryAfterMs({ headers }: Response): number {
  const text = headers.get("retry-after") ?? "";
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

function routeOf(url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base === undefined || !/^https?:$/.test(base.protocol))
    throw new OnceflowError("CONFIG_INVALID", `the url is "${url}"; write http://host:port.`);
  return new URL(`${base.pathname.replace(/\/$/, "")}/v1/features`, base);
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

function unavailable(
  { origin }: URL,
  why: string,
  cause?: unknown,
  details: Readonly<Record<string, unknown>> = {},
): OnceflowError {
  return new OnceflowError(
    "SERVER_UNAVAILABLE",
    `no onceflow service answers at ${origin}: ${why}. Start it with \`${commandLine("server")}\`, or correct the URL.`,
    { ...details, url: origin },
    cause,
  );
}
