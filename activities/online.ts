/** The online activity. Its worker never loads polars, so heavy work cannot delay it. */
import { OnceflowError } from "../engine/errors.ts";
import type { ColumnAnswer, FeatureAnswer } from "../serving/answer.ts";
import type { Lookup } from "../serving/lookup.ts";
import type { ColumnRequest, FeatureRequest } from "../serving/request.ts";
import { withFailures } from "./failure.ts";

/** Temporal takes 2 MiB, with a few bytes of its own; what is larger it would try again in vain. */
export const answerLimitBytes = 2_000_000;

/** Makes the online activities over a lookup. */
export function createOnlineActivities({ lookup }: { readonly lookup: Lookup }) {
  /**
   * Answers as the HTTP service does: it is the same function.
   *
   * @throws also REQUEST_TOO_LARGE where the answer is more than Temporal takes
   */
  async function getOnlineFeatures(request: ColumnRequest): Promise<ColumnAnswer>;
  async function getOnlineFeatures(request: FeatureRequest): Promise<FeatureAnswer>;
  async function getOnlineFeatures(
    request: FeatureRequest | ColumnRequest,
  ): Promise<FeatureAnswer | ColumnAnswer> {
    const answer = await lookup.answer(request);
    const bytes = Buffer.byteLength(JSON.stringify(answer));
    if (bytes > answerLimitBytes)
      throw new OnceflowError(
        "REQUEST_TOO_LARGE",
        `the answer has ${bytes} bytes, and Temporal takes ${answerLimitBytes} at most. Ask for fewer rows at a time, or for the form "columns".`,
        { bytes, limit: answerLimitBytes },
      );
    return answer;
  }
  return withFailures({ getOnlineFeatures });
}
