/**
 * The one error class and its registry of codes.
 *
 * A missing or stale value is data with a status, never an error. `docs/errors.md` is tested
 * against this table both ways.
 */

interface ErrorKind {
  /** HTTP status that the service answers with. */
  readonly http: number;
  /** Whether doing the same again may succeed; Temporal retries only these. */
  readonly retryable: boolean;
  readonly summary: string;
}

export const errorRegistry = {
  // Definitions: found when the catalogue is built, reported all at once.
  DEFINITION_INVALID: {
    http: 500,
    retryable: false,
    summary: "One or more definitions are wrong; the message lists each.",
  },
  // What a caller asked for.
  REQUEST_INVALID: {
    http: 400,
    retryable: false,
    summary: "The request does not have the expected form.",
  },
  REQUEST_TOO_LARGE: {
    http: 413,
    retryable: false,
    summary: "The request asks for more than one call may.",
  },
  VALUE_INVALID: {
    http: 400,
    retryable: false,
    summary: "A value cannot be read as the dtype of its definition.",
  },
  UNKNOWN_INPUT: {
    http: 400,
    retryable: false,
    summary: "The request names an input that is no column of the sources, or of two of them.",
  },
  MISSING_INPUT: {
    http: 400,
    retryable: false,
    summary: "Features need columns that are neither in the request nor in the store.",
  },
  UNKNOWN_FEATURE: { http: 404, retryable: false, summary: "No feature of that name exists." },
  UNKNOWN_SERVICE: {
    http: 404,
    retryable: false,
    summary: "No feature service of that name exists.",
  },
  UNKNOWN_VIEW: { http: 404, retryable: false, summary: "No feature view of that name exists." },
  UNKNOWN_SNAPSHOT: {
    http: 404,
    retryable: false,
    summary: "The pinned aggregate snapshot does not exist in the store.",
  },
  INTERVAL_INVALID: {
    http: 400,
    retryable: false,
    summary: "The interval is not a valid half-open range of UTC times for the view.",
  },
  FINGERPRINT_MISMATCH: {
    http: 409,
    retryable: true,
    summary: "The definitions of this build are not those that the request was made for.",
  },
  UNKNOWN_ROUTE: { http: 404, retryable: false, summary: "The HTTP service has no such path." },
  METHOD_NOT_ALLOWED: {
    http: 405,
    retryable: false,
    summary: "The path exists, but not for this HTTP method.",
  },
  MEDIA_TYPE_UNSUPPORTED: {
    http: 415,
    retryable: false,
    summary: "The body of a request is not application/json in UTF-8, or is compressed.",
  },
  HEADERS_TOO_LARGE: {
    http: 431,
    retryable: false,
    summary: "The headers of a request are too large or too many.",
  },
  UNKNOWN_HOST: {
    http: 421,
    retryable: false,
    summary: "The request names a host that this service does not go by.",
  },
  // Who asks.
  UNAUTHENTICATED: {
    http: 401,
    retryable: false,
    summary: "The request has no valid API key or token.",
  },
  FORBIDDEN: {
    http: 403,
    retryable: false,
    summary: "The API key or token is valid, but its scopes do not allow this.",
  },
  RATE_LIMITED: {
    http: 429,
    retryable: true,
    summary: "The caller sends more requests a second than it may.",
  },
  AUTH_UNAVAILABLE: {
    http: 503,
    retryable: true,
    summary: "Keys or tokens cannot be checked: what they are checked by could not be read yet.",
  },
  UNKNOWN_KEY: { http: 404, retryable: false, summary: "No API key of that id exists." },
  // Input data.
  SOURCE_MISSING: {
    http: 500,
    retryable: true,
    summary: "A source file does not exist or cannot be read.",
  },
  SOURCE_CHANGED: {
    http: 500,
    retryable: true,
    summary: "A source file changed while it was being read.",
  },
  SOURCE_CORRUPT: { http: 500, retryable: false, summary: "A source file cannot be parsed." },
  SCHEMA_MISMATCH: {
    http: 500,
    retryable: false,
    summary: "A source file's columns or dtypes are not those of its definition.",
  },
  VALUE_UNPARSABLE: {
    http: 500,
    retryable: false,
    summary: "A value in a source file cannot be read as its column's dtype.",
  },
  NULL_NOT_ALLOWED: {
    http: 500,
    retryable: false,
    summary: "A column that must not be null holds a null.",
  },
  EVENT_TIME_OUTSIDE: {
    http: 500,
    retryable: false,
    summary: "A row's event time lies outside what its source file may hold.",
  },
  EXPECTATION_FAILED: {
    http: 500,
    retryable: false,
    summary: "A data expectation with onFail: fail does not hold; nothing is committed.",
  },
  ROW_TOO_LARGE: {
    http: 500,
    retryable: false,
    summary: "An encoded row or entity key exceeds the limit of the store.",
  },
  // Stores and orchestration.
  NO_SNAPSHOT: {
    http: 503,
    retryable: true,
    summary: "An aggregate has never been materialized, so features that rest on it have no value.",
  },
  VALUE_OUTDATED: {
    http: 503,
    retryable: true,
    summary:
      "A stored row is older than the request or its view allows, and the view says to fail.",
  },
  STORE_UNAVAILABLE: { http: 503, retryable: true, summary: "Redis did not answer." },
  STORE_RESTARTED: {
    http: 503,
    retryable: false,
    summary:
      "Redis restarted while a view was published, so that rows may be lost; it is published again.",
  },
  OFFLINE_UNAVAILABLE: {
    http: 503,
    retryable: true,
    summary: "A file of the offline store cannot be read or written.",
  },
  STORE_FULL: {
    http: 503,
    retryable: true,
    summary: "Redis is out of memory and refuses writes.",
  },
  STORE_EVICTS: {
    http: 503,
    retryable: false,
    summary: "Redis may evict keys: its maxmemory-policy is not noeviction.",
  },
  STORE_LOST: {
    http: 503,
    retryable: false,
    summary: "Redis is behind what it had: it is empty, an older copy or half restored.",
  },
  FENCED: {
    http: 409,
    retryable: false,
    summary:
      "A newer run of the interval, or publish of the view, has taken over; this one must not end.",
  },
  LEDGER_CONFLICT: {
    http: 409,
    retryable: true,
    summary: "The ledger changed between reading and committing.",
  },
  FINGERPRINT_UNKNOWN: {
    http: 409,
    retryable: true,
    summary: "This process was not built with the definitions that the run names.",
  },
  TEMPORAL_UNAVAILABLE: {
    http: 503,
    retryable: true,
    summary: "The Temporal server did not answer.",
  },
  SERVER_UNAVAILABLE: {
    http: 503,
    retryable: true,
    summary: "The HTTP service did not answer.",
  },
  DEADLINE_EXCEEDED: {
    http: 504,
    retryable: true,
    summary: "A call of a client, or the answer to a request, was not ready within its deadline.",
  },
  OVERLOADED: {
    http: 503,
    retryable: true,
    summary: "The HTTP service works on as many requests as it may, and as many wait.",
  },
  REQUEST_CANCELLED: {
    http: 499,
    retryable: false,
    summary: "The caller went away before the answer, so the work was given up.",
  },
  SERVER_CRASHED: {
    http: 500,
    retryable: false,
    summary: "Processes of the HTTP service ended again and again soon after their start.",
  },
  UPSTREAM_FAILED: {
    http: 409,
    retryable: false,
    summary: "An interval that comes first has failed, so the run is blocked.",
  },
  UPSTREAM_MISSING: {
    http: 409,
    retryable: false,
    summary: "A view that comes first was not committed in time.",
  },
  SENSOR_TIMEOUT: {
    http: 500,
    retryable: false,
    summary: "What a run waits for was not ready in time.",
  },
  WEBHOOK_FAILED: {
    http: 502,
    retryable: true,
    summary: "A webhook did not take the call of a run that failed or is late.",
  },
  BREAKING_CHANGE: {
    http: 409,
    retryable: false,
    summary: "The build to be applied breaks what consumers of the one before rely on.",
  },
  APPLY_CONFLICT: {
    http: 409,
    retryable: false,
    summary: "Another build was applied while this one was.",
  },
  CLOCK_SKEW: {
    http: 500,
    retryable: true,
    summary: "The clock of a machine differs from that of Redis by more than 30 seconds.",
  },
  BUILD_UNKNOWN: {
    http: 409,
    retryable: false,
    summary: "No worker of the build that is to take new runs has polled Temporal.",
  },
  RUN_FAILED: { http: 500, retryable: false, summary: "A workflow run ended without success." },
  // Environment.
  POLARS_MISSING: {
    http: 500,
    retryable: false,
    summary: "The native part of nodejs-polars is not installed for this platform.",
  },
  SETUP_FAILED: {
    http: 500,
    retryable: false,
    summary: "A service that onceflow needs could not be found or started.",
  },
  CONFIG_INVALID: {
    http: 500,
    retryable: false,
    summary: "An environment variable or option has a value that cannot be used.",
  },
  INTERNAL: {
    http: 500,
    retryable: true,
    summary: "An unexpected failure; the log has its cause.",
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorRegistry;

/** Facts about an error for machines: JSON values only. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

/** Every error that onceflow raises on purpose: a stable code, and a message that names the fix. */
export class OnceflowError extends Error {
  override readonly name = "OnceflowError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  get http(): number {
    return errorRegistry[this.code].http;
  }

  get retryable(): boolean {
    return errorRegistry[this.code].retryable;
  }
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return "an error that has no text";
  }
}

