/**
 * Prometheus metrics of a process that answers requests. No label holds what a caller sends: they
 * are routes, statuses, codes, and names of the catalogue.
 *
 * What is counted on the way of a request is plain numbers, which the registry gets at a scrape.
 */
import { readFileSync } from "node:fs";
import type { FastifyInstance } from "fastify";
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { Catalogue } from "../../engine/catalogue.ts";
import { errorCodeOf } from "../../engine/errors.ts";
import { fingerprintOf, hash } from "../../engine/fingerprint.ts";
import { statuses } from "../answer.ts";
import { createHistogram, type Observe } from "./histogram.ts";
import type { Lookup } from "../lookup.ts";
import type { LookupObserver } from "../observer.ts";
import type { LoadCounters } from "../http/overload.ts";
import type { ViewPointers } from "../pointers.ts";
import { whenEnded } from "./when-ended.ts";

/** Features that have series of their own; the values of all others count as `_other`. */
export const featureLimit = 1000;

/** Statuses of values that are not what the store would give at its best. */
const degraded: readonly string[] = ["STALE", "UNAVAILABLE"];

/** Seconds. */
const requestBuckets = [
  0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,
];

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

export interface Metrics {
  readonly registry: Registry;
  /** For the lookup's option `observe`. */
  readonly observer: LookupObserver;
  /** Adds what is read from a lookup at a scrape: the state of its views, and its readiness. */
  readonly watch: (lookup: Lookup) => void;
  /** Counts the requests of an application; before its routes are added. */
  readonly register: (app: FastifyInstance) => void;
  /** Adds how many requests are worked on and wait, as the limit on load has it. */
  readonly watchLoad: (load: Readonly<Pick<LoadCounters, "running" | "waiting">>) => void;
  /** Counts a problem that was answered. */
  readonly problem: (code: string, status: number) => void;
}

/** Makes the metrics of a process, in a registry of their own. */
export function createMetrics(catalogue: Catalogue): Metrics {
  const registry = processMetrics(catalogue);
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name: `onceflow_${name}`, help, labelNames, registers });
  new Gauge({
    name: "onceflow_server_processes",
    help: "Processes that answer requests.",
    registers,
  }).set(1);
  const problems = counter("http_problems_total", "Answers that are problems, by error code.", [
    "code",
    "status",
  ]);
  const values = createValueCounts(registry);

  const readSeconds = createHistogram(registry, {
    name: "onceflow_store_read_duration_seconds",
    help: "Time of one read of stored rows: a round trip to Redis, and decoding.",
    buckets: requestBuckets,
  })();
  const counts = { rowsAnswered: 0, rowsRead: 0, bytesRead: 0 };
  total(registry, "rows_answered", "Rows that were answered.", () => counts.rowsAnswered);
  total(registry, "store_read_rows", "Rows that were looked up.", () => counts.rowsRead);
  total(registry, "store_read_bytes", "Bytes of stored rows.", () => counts.bytesRead);
  const storeErrors = counter("store_errors_total", "Reads of the store that failed.", ["code"]);

  return {
    registry,
    problem: (code, status) => problems.inc({ code, status }),
    observer: {
      read({ startMs, endMs, rows, bytes }) {
        readSeconds((endMs - startMs) / 1000);
        counts.rowsRead += rows;
        counts.bytesRead += bytes;
      },
      readFailed: (error) => storeErrors.inc({ code: errorCodeOf(error) }),
      answered({ planned, table }) {
        counts.rowsAnswered += table.entities.length;
        values.add(planned.plan.outputs, table.statuses);
      },
    },
    watch: (lookup) => addLookup(registry, lookup),
    register: (app) => addHttp(registry, app),
    watchLoad(load) {
      for (const [state, help] of [
        ["running", "Requests for features that are worked on."],
        ["waiting", "Requests for features that wait for their turn."],
      ] as const)
        new Gauge({
          name: `onceflow_requests_${state}`,
          help,
          registers,
          collect() {
            this.set(load[state]);
          },
        });
    },
  };
}

