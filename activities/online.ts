/** The online activity. Its worker never loads polars, so heavy work cannot delay it. */
import type { Lookup } from "../serving/lookup.ts";
import type { FeatureAnswer } from "../serving/answer.ts";
import type { FeatureRequest } from "../serving/request.ts";
import { withFailures } from "./failure.ts";

/** Makes the online activities over a lookup. */
export function createOnlineActivities({ lookup }: { readonly lookup: Lookup }) {
  return withFailures({
    /** Answers as the HTTP service does: it is the same function. */
    getOnlineFeatures: (request: FeatureRequest): Promise<FeatureAnswer> => lookup.answer(request),
  });
}
