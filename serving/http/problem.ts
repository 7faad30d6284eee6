/** Errors over HTTP: problem details (RFC 9457) that carry the code of the registry. */
import type { ErrorCode } from "../../engine/errors.ts";
import { errorRegistry, messageOf, OnceflowError } from "../../engine/errors.ts";
import { bodyLimitBytes } from "./json-body.ts";

export const problemType = "application/problem+json; charset=utf-8";

/** The body of an error response; details of the error are members beside these. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  /** As in the header `x-request-id`; absent where the request could not be read. */
  readonly request_id?: string;
  readonly [member: string]: unknown;
}

/**
 * The problem of an error. What callers cannot use stays in the log.
 *
 * @param requestId - names the request in the log
 */
export function problemOf(thrown: unknown, requestId: string): Problem {
  const { code, message, details, http } = asOnceflowError(thrown);
  const hidden = hiddenDetails[code];
  const own = {
    type: `urn:onceflow:error:${code}`,
    title: errorRegistry[code].summary,
    status: http,
    code,
    detail: hidden === undefined ? message : `${hidden}; the log has the cause at ${requestId}.`,
  };
  const last = requestId === "" ? {} : { request_id: requestId };
  // First in order, and not to be replaced by a detail of the same name.
  return hidden === undefined ? { ...own, ...details, ...own, ...last } : { ...own, ...last };
}

/** Said in place of messages that tell of the inside: addresses, commands, what nobody foresaw. */
const hiddenDetails: Partial<Record<ErrorCode, string>> = {
  INTERNAL: "The request failed",
  STORE_UNAVAILABLE: "The store does not answer now",
};

/** Errors of Fastify by their code; all others with a status of 4xx are REQUEST_INVALID. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: "REQUEST_TOO_LARGE",
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "MEDIA_TYPE_UNSUPPORTED",
};

const frameworkMessages: Partial<Record<ErrorCode, string>> = {
  REQUEST_TOO_LARGE: `the body has over ${bodyLimitBytes / 2 ** 20} MiB; split the request.`,
  MEDIA_TYPE_UNSUPPORTED: "send the body as content-type: application/json.",
};

function asOnceflowError(thrown: unknown): OnceflowError {
  if (thrown instanceof OnceflowError) return thrown;
  const { code = "", statusCode = 500 } = thrown as {
    readonly code?: string;
    readonly statusCode?: number;
  };
  const own = Object.hasOwn(frameworkCodes, code) ? frameworkCodes[code] : undefined;
  const mapped = own ?? (statusCode >= 400 && statusCode < 500 ? "REQUEST_INVALID" : "INTERNAL");
  return new OnceflowError(mapped, frameworkMessages[mapped] ?? messageOf(thrown), {}, thrown);
}