/** A counter that is a plain number until it is scraped. */
function total(registry: Registry, name: string, help: string, value: () => number): void {
  new Counter({
    name: `onceflow_${name}_total`,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(value());
    },
  });
}

/** Hash of all that the definitions of a build mean: it changes exactly when one of them does. */
export function catalogueFingerprint({ views, features, services }: Catalogue): string {
  return hash([
    [...views.values()].map((view) => [view.name, view.fingerprint, view.aggregatesFingerprint]),
    [...features.values()].map(({ name, node }) => [name, fingerprintOf(node)]),
    [...services.values()].map(({ name, fingerprint }) => [name, fingerprint]),
  ]);
}

/** A registry with what every process tells: its build, its memory, CPU and event loop. */
export function processMetrics(catalogue: Catalogue): Registry {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  // Of several workers the worst counts: an average would hide the one that is blocked. Of start
  // times the newest shows that a worker was replaced.
  for (const metric of registry.getMetricsAsArray())
    if (/^nodejs_eventloop_lag_(seconds|p\d+_seconds)$|^process_start_time/.test(metric.name))
      metric.aggregator = "max";
  new Gauge({
    name: "onceflow_build_info",
    help: "1; the labels name the version and the definitions of the build.",
    labelNames: ["version", "fingerprint"],
    registers,
    aggregator: "first",
  }).set({ version: readVersion(), fingerprint: catalogueFingerprint(catalogue) }, 1);
  return registry;
}

/** Where package.json is depends on whether the sources run or what was built from them. */
function readVersion(): string {
  for (const path of ["../../package.json", "../../../package.json"])
    try {
      const text = readFileSync(new URL(path, import.meta.url), "utf8");
      return (JSON.parse(text) as { version: string }).version;
    } catch {
      continue;
    }
  return "unknown";
}

/** Counts of values by feature and status. */
function createValueCounts(registry: Registry) {
  const byFeature = new Map<string, number[]>();
  const byOutputs = new WeakMap<object, readonly number[][]>();
  const registers = [registry];

  function countsOf(name: string): number[] {
    const label = byFeature.has(name) || byFeature.size < featureLimit ? name : "_other";
    const counts = byFeature.get(label) ?? new Array<number>(statuses.length).fill(0);
    byFeature.set(label, counts);
    return counts;
  }

  new Counter({
    name: "onceflow_feature_values_total",
    help: "Values that were served, by feature and status.",
    labelNames: ["feature", "status"],
    registers,
    collect() {
      this.reset();
      for (const [feature, counts] of byFeature)
        counts.forEach((count, i) => this.inc({ feature, status: statuses[i] ?? "" }, count));
    },
  });
  new Counter({
    name: "onceflow_degraded_values_total",
    help: "Values that were served by the policy of their view, outdated or without the store.",
    labelNames: ["status"],
    registers,
    collect() {
      this.reset();
      for (const status of degraded) {
        const place = (statuses as readonly string[]).indexOf(status);
        let sum = 0;
        for (const counts of byFeature.values()) sum += counts[place] ?? 0;
        this.inc({ status }, sum);
      }
    },
  });
  return {
    /** Counts the statuses of an answer, row by row in the order of the outputs of its plan. */
    add(outputs: readonly { readonly name: string }[], codes: Uint8Array): void {
      let features = byOutputs.get(outputs);
      if (features === undefined) {
        features = outputs.map(({ name }) => countsOf(name));
        byOutputs.set(outputs, features);
      }
      for (let at = 0; at < codes.length;)
        for (const counts of features) counts[codes[at++] as number]! += 1;
    },
  };
}

