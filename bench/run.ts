/** `npm run --silent bench -- NAME`: measures, and prints one line of JSON for each result. */
import { Command } from "commander";
import { messageOf } from "../engine/errors.ts";
import { openProgress } from "../dev/progress.ts";
import { benchBackfill } from "./backfill.ts";

interface Options {
  readonly partitions: string;
  readonly pairs: string;
}

const command = new Command("npm run --silent bench --")
  .description(
    "Measures against a limit of the same run. `backfill`: intervals/s of a backfill over intervals " +
      "without rows, against empty child workflows with as many empty activities. Prints one line " +
      "of JSON; progress goes to standard error.",
  )
  .argument("<name>", "backfill")
  .option("--partitions <count>", "intervals of each measurement", "2000")
  .option("--pairs <count>", "how often figure and limit are measured in turn", "3")
  .action(async (name: string, { partitions, pairs }: Options) => {
    if (name !== "backfill") throw new Error(`no benchmark is called "${name}"; give backfill`);
    const options = { partitions: Number(partitions), pairs: Number(pairs) };
    process.stdout.write(`${await benchBackfill(options, openProgress())}\n`);
  });

try {
  await command.parseAsync();
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = 1;
}
// A connection that waits to retry would keep the process alive.
process.stdout.write("", () => process.exit());
