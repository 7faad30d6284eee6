/** `npm run --silent bench -- [NAME]`: measures, and prints a line of JSON for each case. */
import { DefaultLogger, Runtime } from "@temporalio/worker";
import { Command } from "commander";
import { openProgress, type Progress } from "../dev/progress.ts";
import { messageOf } from "../engine/errors.ts";
import { benchBackfill } from "./backfill.ts";
import { benchBatch } from "./batch.ts";
import { type Environment, openEnvironment } from "./environment.ts";
import { benchMaterialize } from "./materialize.ts";
import { benchMemory } from "./memory.ts";
import type { BenchOptions } from "./pairs.ts";
import { type Line, tableOf } from "./report.ts";
import { benchShapes } from "./shapes.ts";
import { benchWorkflow } from "./workflow.ts";

type Bench = (
  environment: Environment,
  options: BenchOptions,
  progress: Progress,
) => AsyncIterable<Line>;

const benches: Readonly<Record<string, Bench>> = {
  batch: benchBatch,
  materialize: benchMaterialize,
  memory: benchMemory,
  workflow: benchWorkflow,
  shapes: benchShapes,
  backfill: benchBackfill,
};

interface Options {
  readonly pairs: string;
  readonly scale: string;
  readonly json?: true;
}

const names = Object.keys(benches).join(", ");
const command = new Command("npm run --silent bench --")
  .description(
    "Measures against limits of the same run and prints one line of JSON for each case; progress " +
      "goes to standard error. Without a name it runs all and shows a table. docs/benchmarks.md " +
      "says what each measures.",
  )
  .argument("[names...]", `${names}; all by default`)
  .option("--pairs <count>", "how often figure and limit are measured in turn", "7")
  .option("--scale <divisor>", "divides the rows of every case, to try a benchmark out", "1")
  .option("--json", "lines of JSON, also where all are run")
  .action(async (wanted: readonly string[], { pairs, scale, json }: Options) => {
    const unknown = wanted.find((name) => !(name in benches));
    if (unknown !== undefined)
      throw new Error(`no benchmark is called "${unknown}"; give one of ${names}`);
    const options = { pairs: countOf("--pairs", pairs), scale: countOf("--scale", scale) };
    const showsTable = wanted.length === 0 && json !== true;
    const progress = openProgress();
    const lines: Line[] = [];
    for (const name of wanted.length === 0 ? Object.keys(benches) : wanted) {
      const environment = await openEnvironment(progress);
      try {
        for await (const line of (benches[name] as Bench)(environment, options, progress)) {
          lines.push(line);
          if (!showsTable) process.stdout.write(`${JSON.stringify(line)}\n`);
        }
      } finally {
        await environment.stop();
      }
    }
    if (showsTable) process.stdout.write(`${tableOf(lines)}\n`);
  });

function countOf(option: string, text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new Error(`${option} is "${text}"; give a whole number from 1`);
}

Runtime.install({ logger: new DefaultLogger("ERROR") });
try {
  await command.parseAsync();
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
// A connection that waits to retry would keep the process alive.
process.stdout.write("", () => process.exit());
