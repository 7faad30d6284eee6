/** Which generation of each interval a publish is made of, and how that is kept in little space. */
import { formatInterval, parseInterval } from "../../engine/calendar/interval.ts";

/** A generation for each interval, by `formatInterval`. */
export type Generations = Readonly<Record<string, number>>;

/** Intervals of one length and generation, each where the one before ends: a line for a whole grid. */
export type Stretch = readonly [start: string, lengthMs: number, count: number, generation: number];

/** As stretches, by their starts. */
export function toStretches(generations: Generations): Stretch[] {
  const intervals = Object.entries(generations)
    .map(([text, generation]) => ({ ...parseInterval(text), generation }))
    .sort((a, b) => a.startMs - b.startMs || a.endMs - b.endMs);
  const found: { startMs: number; lengthMs: number; count: number; generation: number }[] = [];
  for (const { startMs, endMs, generation } of intervals) {
    const last = found.at(-1);
    const lengthMs = endMs - startMs;
    const isNext =
      last?.generation === generation &&
      last.lengthMs === lengthMs &&
      last.startMs + last.count * lengthMs === startMs;
    if (isNext) last.count++;
    else found.push({ startMs, lengthMs, count: 1, generation });
  }
  return found.map(({ startMs, lengthMs, count, generation }) => [
    new Date(startMs).toISOString(),
    lengthMs,
    count,
    generation,
  ]);
}

/** What `toStretches` was made of. */
export function fromStretches(stretches: readonly Stretch[]): Generations {
  return Object.fromEntries(
    stretches.flatMap(([start, lengthMs, count, generation]) =>
      Array.from({ length: count }, (_, i): [string, number] => {
        const startMs = Date.parse(start) + i * lengthMs;
        return [formatInterval({ startMs, endMs: startMs + lengthMs }), generation];
      }),
    ),
  );
}
