/** The one line of JSON that a benchmark prints. */
import { cpus, totalmem } from "node:os";

/** Figure and limit are in the same unit and of the same run. */
export interface Pair {
  readonly figure: number;
  readonly limit: number;
}

/** What a benchmark measured. */
export interface Report {
  readonly bench: string;
  readonly case: string;
  readonly unit: string;
  readonly target: { readonly min: number } | { readonly max: number };
  readonly rows: number;
  readonly config: Readonly<Record<string, unknown>>;
}

/** The line: medians over the pairs, and the range of the ratios. */
export function reportLine(report: Report, pairs: readonly Pair[]): string {
  if (pairs.length === 0) throw new Error(`${report.bench}: a figure without a limit is no result`);
  const ratios = pairs.map(({ figure, limit }) => figure / limit).sort((a, b) => a - b);
  return JSON.stringify({
    ...report,
    figure: rounded(median(pairs.map(({ figure }) => figure))),
    limit: rounded(median(pairs.map(({ limit }) => limit))),
    ratio: rounded(median(ratios)),
    ratio_range: [ratios.at(0), ratios.at(-1)].map((ratio) => rounded(ratio ?? 0)),
    pairs: pairs.length,
    machine: {
      cpu: cpus()[0]?.model,
      cores: cpus().length,
      memory_gb: Math.round(totalmem() / 2 ** 30),
      node: process.version,
    },
  });
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = 0, high = 0] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return (low + high) / 2;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
