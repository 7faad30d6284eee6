/** The cases of `online` over HTTP: rate, latency and CPU time against a route of the same bytes. */
import type { Progress } from "../../cli/progress.ts";
import type { Server } from "../built.ts";
import { answerBytes, closedLoop, openLoop, percentile, post, type Target } from "../load.ts";
import type { Site } from "./site.ts";
import { type BenchOptions, measurePairs, type Sides } from "../pairs.ts";
import { createRandom } from "../random.ts";
import { type Line, lineOf, median, type Report, rounded } from "../report.ts";

type DrawIds = (count: number) => { readonly id: string }[];

/** A request that is measured, and what must hold of it. */
interface Case {
  readonly name: string;
  readonly request: (draw: DrawIds) => object;
  /**
   * A route without features that answers with as many bytes, the same features with the same
   * duties by hand, or features as one first has them.
   */
  readonly limit: "bare" | "byHand" | "naive";
  /** Of the closed loop, which gives the rate. */
  readonly connections?: number;
  /** Of the open loop, which gives latencies: requests a second, that both can answer. */
  readonly openRate?: number;
  readonly targets: Partial<Record<"rate" | "p50" | "p99", Report["target"]>>;
}

const inputs = { age: 40, son: 1, pet: 0, month_of_absence: 7, day_of_the_week: 3 };

const cases: readonly Case[] = [
  {
    name: "1 entity, model_x from the store",
    request: (draw) => ({ service: "model_x", entities: draw(1) }),
    limit: "bare",
    connections: 32,
    openRate: 1000,
    targets: { rate: { min: 0.75 }, p50: { max: 1.3 }, p99: { max: 1.5 } },
  },
  {
    name: "1 entity, model_x from inputs in the request",
    request: () => ({ service: "model_x", inputs }),
    limit: "bare",
    connections: 32,
    targets: { rate: { min: 0.75 } },
  },
  {
    name: "1 entity, model_x from the store, beside the same by hand",
    request: (draw) => ({ service: "model_x", entities: draw(1) }),
    limit: "byHand",
    connections: 32,
    targets: { rate: { min: 1 } },
  },
  {
    name: "1 entity, model_x from inputs, beside the same by hand",
    request: () => ({ service: "model_x", inputs }),
    limit: "byHand",
    connections: 32,
    targets: { rate: { min: 1 } },
  },
  {
    name: "100 entities × 34 features, in columns",
    request: (draw) => ({ service: "features_34", entities: draw(100), form: "columns" }),
    limit: "bare",
    connections: 8,
    targets: { rate: { min: 0.6 } },
  },
  {
    name: "100 entities × 34 features, in rows",
    request: (draw) => ({ service: "features_34", entities: draw(100) }),
    limit: "bare",
    connections: 8,
    targets: { rate: { min: 0.6 } },
  },
  {
    name: "10 entities × 20 features at 1000 requests/s",
    request: (draw) => ({ service: "columns_20", entities: draw(10) }),
    limit: "naive",
    openRate: 1000,
    targets: { p50: { budget: 8 }, p99: { budget: 40 } },
  },
  {
    name: "1 entity × 20 features, closed loop",
    request: (draw) => ({ service: "columns_20", entities: draw(1) }),
    limit: "naive",
    connections: 32,
    targets: { rate: { floor: 8000 }, p99: { budget: 20 } },
  },
  {
    name: "100 entities × 20 features, in columns",
    request: (draw) => ({ service: "columns_20", entities: draw(100), form: "columns" }),
    limit: "naive",
    connections: 8,
    targets: { rate: { floor: 600 } },
  },
];

/** Seconds of each loop. */
const secondsEach = 4;
/** Of an open loop: more than are ever busy below saturation. */
export const openConnections = 64;

