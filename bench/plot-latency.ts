/**
 * `node --import tsx bench/plot-latency.ts LINES.jsonl > PLOT.svg`: latency over load, as `online`
 * measured it, of the service and of the bare route.
 */
import { readFileSync } from "node:fs";
import type { CurvePoint } from "./online/raise-load.ts";
import type { Sides } from "./pairs.ts";
import type { Line } from "./report.ts";

const [left, top, width, height] = [60, 40, 560, 300];
/** Both scales are logarithmic: milliseconds, and requests a second. */
const [leastMs, mostMs] = [0.1, 1000];

const curve = readFileSync(process.argv[2] ?? 0, "utf8")
  .split("\n")
  .filter((text) => text !== "")
  .map((text) => (JSON.parse(text) as Line).config["curve"] as Sides<CurvePoint[]> | undefined)
  .find((found) => found !== undefined);
if (curve === undefined) throw new Error("no line has a curve; measure `online` first");
const rates = [...curve.figure, ...curve.limit].map(({ rate }) => rate);
const [leastRate, mostRate] = [Math.min(...rates), Math.max(...rates)];

function x(rate: number): number {
  return left + (width * Math.log(rate / leastRate)) / Math.log(mostRate / leastRate);
}

function y(ms: number): number {
  const clamped = Math.min(mostMs, Math.max(leastMs, ms));
  return top + height * (1 - Math.log(clamped / leastMs) / Math.log(mostMs / leastMs));
}

const text = (atX: number, atY: number, words: string, rest = "") =>
  `<text x="${atX.toFixed(1)}" y="${atY.toFixed(1)}" ${rest}>${words}</text>`;

const grid = [0.1, 1, 10, 100, 1000].map(
  (ms) =>
    `<line x1="${left}" y1="${y(ms)}" x2="${left + width}" y2="${y(ms)}" stroke="#ddd"/>` +
    text(left - 8, y(ms) + 4, `${ms} ms`, 'text-anchor="end"'),
);
const ticks = [1000, 2000, 4000, 8000, 16_000, 32_000]
  .filter((rate) => rate >= leastRate && rate <= mostRate)
  .map((rate) => text(x(rate), top + height + 18, String(rate), 'text-anchor="middle"'));

const styles = [
  { side: "figure", of: "p50", words: "service, p50", stroke: "#2a7f62", dash: "" },
  { side: "figure", of: "p99", words: "service, p99", stroke: "#2a7f62", dash: "5 4" },
  { side: "limit", of: "p50", words: "bare route, p50", stroke: "#888", dash: "" },
  { side: "limit", of: "p99", words: "bare route, p99", stroke: "#888", dash: "5 4" },
] as const;
const lines = styles.map(({ side, of, words, stroke, dash }, i) => {
  const points = curve[side].map(
    (point) => `${x(point.rate).toFixed(1)},${y(point[of]).toFixed(1)}`,
  );
  const style = `fill="none" stroke="${stroke}" stroke-width="2" stroke-dasharray="${dash}"`;
  const atX = left + 20 + i * 140;
  return (
    `<polyline points="${points.join(" ")}" ${style}/>` +
    `<line x1="${atX}" y1="22" x2="${atX + 24}" y2="22" ${style}/>` +
    text(atX + 30, 26, words)
  );
});

process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 30}" height="${top + height + 50}" ` +
    `font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>` +
    [...grid, ...ticks, ...lines].join("\n") +
    `${text(left + width / 2, top + height + 38, "requests a second, arriving at a constant rate", 'text-anchor="middle"')}</svg>\n`,
);
