/**
 * Traces by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT names a receiver: a span for each
 * request, under the caller's `traceparent`, and one for each read of the store. Without it nothing
 * of OpenTelemetry is loaded.
 */
import type { Context, DiagAPI, Span, TextMapGetter } from "@opentelemetry/api";
import type { FastifyInstance } from "fastify";
import { codeOf, type Logger } from "./logging.ts";
import type { LookupObserver } from "../observer.ts";
import { whenEnded } from "./when-ended.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The span of the request, and the context in which it is the current one. */
    trace: { readonly span: Span; readonly context: Context } | undefined;
  }
}

/** Spans of requests, reads and activities, on their way to a receiver. */
export interface Tracing {
  /** For the lookup's option `observe`: a span for each read, under the current one. */
  readonly observer: LookupObserver;
  /** Makes a span for each request of an application; before its routes are added. */
  readonly register: (app: FastifyInstance) => void;
  /** Runs `work` in a span of that name, below the one that the carrier names, if any. */
  readonly run: <T>(
    name: string,
    carrier: Readonly<Record<string, string>>,
    work: () => Promise<T>,
  ) => Promise<T>;
  /** Sends what is left, for at most 2 seconds. */
  readonly close: () => Promise<void>;
}

/** Spans that wait to be sent; those beyond are dropped, so a dead receiver costs no memory. */
const queueSize = 2048;
const closeWithinMs = 2_000;
const warnEveryMs = 60_000;

/**
 * Starts tracing by the standard variables of OpenTelemetry, or returns undefined where none names
 * a receiver, or OTEL_SDK_DISABLED is true.
 */
export async function startTracing(
  env: NodeJS.ProcessEnv,
  log: Pick<Logger, "warn">,
): Promise<Tracing | undefined> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT } = env;
  if (!OTEL_EXPORTER_OTLP_ENDPOINT && !OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return undefined;
  if (env["OTEL_SDK_DISABLED"]?.toLowerCase() === "true") return undefined;
  const [api, { OTLPTraceExporter }, resources, sdk] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
    import("@opentelemetry/sdk-trace-node"),
  ]);
  const { context, propagation, SpanKind, SpanStatusCode, trace } = api;
  warnOfLoss(api.diag, log);
  const provider = new sdk.NodeTracerProvider({
    resource: resources
      .resourceFromAttributes({ "service.name": "onceflow" })
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    spanProcessors: [
      new sdk.BatchSpanProcessor(new OTLPTraceExporter(), { maxQueueSize: queueSize }),
    ],
  });
  provider.register();
  const tracer = provider.getTracer("onceflow");

  function fail(span: Span, error: unknown): void {
    const code = codeOf(error) ?? "INTERNAL";
    // The message may quote the request.
    span.setAttribute("error.type", code).setStatus({ code: SpanStatusCode.ERROR });
  }

  return {
    observer: {
      read({ startMs, endMs, rows, bytes, error }) {
        const span = tracer.startSpan("read rows", {
          kind: SpanKind.CLIENT,
          startTime: startMs,
          attributes: {
            "db.system.name": "redis",
            "db.operation.name": "HMGET",
            "onceflow.rows": rows,
            "onceflow.bytes": bytes,
          },
        });
        if (error !== undefined) fail(span, error);
        span.end(endMs);
      },
    },
    register(app) {
      app.decorateRequest("trace", undefined);
      app.addHook("onRequest", (request, reply, done) => {
        const parent = propagation.extract(context.active(), request.headers, headers);
        const route = request.routeOptions.url ?? "none";
        const span = tracer.startSpan(
          `${request.method} ${route}`,
          {
            kind: SpanKind.SERVER,
            attributes: {
              "http.request.method": request.method,
              "http.route": route,
              "onceflow.request_id": request.id,
            },
          },
          parent,
        );
        request.trace = { span, context: trace.setSpan(parent, span) };
        request.log = request.log.child({ trace_id: span.spanContext().traceId });
        whenEnded(reply, (status) => {
          span.setAttribute("http.response.status_code", status);
          if (reply.problem !== undefined) span.setAttribute("error.type", reply.problem.code);
          if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
          span.end();
        });
        done();
      });
      // Here, since reading the body loses the context that it was begun in.
      app.addHook("preHandler", (request, _reply, done) => {
        context.with(request.trace?.context ?? context.active(), done);
      });
    },
    run(name, carrier, work) {
      const parent = propagation.extract(context.active(), carrier);
      return tracer.startActiveSpan(name, {}, parent, async (span) => {
        try {
          return await work();
        } catch (error) {
          fail(span, error);
          throw error;
        } finally {
          span.end();
        }
      });
    },
    async close() {
      const late = new Promise<void>((resolve) => setTimeout(resolve, closeWithinMs).unref());
      await Promise.race([provider.shutdown().catch(() => undefined), late]);
    },
  };
}

/** Of a header that came twice, the first one counts. */
const headers: TextMapGetter<Readonly<Record<string, string | string[] | undefined>>> = {
  keys: (carrier) => Object.keys(carrier),
  get: (carrier, key) => {
    const value = carrier[key];
    return Array.isArray(value) ? value[0] : value;
  },
};

/** A line at most once a minute while spans are lost; what the exporter says may hold its URL. */
function warnOfLoss(diag: DiagAPI, log: Pick<Logger, "warn">): void {
  let warnedMs = -Infinity;
  const ignore = () => undefined;
  const warn = () => {
    if (performance.now() - warnedMs < warnEveryMs) return;
    warnedMs = performance.now();
    log.warn("traces are lost: the receiver of OTEL_EXPORTER_OTLP_ENDPOINT does not take them");
  };
  diag.setLogger({ error: warn, warn: ignore, info: ignore, debug: ignore, verbose: ignore });
}
