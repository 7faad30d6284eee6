/** The HTTP application, apart from listening. */
import {
  createServer,
  type RequestListener,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HTTPMethods,
  RouteHandlerMethod,
} from "fastify";
import { fastify, LogController } from "fastify";
import { type Catalogue, serviceNamed } from "../../engine/catalogue.ts";
import { type ErrorCode, OnceflowError } from "../../engine/errors.ts";
import { type Access, asksWho } from "../auth/access.ts";
import { addressesIn } from "../auth/addresses.ts";
import { describeCatalogue, describeService, describeServices } from "../describe.ts";
import type { Lookup } from "../lookup.ts";
import {
  createLogger,
  type Logger,
  type LogOptions,
  registerRequestLog,
  requestIdOf,
} from "../telemetry/logging.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Tracing } from "../telemetry/tracing.ts";
import { createDocs } from "./docs-page.ts";
import { headerLimits, registerGuards } from "./guards.ts";
import { bodyLimitBytes, parseJsonBody } from "./json-body.ts";
import { type RouteId, routes, urlOf } from "./routes.ts";
import { createLoadLimiter, type LoadLimits } from "./overload.ts";
import { type Problem, problemOf, problemType } from "./problem.ts";
import { limitArriving } from "./arriving.ts";
import { createRequestLogger } from "./request-logger.ts";
import { inTurn } from "./turns.ts";

/** How long a client may take. */
export interface HttpDeadlines {
  /** From the first byte of a request to its last. */
  readonly requestMs: number;
  readonly headersMs: number;
  /** Between two looks for connections that are late. */
  readonly checkMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
  /** To read a large reply. */
  readonly replyMs: number;
}

/** A connection that nobody asks on; above what load balancers have. */
const keepAliveMs = 72_000;

const deadlines: HttpDeadlines = {
  requestMs: 8_000,
  headersMs: 5_000,
  checkMs: 1_000,
  idleMs: 10_000,
  replyMs: 10_000,
};

export interface AppOptions {
  readonly catalogue: Catalogue;
  readonly lookup: Lookup;
  /** JSON lines; `warn` by default. */
  readonly log?: LogOptions["level"];
  /** Where log lines go; stderr by default. */
  readonly logStream?: LogOptions["stream"];
  /** Whether log lines may quote requests; see `LogOptions`. */
  readonly logDetails?: boolean;
  readonly metrics?: Metrics | undefined;
  readonly tracing?: Tracing | undefined;
  /** True once the process is about to end: it is then not ready, and closes what it answered. */
  readonly isClosing?: () => boolean;
  readonly deadlines?: Partial<HttpDeadlines>;
  /** How much this process takes on; see overload.ts. */
  readonly load?: Partial<LoadLimits>;
  /** Who may ask; without it, anybody may. */
  readonly access?: Access | undefined;
}

