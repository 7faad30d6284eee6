/**
 * `online`: requests a second, latency and CPU time of the HTTP service, against a bare route that
 * reads as many bytes and answers with as many.
 */
import { connect } from "node:net";
import type { Progress } from "../dev/progress.ts";
import { buildCatalogue } from "../engine/catalogue.ts";
import { buildProduct, type Server, startServer } from "./built.ts";
import { writeDataSet } from "./data.ts";
import { type Environment, materializeDirectly, valueBytes } from "./environment.ts";
import { inProcessCases } from "./in-process.ts";
import { writePlainKeys } from "./limits/plain-keys.ts";
import { closedLoop, openLoop, percentile, post, type Target } from "./load.ts";
import * as features from "./online-features.ts";
import { type BenchOptions, measurePairs, type Sides } from "./pairs.ts";
import { createRandom } from "./random.ts";
import { type Line, lineOf, median } from "./report.ts";

export const catalogue = buildCatalogue(features);

const entityCount = 10_000;
const secondsEach = 4;

/** A request that is measured, for entities that are drawn anew for each. */
interface Case {
  readonly name: string;
  readonly request: (drawIds: (count: number) => { readonly id: string }[]) => object;
  /** Least ratio of the rates. */
  readonly min: number;
  readonly connections: number;
  /** Requests a second at which latency is measured, where it is. */
  readonly openRate?: number;
}

const cases: readonly Case[] = [
  {
    name: "1 entity, model_x from the store",
    request: (draw) => ({ service: "model_x", entities: draw(1) }),
    min: 0.75,
    connections: 32,
    openRate: 2000,
  },
  {
    name: "1 entity, model_x from inputs in the request",
    request: () => ({
      service: "model_x",
      inputs: { age: 40, son: 1, pet: 0, month_of_absence: 7, day_of_the_week: 3 },
    }),
    min: 0.75,
    connections: 32,
  },
  {
    name: "100 entities × 34 features",
    request: (draw) => ({ service: "features_34", entities: draw(100) }),
    min: 0.6,
    connections: 8,
  },
];

/** What one measurement of a server found. */
interface Measured {
  /** Requests a second. */
  readonly rate: number;
  /** CPU time of the server for a request. */
  readonly cpuUs: number;
  /** How much of a core the server had: less than 1 where something else is the limit. */
  readonly cores: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export async function* benchOnline(
  environment: Environment,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const { folder, settings } = environment;
  const built = await progress.step("build", () => buildProduct(folder));
  const rowBytes = await progress.step(`${entityCount} entities`, () => fill(environment));
  const server = await startServer(built, ["server.js"], settings);
  const bare = await startServer(
    built,
    ["bench/limits/bare-route.js", settings.redisUrl],
    settings,
  );
  const seconds = secondsEach / scale;
  const inProcess = { built, settings, entities: entityCount };
  yield* inProcessCases(inProcess, { pairs, scale }, progress);
  try {
    for (const each of cases) {
      const { connections, openRate } = each;
      const random = createRandom(1);
      const bodies = Array.from({ length: 512 }, () =>
        each.request((count) =>
          Array.from({ length: count }, () => ({
            id: String(Math.floor(random.uniform() * entityCount)),
          })),
        ),
      );
      const requests = bodies.map((body) => post("/v1/features", body));
      const answerBytes = await answerLength(server.port, requests[0] as Buffer);
      const targets = {
        figure: { port: server.port, requests },
        limit: { port: bare.port, requests: bodies.map((body) => post(`/${answerBytes}`, body)) },
      };
      const measure = (process: Server, target: Target) => async (): Promise<Measured> => {
        const before = process.cpuUs();
        const closed = await closedLoop(target, { connections, seconds });
        const usedUs = process.cpuUs() - before;
        const open =
          openRate === undefined
            ? closed
            : await openLoop(target, { rate: openRate, connections: 64, seconds });
        const count = closed.latenciesMs.length;
        return {
          rate: count / closed.seconds,
          cpuUs: usedUs / count,
          cores: usedUs / 1e6 / closed.seconds,
          p50Ms: percentile(open, 0.5),
          p99Ms: percentile(open, 0.99),
        };
      };
      const measured = await progress.step(each.name, (detail) =>
        measurePairs(pairs, detail, {
          figure: measure(server, targets.figure),
          limit: measure(bare, targets.limit),
        }),
      );
      const sides = (of: (one: Measured) => number): Sides<number>[] =>
        measured.map(({ figure, limit }) => ({ figure: of(figure), limit: of(limit) }));
      const medians = (of: (one: Measured) => number) => ({
        figure: round(median(measured.map(({ figure }) => of(figure)))),
        limit: round(median(measured.map(({ limit }) => of(limit)))),
      });
      const common = { bench: "online", rows: entityCount };
      yield lineOf(
        {
          ...common,
          case: each.name,
          unit: "requests/s",
          target: { min: each.min },
          config: {
            connections,
            answer_bytes: answerBytes,
            row_bytes: rowBytes,
            cpu_us: medians((one) => one.cpuUs),
            server_cores: medians((one) => one.cores),
            requests_per_core: medians((one) => 1e6 / one.cpuUs),
          },
        },
        sides((one) => one.rate),
      );
      if (openRate === undefined) continue;
      for (const [name, max, of] of [
        ["p50", 1.3, (one: Measured) => one.p50Ms],
        ["p99", 1.5, (one: Measured) => one.p99Ms],
      ] as const)
        yield lineOf(
          {
            ...common,
            case: `${each.name}, ${name}`,
            unit: "ms",
            target: { max },
            config: { requests_per_second: openRate },
          },
          sides(of),
        );
    }
  } finally {
    await Promise.all([server.stop(), bare.stop()]);
  }
}

/** Materializes the entities, and writes a plain key of as many bytes for each; returns the bytes. */
export async function fill(environment: Environment): Promise<number> {
  const { folder, settings } = environment;
  const pattern = await writeDataSet(folder, { kind: "a", rows: entityCount, files: 1 });
  const request = { view: "absences", end: "2026-01-01T00:00:00.000Z" };
  await materializeDirectly(environment, catalogue, { absences: pattern }, request);
  const bytes = await valueBytes(environment, "absences");
  await writePlainKeys(settings.redisUrl, entityCount, bytes);
  return bytes;
}

/** Bytes of the body that answers a request. */
function answerLength(port: number, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(request));
    socket.on("error", reject).on("data", (chunk) => {
      text += chunk.toString("latin1");
      const length = /^HTTP\/1.1 200[^]*\r\ncontent-length: (\d+)\r\n/i.exec(text)?.[1];
      if (length === undefined) return reject(new Error(text));
      resolve(Number(length));
      socket.destroy();
    });
  });
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