/** What one measurement found; latencies in milliseconds, of the open loop where there is one. */
interface Measured {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU time of the server for a request, in microseconds. */
  readonly cpuUs: number;
  /** How much of a core the server had: where it is less than 1, something else was the limit. */
  readonly cores: number;
}

export async function* httpCases(
  site: Site,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  for (const each of cases) {
    const targets = await targetsOf(site, each);
    const measure = (server: Server, target: Target) => () =>
      measureOnce(server, target, each, secondsEach / scale);
    const measured = await progress.step(each.name, (detail) =>
      measurePairs(pairs, detail, {
        figure: measure(site.service, targets.figure),
        limit: measure(site[each.limit], targets.limit),
      }),
    );
    const medians = (of: (one: Measured) => number): Sides<number> => ({
      figure: rounded(median(measured.map(({ figure }) => of(figure)))),
      limit: rounded(median(measured.map(({ limit }) => of(limit)))),
    });
    const { connections, openRate } = each;
    for (const [what, target] of Object.entries(each.targets) as ["rate", Report["target"]][])
      yield lineOf(
        {
          bench: "online",
          case: `${each.name}, ${what}`,
          unit: what === "rate" ? "requests/s" : "ms",
          target,
          rows: site.entities,
          config: {
            ...(connections !== undefined && { connections }),
            ...(openRate !== undefined && { open_loop_rate: openRate }),
            answer_bytes: targets.bytes,
            cpu_us: medians(({ cpuUs }) => cpuUs),
            requests_per_core: medians(({ cpuUs }) => 1e6 / cpuUs),
            server_cores: medians(({ cores }) => cores),
            beside: "the load generator and Redis share the cores with the server",
            limit: limits[each.limit],
          },
        },
        measured.map(({ figure, limit }) => ({ figure: figure[what], limit: limit[what] })),
      );
  }
}

const limits = {
  bare: "a Fastify route that parses the body, does one GET (or a pipeline) of as many bytes, and sends as many",
  byHand:
    "a Fastify route with the nine features in JavaScript, one HMGET, the check of the key, a rate, metrics, and JSON of values, statuses, times and ages",
  naive: "a Fastify route with an HMGET of 20 fields for each entity, and JSON of the values",
};

/** The same requests for both, key and all, as bytes, and the size of the answer that they get. */
export async function targetsOf(
  site: Site,
  { request, limit }: Pick<Case, "request" | "limit">,
): Promise<Sides<Target> & { readonly bytes: Sides<number> }> {
  const random = createRandom(1);
  const draw: DrawIds = (count) =>
    Array.from({ length: count }, () => ({
      id: String(Math.floor(random.uniform() * site.entities)),
    }));
  const bodies = Array.from({ length: 512 }, () => request(draw));
  const targetOf = ({ port }: Server, path: string): Target => ({
    port,
    requests: bodies.map((body) => post(path, body, site.key)),
  });
  const figure = targetOf(site.service, "/v1/features");
  const bytes = await answerBytes(figure);
  const limitTarget = targetOf(site[limit], limit === "bare" ? `/${bytes}` : "/");
  return {
    figure,
    limit: limitTarget,
    bytes: { figure: bytes, limit: await answerBytes(limitTarget) },
  };
}

async function measureOnce(
  server: Server,
  target: Target,
  { connections, openRate }: Case,
  seconds: number,
): Promise<Measured> {
  const before = server.cpuUs();
  const open = { rate: openRate ?? NaN, connections: openConnections, seconds };
  const first =
    connections === undefined
      ? await openLoop(target, open)
      : await closedLoop(target, { connections, seconds });
  const usedUs = server.cpuUs() - before;
  const second =
    openRate === undefined || connections === undefined ? first : await openLoop(target, open);
  const count = first.latenciesMs.length;
  return {
    rate: count / first.seconds,
    p50: percentile(second, 0.5),
    p99: percentile(second, 0.99),
    cpuUs: usedUs / count,
    cores: usedUs / 1e6 / first.seconds,
  };
}
