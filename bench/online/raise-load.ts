/** The case of `online` that raises the load until the answers are late; plot-latency.ts draws it. */
import type { Progress } from "../../cli/progress.ts";
import { openLoop, percentile, type Target } from "../load.ts";
import type { Site } from "./site.ts";
import { openConnections, targetsOf } from "./http.ts";
import { type BenchOptions, measurePairs, type Sides } from "../pairs.ts";
import { type Line, lineOf, median, rounded } from "../report.ts";

/** Latencies at one rate, in milliseconds. */
export interface CurvePoint {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
}

/** From the least rate, each is so many times the one before. */
const [leastRate, factor, steps] = [1000, 1.2, 20];
const secondsEach = 3;
/** A rate is held while this is the latency of 99 of 100 requests. */
const heldMs = 10;
/** More than this for half of them, and no higher rate is tried. */
const saturatedMs = 50;

export async function* latencyOverLoad(
  site: Site,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const targets = await targetsOf(site, {
    request: (draw) => ({ service: "model_x", entities: draw(1) }),
    limit: "bare",
  });
  const climb = (target: Target) => () => climbOnce(target, secondsEach / scale);
  const measured = await progress.step("latency over load", (detail) =>
    measurePairs(
      pairs,
      detail,
      { figure: climb(targets.figure), limit: climb(targets.limit) },
      { warmUp: false },
    ),
  );
  const curve: Sides<CurvePoint[]> = {
    figure: medianCurve(measured.map(({ figure }) => figure)),
    limit: medianCurve(measured.map(({ limit }) => limit)),
  };
  yield lineOf(
    {
      bench: "online",
      case: `1 entity, model_x from the store, open loop, highest rate with p99 ≤ ${heldMs} ms`,
      unit: "requests/s",
      target: { min: 0.75 },
      rows: site.entities,
      config: { connections: openConnections, seconds_each: secondsEach, curve },
    },
    measured.map(({ figure, limit }) => ({ figure: heldRate(figure), limit: heldRate(limit) })),
  );
}

async function climbOnce(target: Target, seconds: number): Promise<CurvePoint[]> {
  const points: CurvePoint[] = [];
  for (let step = 0; step < steps; step++) {
    const rate = Math.round(leastRate * factor ** step);
    const load = await openLoop(target, { rate, connections: openConnections, seconds });
    points.push({ rate, p50: percentile(load, 0.5), p99: percentile(load, 0.99) });
    if (percentile(load, 0.5) > saturatedMs) break;
  }
  return points;
}

/** The highest rate that was held; the least one counts, whatever its latency. */
function heldRate(points: readonly CurvePoint[]): number {
  const held = points.filter(({ p99 }) => p99 <= heldMs).map(({ rate }) => rate);
  return Math.max(leastRate, ...held);
}

/** The median at each rate that most climbs have reached. */
function medianCurve(climbs: readonly (readonly CurvePoint[])[]): CurvePoint[] {
  const points: CurvePoint[] = [];
  for (let step = 0; step < steps; step++) {
    const reached = climbs.flatMap((climb) => climb[step] ?? []);
    const [first] = reached;
    if (first === undefined || reached.length * 2 < climbs.length) break;
    points.push({
      rate: first.rate,
      p50: rounded(median(reached.map(({ p50 }) => p50))),
      p99: rounded(median(reached.map(({ p99 }) => p99))),
    });
  }
  return points;
}
