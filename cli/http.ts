/** Asks the HTTP service. */
import { type ErrorCode, errorRegistry, messageOf, OnceflowError } from "../engine/errors.ts";
import type { FeatureAnswer } from "../serving/answer.ts";
import type { FeatureRequest } from "../serving/request.ts";
import { usageError } from "./context.ts";

const timeoutMs = 10_000;

/** Members of a problem document that are no details of the error. */
const ofProblem: readonly string[] = ["type", "title", "status", "code", "detail"];

/**
 * Posts a request to the service at a URL, with a key or token where there is one.
 *
 * @throws the service's own error by its code, SERVER_UNAVAILABLE where none answers in 10 seconds
 */
export async function postRequest(
  url: string,
  request: FeatureRequest,
  key?: string,
): Promise<FeatureAnswer> {
  const target = routeOf(url);
  let status: number;
  let text: string;
  try {
    const response = await fetch(target, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      // Not to another place, which would get the key.
      redirect: "error",
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(timeoutMs),
    });
    status = response.status;
    text = await response.text();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw unavailable(target, messageOf(cause) || "no connection", error);
  }
  const body = parse(text);
  if (status === 200 && body !== undefined) return body as unknown as FeatureAnswer;
  const { code, detail } = body ?? {};
  if (typeof code === "string" && Object.hasOwn(errorRegistry, code)) {
    const details = Object.entries(body ?? {}).filter(([name]) => !ofProblem.includes(name));
    throw new OnceflowError(code as ErrorCode, String(detail), Object.fromEntries(details));
  }
  throw unavailable(target, `it answered ${status} without a word of onceflow`);
}

function routeOf(url: string): URL {
  const target = URL.canParse(url) ? new URL("/v1/features", url) : undefined;
  if (target === undefined || !/^https?:$/.test(target.protocol))
    throw usageError(`--url is "${url}"; write http://host:port.`);
  return target;
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

function unavailable({ origin }: URL, why: string, cause?: unknown): OnceflowError {
  return new OnceflowError(
    "SERVER_UNAVAILABLE",
    `no onceflow service answers at ${origin}: ${why}. Start it with \`npm run server\`, or correct --url.`,
    { url: origin },
    cause,
  );
}
