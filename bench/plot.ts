/** `node --import tsx bench/plot.ts LINES.jsonl > PLOT.svg`: the ratios of benchmarks, drawn. */
import { readFileSync } from "node:fs";
import { holds, type Line } from "./report.ts";

const rowHeight = 26;
const left = 430;
const width = 380;
/** Ratios are drawn on a logarithmic scale between these. */
const [least, most] = [0.1, 4];

const lines = readFileSync(process.argv[2] ?? 0, "utf8")
  .split("\n")
  .filter((text) => text !== "")
  .map((text) => JSON.parse(text) as Line);

function x(ratio: number): number {
  const clamped = Math.min(most, Math.max(least, ratio));
  return left + (width * Math.log(clamped / least)) / Math.log(most / least);
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

const height = 60 + lines.length * rowHeight;
const grid = [0.1, 0.2, 0.5, 1, 2, 4].map(
  (ratio) =>
    `<line x1="${x(ratio)}" y1="24" x2="${x(ratio)}" y2="${height - 30}" stroke="#ddd"/>` +
    `<text x="${x(ratio)}" y="${height - 14}" text-anchor="middle">${ratio}</text>`,
);
const bars = lines.map((line, i) => {
  const y = 36 + i * rowHeight;
  const [low, high] = line.ratio_range;
  const colour = holds(line) ? "#2a7f62" : "#b3452c";
  const target = "min" in line.target ? line.target.min : line.target.max;
  // The side of the target on which the ratio must be.
  const arrow = "min" in line.target ? "▸" : "◂";
  return (
    `<text x="${left - 12}" y="${y + 4}" text-anchor="end">${escape(`${line.bench}: ${line.case}`)}</text>` +
    `<line x1="${x(low)}" y1="${y}" x2="${x(high)}" y2="${y}" stroke="${colour}" stroke-width="3"/>` +
    `<circle cx="${x(line.ratio)}" cy="${y}" r="5" fill="${colour}"/>` +
    `<text x="${x(target)}" y="${y + 5}" text-anchor="middle" fill="#555">${arrow}</text>` +
    `<text x="${left + width + 12}" y="${y + 4}">${line.ratio}</text>`
  );
});
process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 70}" height="${height}" ` +
    `font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>` +
    `<text x="${left}" y="16">figure ÷ limit: median and range; the arrow is the target</text>` +
    `${[...grid, ...bars].join("\n")}</svg>\n`,
);
