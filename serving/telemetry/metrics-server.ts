/**
 * The endpoint of metrics, on a port of its own: `GET /metrics` in the text format of Prometheus.
 * Of several worker processes, the primary one answers with the sum of all.
 */
import type { Cluster, Worker } from "node:cluster";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { AggregatorRegistry, type PrometheusContentType, type Registry } from "prom-client";
import { messageOf, OnceflowError } from "../../engine/errors.ts";
import { hostsNamed, isLoopback } from "../auth/addresses.ts";
import { inTurn } from "../http/turns.ts";

/** What an endpoint answers from: a registry, or `clusterMetrics`. */
export interface MetricsSource {
  /** In the text format of Prometheus. */
  readonly metrics: () => Promise<string>;
}

export interface MetricsEndpoint {
  /** `http://host:port/metrics`. */
  readonly url: string;
  readonly close: () => Promise<void>;
}

/**
 * Answers scrapes until it is closed; by itself it does not keep the process.
 *
 * @param port - 0 takes any free one
 * @throws CONFIG_INVALID where the port cannot be listened on
 */
export async function startMetrics({
  registry,
  port,
  host,
}: {
  readonly registry: MetricsSource;
  readonly port: number;
  readonly host: string;
}): Promise<MetricsEndpoint> {
  const isOurs = isLoopback(host) ? hostsNamed([]) : () => true;
  const metrics = oneAtATime(() => registry.metrics());
  const answerRequest: RequestListener = ({ method = "", url = "", headers }, response) => {
    const answer = (status: number, text: string, type = "text/plain; charset=utf-8") =>
      response
        .writeHead(status, { "content-type": type, "cache-control": "no-store" })
        .end(method === "HEAD" ? undefined : text);
    if (!isOurs(headers.host ?? "localhost")) answer(421, "Ask under an address or localhost.\n");
    else if (url.split("?")[0] !== "/metrics") answer(404, "Metrics are at /metrics.\n");
    else if (method !== "GET" && method !== "HEAD") answer(405, "Ask by GET.\n");
    else
      void metrics().then(
        (text) => answer(200, text, "text/plain; version=0.0.4; charset=utf-8"),
        () => answer(500, "The metrics cannot be read.\n"),
      );
  };
  const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000 });
  server.on("request", inTurn(answerRequest)).setTimeout(30_000);
  server.unref();
  try {
    server.listen({ port, host });
    await once(server, "listening");
  } catch (error) {
    throw new OnceflowError(
      "CONFIG_INVALID",
      `metrics cannot be served on ${host}:${port}: ${messageOf(error)}. Set ONCEFLOW_METRICS_PORT to another port, 0 for any, or to nothing for none.`,
      { name: "ONCEFLOW_METRICS_PORT" },
    );
  }
  const { address, port: taken } = server.address() as { address: string; port: number };
  return {
    url: `http://${address.includes(":") ? `[${address}]` : address}:${taken}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Whoever asks while others wait gets what they get. */
function oneAtATime<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () =>
    (reading ??= read().finally(() => {
      reading = undefined;
    }));
}

/** A source that reads another endpoint, such as that of Temporal's SDK, after a registry. */
export function joinEndpoint(registry: MetricsSource, url: string): MetricsSource {
  return {
    async metrics() {
      const other = fetch(url, { signal: AbortSignal.timeout(2_000) }).then(
        (response) => response.text(),
        () => "",
      );
      return (await Promise.all([registry.metrics(), other])).join("");
    },
  };
}

/** A port of the loopback address that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

type MetricsJson = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

/** Messages between the primary process and its workers. */
interface Ask {
  readonly type: "onceflow:metrics";
  readonly id: number;
}
interface Told extends Ask {
  readonly metrics: MetricsJson;
}

function isMessage(message: unknown): message is Ask {
  return (message as { readonly type?: unknown } | null)?.type === "onceflow:metrics";
}

/** In a worker process: tells the primary one what this registry holds, when it asks. */
export function tellMetrics(registry: Registry): void {
  process.on("message", (message) => {
    if (!isMessage(message)) return;
    const { type, id } = message;
    void registry.getMetricsAsJSON().then((metrics) => {
      if (process.connected) process.send?.({ type, id, metrics } satisfies Told);
    });
  });
}

/**
 * In the primary process: the metrics of all workers as one, each by its own way (sums, worst
 * values). What a worker that is gone had counted stays counted, as of the last scrape, so that no
 * sum falls; one that does not answer in time stands as it was then.
 */
export function clusterMetrics(cluster: Cluster, withinMs = 1_000): MetricsSource {
  const known = new Map<number, MetricsJson>();
  let gone: Promise<MetricsJson> = Promise.resolve([]);
  let asked = 0;

  cluster.on("exit", ({ id }) => {
    const last = known.get(id);
    known.delete(id);
    if (last === undefined) return;
    const counted = last.filter(({ type }) => ["counter", "histogram"].includes(String(type)));
    gone = gone.then((before) => joined([before, counted]).getMetricsAsJSON());
  });

  function ask(worker: Worker): Promise<void> {
    const id = ++asked;
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(late);
        worker.off("message", listen).off("exit", settle);
        resolve();
      };
      const listen = (message: unknown) => {
        if (!isMessage(message) || message.id !== id) return;
        known.set(worker.id, (message as Told).metrics);
        settle();
      };
      const late = setTimeout(settle, withinMs);
      worker.on("message", listen).once("exit", settle);
      worker.send({ type: "onceflow:metrics", id } satisfies Ask, (error) => {
        if (error !== null) settle();
      });
    });
  }

  return {
    async metrics() {
      const workers = Object.values(cluster.workers ?? {}).filter((each) => each !== undefined);
      await Promise.all(workers.filter((each) => each.isConnected()).map(ask));
      return joined([...known.values(), await gone]).metrics();
    },
  };
}

/** One registry of several, each metric by its `aggregator`. */
function joined(all: readonly MetricsJson[]): Registry {
  return AggregatorRegistry.aggregate<PrometheusContentType>([...all]);
}
