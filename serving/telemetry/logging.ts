/**
 * The one logger: a JSON object a line, by pino. No line holds a secret, and unless `details` is on
 * none holds what a caller sent: entity ids, values, or messages that may quote them.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { type Logger, pino } from "pino";
import { type ErrorCode, errorRegistry } from "../../engine/errors.ts";
import type { Problem } from "../http/problem.ts";
import { whenEnded } from "./when-ended.ts";

declare module "fastify" {
  interface FastifyReply {
    /** The problem that was answered. */
    problem: Problem | undefined;
  }
}

export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  /** stderr by default. */
  readonly stream?: { readonly write: (line: string) => void };
  /** Also what callers sent, and messages of errors that may quote it; off by default. */
  readonly details?: boolean;
}

/** Members that are never shown, at the top of a line or one or two objects below. */
const secretMembers = [
  ..."authorization cookie password passwd secret token apiKey api_key key_hash".split(" "),
  "set-cookie",
  "x-api-key",
  "proxy-authorization",
];
const redact = secretMembers.flatMap((name) => ["", "*.", "*.*."].map((at) => pathOf(at, name)));

function pathOf(at: string, name: string): string {
  return /^\w+$/.test(name) ? `${at}${name}` : `${at.slice(0, -1)}["${name}"]`;
}

export type { Logger };

/** Makes the logger of a process. */
export function createLogger({ level, stream = process.stderr, details = false }: LogOptions) {
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: {
        err: (error: unknown) => errorFacts(error, details),
        // What Fastify itself logs of a request; its URL is the caller's text.
        req: ({ method, routeOptions }: Partial<FastifyRequest>) => ({
          method,
          route: routeOptions?.url,
        }),
        res: ({ statusCode }: { readonly statusCode?: number }) => ({ status: statusCode }),
      },
      redact,
      hooks: { streamWrite: withoutSecrets },
    },
    stream,
  );
}

/** A text without what is secret by its form, and in one line for whoever splits it. */
function withoutSecrets(text: string): string {
  return text
    .replaceAll(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"\\]*@/gi, "$1…@")
    .replaceAll(/\b(Bearer|Basic) +[^\s",\\]+/gi, "$1 …")
    .replaceAll(/(onceflow_[0-9a-f]{16}_)[A-Za-z0-9_-]+/g, "$1…")
    .replaceAll(/(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*/g, "eyJ…")
    .replaceAll(/\bwhsec_[A-Za-z0-9+/=]+/g, "whsec_…")
    .replaceAll(
      /[\u0085\u2028\u2029]/g,
      (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
}

/**
 * What a line says of an error: its kind, its code, and where it was thrown. Its message is shown
 * where it is one of ours that quotes no request, or where details are wanted.
 */
function errorFacts(error: unknown, details: boolean): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const code = codeOf(error);
  const isOwn = code !== undefined && isErrorCode(code) && code !== "INTERNAL";
  const quotesNothing = isOwn && errorRegistry[code].http >= 500;
  // A message may have lines that look like those of a stack.
  const stack = (error.stack ?? "").replace(error.message, "");
  const frames = stack.split("\n").filter((line) => /^\s+at /.test(line));
  return {
    type: error.name,
    ...(code === undefined ? {} : { code }),
    message:
      details || quotesNothing ? error.message : "left out; ONCEFLOW_LOG_DETAILS=true shows it",
    // Of what was foreseen the code says enough.
    ...(isOwn ? {} : { stack: frames.map((line) => line.trim()).join("\n") }),
    ...(error.cause === undefined ? {} : { cause: errorFacts(error.cause, details) }),
  };
}

/** The code of an error: ours, Node's, or the type of a failure of Temporal. */
export function codeOf(error: unknown): string | undefined {
  const { code, type } = error as { readonly code?: unknown; readonly type?: unknown };
  for (const each of [code, type])
    if (typeof each === "string" && /^[A-Z][A-Z0-9_]*$/.test(each)) return each;
  return undefined;
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorRegistry, code);
}

/** Adds a line at level info for each request that was answered. */
export function registerRequestLog(
  app: FastifyInstance,
  { level, details = false }: Pick<LogOptions, "level" | "details">,
): void {
  app.decorateReply("problem", undefined);
  if (level !== "info" && level !== "debug") return;
  app.addHook("onRequest", (request, reply, done) => {
    whenEnded(reply, (status, tookMs) => {
      const { problem } = reply;
      request.log.info(
        {
          route: request.routeOptions.url ?? "none",
          method: request.method,
          status,
          ms: Math.round(tookMs * 1000) / 1000,
          // The id of a key or token, never the key itself; left out where nobody is recognized.
          caller: request.caller?.id,
          ...(problem === undefined ? { rows: rowsOf(request.body) } : factsOf(problem, details)),
        },
        "request",
      );
    });
    done();
  });
}

const placePattern =
  /^(service|features|entities|inputs|snapshots|fingerprint|max_age|form)\b(\[\d+\])?/;

/** Where the request is wrong is shown without the names that the caller chose. */
function factsOf({ code, detail, ...members }: Problem, details: boolean): object {
  const path = members["path"] ?? members["where"];
  const [at] = (typeof path === "string" && placePattern.exec(path)) || [];
  return { code, ...(details ? { detail } : at === undefined ? {} : { at }) };
}

/** How many rows a request that was answered had; undefined where it asked for no features. */
function rowsOf(body: unknown): number | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const { entities, inputs } = body as { readonly entities?: unknown; readonly inputs?: unknown };
  return [entities, inputs].find(Array.isArray)?.length ?? 1;
}

let made = 0;
const processId = Array.from(crypto.getRandomValues(new Uint32Array(2)), (word) =>
  word.toString(16).padStart(8, "0"),
).join("");

/**
 * The id of a request: that of the caller's `x-request-id`, where it is 1 to 128 letters, digits
 * and `._:-`, else a new one of 32 hexadecimal digits.
 */
export function requestIdOf(header: string | string[] | undefined): string {
  if (typeof header === "string" && /^[A-Za-z0-9._:-]{1,128}$/.test(header)) return header;
  return processId + (++made).toString(16).padStart(16, "0");
}
