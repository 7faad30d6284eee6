/** The lookup of a process that answers requests: measured, traced, and its failures logged. */
import { createLookup, type Lookup, type LookupOptions } from "../lookup.ts";
import { joinObservers } from "../observer.ts";
import { createFailureLog } from "./failure-log.ts";
import type { Logger } from "./logging.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import type { Tracing } from "./tracing.ts";

/** Makes the lookup, and the metrics that are told of its work. */
export function createObservedLookup(
  options: Omit<LookupOptions, "observe">,
  { log, tracing }: { readonly log: Logger; readonly tracing: Tracing | undefined },
): { readonly lookup: Lookup; readonly metrics: Metrics } {
  const metrics = createMetrics(options.catalogue);
  const observe = joinObservers(
    metrics.observer,
    createFailureLog(log),
    ...(tracing ? [tracing.observer] : []),
  );
  const lookup = createLookup({ ...options, observe });
  metrics.watch(lookup);
  return { lookup, metrics };
}
