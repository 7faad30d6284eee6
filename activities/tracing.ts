/**
 * Traces through Temporal: an activity runs in a span under that of its caller, which the
 * interceptors of Temporal's SDKs, of any language, put in one header.
 *
 * `@temporalio/interceptors-opentelemetry` 1.24.0 is not used: it rests on version 1 of the SDK of
 * OpenTelemetry, so there would be two of them in a process.
 */
import { defaultPayloadConverter, type Payload } from "@temporalio/common";
import type { ActivityInterceptorsFactory } from "@temporalio/worker";
import type { Tracing } from "../serving/telemetry/tracing.ts";

/** The header that carries `traceparent`, a JSON object, as Temporal's SDKs have it. */
export const traceHeader = "_tracer-data";

/** The interceptor of a worker that runs each activity in a span. */
export function traceActivities(tracing: Tracing): ActivityInterceptorsFactory {
  return ({ info }) => ({
    inbound: {
      execute(input, next) {
        const carrier = carrierOf(input.headers[traceHeader]);
        return tracing.run(`RunActivity:${info.activityType}`, carrier, () => next(input));
      },
    },
  });
}

/** A header that cannot be read begins a trace of its own, rather than fail the activity. */
function carrierOf(header: Payload | undefined): Readonly<Record<string, string>> {
  try {
    return header === undefined ? {} : { ...defaultPayloadConverter.fromPayload<object>(header) };
  } catch {
    return {};
  }
}