/** Answers are of the moment, and never to be read as anything but their content type. */
const safetyHeaders = { "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** A server whose clients have deadlines, and get their answers one after the other. */
function createHttpServer(listener: RequestListener, limits: HttpDeadlines): Server {
  const { requestMs, headersMs, checkMs, idleMs, replyMs } = limits;
  const server = createServer(
    {
      requestTimeout: requestMs,
      headersTimeout: headersMs,
      connectionsCheckingInterval: checkMs,
      keepAliveTimeout: keepAliveMs,
      maxHeaderSize: headerLimits.bytes,
    },
    inTurn(listener, { replyMs }),
  );
  server.setTimeout(idleMs);
  return server;
}

let turn: Promise<void> | undefined;

/**
 * Answers of one turn of the event loop are sent together, at its end: each that is sent by itself
 * may wake a caller of this machine, which costs more than the answer did.
 */
function endOfTurn(): Promise<void> {
  turn ??= new Promise((resolve) => {
    setImmediate(() => {
      turn = undefined;
      resolve();
    });
  });
  return turn;
}

/** Builds the application; `listen` or `inject` are the caller's. */
export function buildApp(options: AppOptions): FastifyInstance {
  const { catalogue, log = "warn", logStream = process.stderr, logDetails = false } = options;
  const { isClosing = () => false, metrics, tracing } = options;
  const proxies = options.access?.settings.trustProxy ?? [];
  const limits = { ...deadlines, ...options.deadlines };
  const logOptions = { level: log, stream: logStream, details: logDetails };
  const loggerInstance: FastifyBaseLogger = createLogger(logOptions);
  const app = fastify({
    loggerInstance,
    childLoggerFactory: (parent, bindings) => createRequestLogger(parent as Logger, bindings),
    genReqId: ({ headers }) => requestIdOf(headers["x-request-id"]),
    // What is worth a line is logged below, once.
    logController: new LogController({
      disableRequestLogging: true,
      requestIdLogLabel: "request_id",
    }),
    bodyLimit: bodyLimitBytes,
    serverFactory: (listener) => createHttpServer(listener, limits),
    // A function of ours, since proxies also write ports and other spellings of their addresses.
    trustProxy: proxies.length > 0 && addressesIn(proxies),
    requestIdHeader: false,
    // While the process drains, what still arrives is answered; see `isClosing`.
    return503OnClosing: false,
    frameworkErrors(error, request, reply) {
      reply.header("x-request-id", request.id);
      answerProblem(error, request, reply);
    },
    clientErrorHandler(error, socket) {
      const problem = endSocket(socket, error.code);
      if (problem !== undefined) metrics?.problem(problem.code, problem.status);
    },
  });
  function answerProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const problem = problemOf(error, request.id);
    const { code, status } = problem;
    metrics?.problem(code, status);
    // What is refused under overload must cost next to nothing.
    if (status >= 500 && code !== "OVERLOADED")
      request.log.error({ err: error, code }, "request failed");
    // Before it is sent, since hooks that run then look at it.
    reply.problem = problem;
    void reply.code(status).headers(safetyHeaders).type(problemType).send(problem);
  }

  registerRequestLog(app, logOptions);
  metrics?.register(app);
  tracing?.register(app);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_, body, done) => {
    try {
      done(null, parseJsonBody(body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  app.addHook("onRequest", (request, reply, done) => {
    reply.headers(safetyHeaders).header("x-request-id", request.id);
    if (isClosing()) reply.header("connection", "close");
    done();
  });
  app.setErrorHandler(answerProblem);
  app.setNotFoundHandler((request) => {
    throw new OnceflowError(
      "UNKNOWN_ROUTE",
      `there is no ${request.method} ${request.url.slice(0, 200)}. Features are answered at POST /v1/features.`,
    );
  });

  registerGuards(app, { catalogue, access: options.access });
  limitArriving(app);
  addRoutes(app, options);
  return app;
}

/** Adds each route with its handler. */
function addRoutes(app: FastifyInstance, options: AppOptions): void {
  const { catalogue, lookup, access, metrics, isClosing = () => false } = options;
  const fixed = createFixedAnswers();
  const { limited, refuseEarly, counters } = createLoadLimiter(options.load);
  metrics?.watchLoad(counters);
  const terms = { asksWho: access !== undefined && asksWho(access.settings) };
  const docs = createDocs(catalogue, terms);
  const handlers: Readonly<Record<RouteId, RouteHandlerMethod>> = {
    async getFeatures(request, reply) {
      const json = await limited(request, reply, (isUnwanted) =>
        lookup.answerJson(request.body, isUnwanted),
      );
      await endOfTurn();
      return reply.type("application/json; charset=utf-8").send(json);
    },
    listServices: (_, reply) => fixed(reply, "services", () => describeServices(catalogue)),
    describeService({ params }, reply) {
      const service = serviceNamed(catalogue, (params as { readonly name: string }).name);
      return fixed(reply, service, () => describeService(catalogue, service.name));
    },
    describeCatalogue: (_, reply) => fixed(reply, "catalogue", () => describeCatalogue(catalogue)),
    getOpenApi: (_, reply) => fixed(reply, "openapi", docs.document),
    getDocs: docs.getDocs,
    getLiveness: () => ({ status: "alive" }),
    async getReadiness(_, reply) {
      if (isClosing()) return notReady(reply, { reason: "the process is about to end" });
      const { ready, ...rest } = await lookup.ready();
      return ready ? { status: "ready", ...rest } : notReady(reply, rest);
    },
  };
  for (const route of routes) {
    const { method, id } = route;
    const url = urlOf(route);
    const early = id === "getFeatures" ? { onRequest: refuseEarly } : {};
    app.route({ method, url, handler: handlers[id], ...early });
    refuseOtherMethods(app, method, url);
  }
}

/** Sends what never changes as JSON that is made once, when it is first asked for. */
function createFixedAnswers() {
  const made = new Map<unknown, Buffer>();
  return (reply: FastifyReply, key: unknown, describe: () => object): FastifyReply => {
    let json = made.get(key);
    if (json === undefined) {
      json = Buffer.from(JSON.stringify(describe()));
      made.set(key, json);
    }
    return reply.type("application/json; charset=utf-8").send(json);
  };
}

function refuseOtherMethods(app: FastifyInstance, method: "GET" | "POST", url: string): void {
  const allowed: readonly HTTPMethods[] = method === "GET" ? ["GET", "HEAD"] : [method];
  app.route({
    method: app.supportedMethods.filter((each) => !allowed.includes(each)),
    url,
    // Before the body is read, so that the method is what is named.
    onRequest(request, reply, done) {
      reply.header("allow", allowed.join(", "));
      done(
        new OnceflowError(
          "METHOD_NOT_ALLOWED",
          `${url} takes ${allowed.join(" or ")}, not ${request.method}.`,
          { allowed },
        ),
      );
    },
    handler: () => undefined,
  });
}

/** What Node refuses before there is a request, by its code. */
const socketErrors: Readonly<Record<string, readonly [number, string, ErrorCode?]>> = {
  HPE_HEADER_OVERFLOW: [
    431,
    `the headers have over ${headerLimits.bytes} bytes, the limit.`,
    "HEADERS_TOO_LARGE",
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request did not arrive in time."],
};

/** Where Node keeps the reply that is under way. */
type ServerSocket = Socket & { readonly _httpMessage?: ServerResponse | null };

/** Says what is wrong with what a client sent, if it can still be told, and closes. */
function endSocket(socket: ServerSocket, code: string): Problem | undefined {
  // A reset is no request; and of a reply that has begun, ours would seem to be the rest.
  if (code === "ECONNRESET" || !socket.writable || socket._httpMessage?.headersSent) {
    socket.destroy();
    return undefined;
  }
  const [status, detail, name = "REQUEST_INVALID"] = socketErrors[code] ?? [
    400,
    "the request is no valid HTTP/1.1.",
  ];
  const problem = { ...problemOf(new OnceflowError(name, detail), ""), status };
  socket.write(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${problemType}\r\n` +
      `connection: close\r\n\r\n${JSON.stringify(problem)}`,
  );
  socket.destroySoon();
  return problem;
}

function notReady(reply: FastifyReply, facts: object) {
  return reply.code(503).send({ status: "unavailable", ...facts });
}
