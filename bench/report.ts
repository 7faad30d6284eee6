/** The one line of JSON that a benchmark prints for each case. */
import { cpus, totalmem } from "node:os";

/** Figure and limit are in the same unit and of the same run. */
export interface Pair {
  readonly figure: number;
  readonly limit: number;
}

/** What a case measured. */
export interface Report {
  readonly bench: string;
  readonly case: string;
  readonly unit: string;
  /**
   * What the ratio of figure and limit must be; or the most that the figure itself may be, as
   * `budget`, or the least, as `floor`.
   */
  readonly target:
    | { readonly min: number }
    | { readonly max: number }
    | { readonly budget: number }
    | { readonly floor: number };
  readonly rows: number;
  readonly config: Readonly<Record<string, unknown>>;
}

/** A case with its figures: medians over the pairs, and the range of the ratios. */
export interface Line extends Omit<Report, "target"> {
  readonly figure: number;
  readonly limit: number;
  readonly ratio: number;
  readonly ratio_range: readonly [least: number, most: number];
  readonly pairs: number;
  /** Each pair as it was measured, in this order. */
  readonly measured: readonly (readonly [figure: number, limit: number])[];
  readonly target: { readonly min: number } | { readonly max: number };
  readonly budget?: number;
  readonly floor?: number;
  readonly machine: Readonly<Record<string, unknown>>;
}

/** @throws where a figure comes without a limit that was measured beside it */
export function lineOf({ target, ...report }: Report, pairs: readonly Pair[]): Line {
  const isMeasured = ({ figure, limit }: Pair) => figure > 0 && limit > 0 && Number.isFinite(limit);
  if (pairs.length === 0 || !pairs.every(isMeasured))
    throw new Error(`${report.bench}, ${report.case}: a figure without a limit is no result`);
  const ratios = pairs.map(({ figure, limit }) => figure / limit).sort((a, b) => a - b);
  const limit = median(pairs.map((pair) => pair.limit));
  return {
    ...report,
    figure: rounded(median(pairs.map(({ figure }) => figure))),
    limit: rounded(limit),
    ratio: rounded(median(ratios)),
    ratio_range: [rounded(ratios[0] ?? NaN), rounded(ratios.at(-1) ?? NaN)],
    pairs: pairs.length,
    measured: pairs.map((pair) => [rounded(pair.figure), rounded(pair.limit)]),
    ...targetOf(target, limit),
    machine: {
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      memory_gb: Math.round(totalmem() / 2 ** 30),
      node: process.version,
    },
  };
}

/** The target as a ratio, and the bound on the figure that it stands for. */
function targetOf(
  target: Report["target"],
  limit: number,
): Pick<Line, "target" | "budget" | "floor"> {
  if ("budget" in target)
    return { target: { max: rounded(target.budget / limit) }, budget: rounded(target.budget) };
  if ("floor" in target)
    return { target: { min: rounded(target.floor / limit) }, floor: target.floor };
  return { target };
}

/** Whether the ratio is what it must be, or the figure where the bound is on that. */
export function holds({ figure, ratio, target, budget, floor }: Line): boolean {
  if (budget !== undefined) return figure <= budget;
  if (floor !== undefined) return figure >= floor;
  return "min" in target ? ratio >= target.min : ratio <= target.max;
}

/** A table of lines for people. */
export function tableOf(lines: readonly Line[]): string {
  const head = ["bench", "case", "figure", "limit", "unit", "ratio", "range", "target", ""];
  const rows = lines.map((line) => [
    line.bench,
    line.case,
    String(line.figure),
    String(line.limit),
    line.unit,
    String(line.ratio),
    line.ratio_range.join(" – "),
    "min" in line.target ? `≥ ${line.target.min}` : `≤ ${line.target.max}`,
    holds(line) ? "✓" : "✗",
  ]);
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]?.length ?? 0)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** The middle of some values. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = 0, high = 0] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return (low + high) / 2;
}

/** Four digits: what is measured has no more. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