function addHttp(registry: Registry, app: FastifyInstance): void {
  const registers = [registry];
  const routes = new Map<string, { observe: Observe; byAnswer: Map<string, number> }>();
  new Counter({
    name: "onceflow_http_requests_total",
    help: "Requests that were answered, or given up by their caller: status 499.",
    labelNames: ["route", "method", "status"],
    registers,
    collect() {
      this.reset();
      for (const [route, { byAnswer }] of routes)
        for (const [answer, count] of byAnswer) {
          const [method = "", status = ""] = answer.split(" ");
          this.inc({ route, method, status }, count);
        }
    },
  });
  const seconds = createHistogram(registry, {
    name: "onceflow_http_request_duration_seconds",
    help: "From the headers of a request to the end of its answer.",
    buckets: requestBuckets,
  });
  let inFlight = 0;
  new Gauge({
    name: "onceflow_http_requests_in_flight",
    help: "Requests that are being answered.",
    registers,
    collect() {
      this.set(inFlight);
    },
  });
  function seriesOf(route: string) {
    let series = routes.get(route);
    if (series === undefined) {
      series = { observe: seconds({ route }), byAnswer: new Map() };
      routes.set(route, series);
    }
    return series;
  }

  app.addHook("onRequest", (request, reply, done) => {
    inFlight++;
    whenEnded(reply, (status, tookMs) => {
      inFlight--;
      const { observe, byAnswer } = seriesOf(request.routeOptions.url ?? "none");
      const answer = `${methods.has(request.method) ? request.method : "other"} ${status}`;
      byAnswer.set(answer, (byAnswer.get(answer) ?? 0) + 1);
      observe(tookMs / 1000);
    });
    done();
  });
}

function addLookup(registry: Registry, lookup: Lookup): void {
  const registers = [registry];
  const { counters } = lookup;
  const byView = (
    name: string,
    help: string,
    aggregator: "min" | "max",
    valueOf: (pointers: ViewPointers) => number | undefined,
  ) =>
    new Gauge({
      name: `onceflow_view_${name}`,
      help,
      labelNames: ["view"],
      registers,
      aggregator,
      collect() {
        this.reset();
        for (const [view, pointers] of lookup.newest()?.views ?? []) {
          const value = valueOf(pointers);
          if (value !== undefined) this.set({ view: view.name }, value);
        }
      },
    });
  byView(
    "freshness_seconds",
    "Age of the end up to which the view is published: every event time that is served is before it.",
    "max",
    ({ published }) =>
      published === null ? undefined : Math.max(0, (Date.now() - published.endMs) / 1000),
  );
  byView(
    "materialized",
    "1 where something is published under this build's definition, else 0.",
    "min",
    ({ published }) => (published === null ? 0 : 1),
  );
  byView(
    "frozen",
    "1 while no run moves what is published, since somebody froze it, else 0.",
    "max",
    ({ published }) => (published === null || published.frozen === null ? 0 : 1),
  );
  byView(
    "uncovered",
    "1 while an interval is missing before the end that is published, else 0.",
    "max",
    ({ published }) => (published === null || published.covered ? 0 : 1),
  );
  byView("lost", "1 while Redis no longer has rows that it had, else 0.", "max", ({ lost }) =>
    lost ? 1 : 0,
  );
  new Gauge({
    name: "onceflow_pointers_age_seconds",
    help: "Since what is current in the store was read last.",
    registers,
    aggregator: "max",
    collect() {
      this.reset();
      const { refreshedMs } = counters;
      if (refreshedMs !== null) this.set(Math.max(0, (Date.now() - refreshedMs) / 1000));
    },
  });
  new Gauge({
    name: "onceflow_ready",
    help: "1 where /readyz answers that the service is ready, else 0.",
    registers,
    aggregator: "min",
    async collect() {
      this.set((await lookup.ready()).ready ? 1 : 0);
    },
  });
  for (const [name, help, value] of [
    ["pointer_refreshes", "Reads of what is current in the store.", () => counters.refreshes],
    ["pointer_refresh_failures", "Those that failed.", () => counters.failedRefreshes],
    ["store_retries", "Requests tried again with newer pointers.", () => counters.storeRetries],
  ] as const)
    total(registry, name, help, value);
  new Counter({
    name: "onceflow_feature_violations_total",
    help: "Values that did not satisfy an expectation, by feature.",
    labelNames: ["feature"],
    registers,
    collect() {
      this.reset();
      let place = 0;
      for (const [feature, count] of counters.violations)
        this.inc({ feature: place++ < featureLimit ? feature : "_other" }, count);
    },
  });
}