/**
 * The same, to stand within a sentence: what it was caused by, where that is known, with its code,
 * and without a full stop at the end. Of `fetch` the message alone says nothing; ours say it all.
 */
export function reasonOf(thrown: unknown): string {
  const hasOwnWords = thrown instanceof OnceflowError || !(thrown instanceof Error);
  const cause = !hasOwnWords && thrown.cause instanceof Error ? thrown.cause : thrown;
  const message = messageOf(cause).replace(/\.$/, "");
  const code = (cause as { readonly code?: unknown } | null | undefined)?.code;
  if (typeof code !== "string" || message.includes(code)) return message;
  return message === "" ? code : `${message} (${code})`;
}

/** Anything that was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(messageOf(thrown));
}

/** The code of what was thrown: INTERNAL for what nobody foresaw. */
export function errorCodeOf(thrown: unknown): ErrorCode {
  return thrown instanceof OnceflowError ? thrown.code : "INTERNAL";
}

/** The candidate closest to `name` by edit distance, or undefined where none is within the limit. */
export function closest(
  name: string,
  candidates: Iterable<string>,
  limit = Math.max(2, Math.floor(name.length / 3)),
): string | undefined {
  let best: string | undefined;
  let bestDistance = limit + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate, bestDistance);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** A sentence to append to an error: `Did you mean "x"?`, or nothing. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const match = closest(name, candidates);
  return match === undefined ? "" : ` Did you mean "${match}"?`;
}

function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, substitute));
    }
    previous = current;
  }
  return previous[b.length] ?? limit;
}
