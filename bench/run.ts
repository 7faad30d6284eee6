/** `npm run --silent bench -- [NAME]`: measures, and prints a line of JSON for each case. */
import { DefaultLogger, Runtime } from "@temporalio/worker";
import { Command } from "commander";
import { openProgress, type Progress } from "../cli/progress.ts";
import { runCommand, toCount } from "../dev/command.ts";
import { didYouMean } from "../engine/errors.ts";
import { benchBackfill } from "./backfill.ts";
import { benchBatch } from "./batch.ts";
import { type Environment, openEnvironment } from "./own-store.ts";
import { benchMaterialize } from "./materialize.ts";
import { benchMemory } from "./memory.ts";
import { benchOnline } from "./online/online.ts";
import type { BenchOptions } from "./pairs.ts";
import { type Line, tableOf } from "./report.ts";
import { benchShapes } from "./shapes.ts";
import { benchWorkflow } from "./workflow.ts";

type Bench = (
  environment: Environment,
  options: BenchOptions,
  progress: Progress,
) => AsyncIterable<Line>;

const benches: Readonly<Record<string, { readonly run: Bench; readonly about: string }>> = {
  batch: { run: benchBatch, about: "scan and compute of features, pass 1; 2 min" },
  materialize: {
    run: benchMaterialize,
    about: "rows/s into Redis, from the file to the publish; 5 min",
  },
  memory: { run: benchMemory, about: "bytes a row, peak memory, event loop; 20 min" },
  workflow: { run: benchWorkflow, about: "through Temporal against direct calls; 12 min" },
  shapes: { run: benchShapes, about: "wide, skewed and long data; 25 min" },
  online: {
    run: benchOnline,
    about: "rate and latency by HTTP, embedded and through Temporal; 20 min",
  },
  backfill: { run: benchBackfill, about: "intervals/s of a backfill; 20 min" },
};

interface Options {
  readonly pairs: number;
  readonly scale: number;
  readonly json?: true;
}

const names = Object.keys(benches).join(", ");
const command = new Command("npm run --silent bench --")
  .description(
    "Measures against limits of the same run and prints one line of JSON for each case; progress " +
      "goes to standard error. Without a name it runs all and shows a table. docs/benchmarks.md " +
      "says what each measures.",
  )
  .argument("[names...]", "those below; all by default")
  .option("--pairs <count>", "how often figure and limit are measured in turn", toCount, 7)
  .option("--scale <divisor>", "divides the rows of every case, to try a benchmark out", toCount, 1)
  .option("--json", "lines of JSON, also where all are run")
  .addHelpText(
    "after",
    `
Benchmarks:
${Object.entries(benches)
  .map(([name, { about }]) => `  ${name.padEnd(12)} ${about}`)
  .join("\n")}

Examples:
  npm run bench
  npm run --silent bench -- batch materialize
  npm run --silent bench -- workflow --scale 100 --pairs 1`,
  )
  .action(async (wanted: readonly string[], { pairs, scale, json }: Options) => {
    const unknown = wanted.find((name) => !(name in benches));
    if (unknown !== undefined)
      command.error(
        `no benchmark is called "${unknown}"; give one of ${names}.${didYouMean(unknown, Object.keys(benches))}`,
      );
    const showsTable = wanted.length === 0 && json !== true;
    const progress = openProgress();
    const lines: Line[] = [];
    for (const name of wanted.length === 0 ? Object.keys(benches) : wanted) {
      const bench = benches[name];
      if (bench === undefined) continue;
      const environment = await openEnvironment(progress);
      try {
        for await (const line of bench.run(environment, { pairs, scale }, progress)) {
          lines.push(line);
          // Of fewer rows, start-up is most of it: no figure to judge by.
          const scaled = scale > 1 ? { scale } : {};
          if (!showsTable) process.stdout.write(`${JSON.stringify({ ...line, ...scaled })}\n`);
        }
      } finally {
        await environment.stop();
      }
    }
    if (showsTable) process.stdout.write(`${tableOf(lines)}\n`);
  });

Runtime.install({ logger: new DefaultLogger("ERROR") });
await runCommand(command);
// A connection that waits to retry would keep the process alive.
process.stdout.write("", () => process.exit());
