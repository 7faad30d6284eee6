/** Asks the HTTP service. */
import { createClient } from "../client/http.ts";
import type { FeatureAnswer } from "../serving/answer.ts";
import type { FeatureRequest } from "../serving/request.ts";
import { usageError } from "./context.ts";

const deadlineMs = 10_000;

/**
 * Posts a request to the service at a URL, with a key or token where there is one.
 *
 * @throws the service's own error by its code, SERVER_UNAVAILABLE or DEADLINE_EXCEEDED where none
 *   answers in 10 seconds
 */
export async function postRequest(
  url: string,
  request: FeatureRequest,
  key?: string,
): Promise<FeatureAnswer> {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw usageError(`--url is "${url}"; write http://host:port.`);
  // A person sees at once that nobody answers, and may ask again.
  return createClient({ url, deadlineMs, retries: 0, key }).answer(request);
}
