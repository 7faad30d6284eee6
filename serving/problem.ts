/** Errors over HTTP: problem details (RFC 9457) that carry the code of the registry. */
import type { ErrorCode } from "../engine/errors.ts";
import { errorRegistry, messageOf, OnceflowError } from "../engine/errors.ts";
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
 * The problem of an error. What an unexpected error says stays in the log.
 *
 * @param requestId - names the request in the log
 */
export function problemOf(thrown: unknown, requestId: string): Problem {
  const { code, message, details, http } = asOnceflowError(thrown);
  const own = {
    type: `urn:onceflow:error:${code}`,
    title: errorRegistry[code].summary,
    status: http,
    code,
    detail:
      code === "INTERNAL" ? `The request failed; the log has the cause at ${requestId}.` : message,
  };
  const last = requestId === "" ? {} : { request_id: requestId };
  // First in order, and not to be replaced by a detail of the same name.
  return code === "INTERNAL" ? { ...own, ...last } : { ...own, ...details, ...own, ...last };
}

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
