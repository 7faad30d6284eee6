/** `npm run example-data`: writes the examples' files, so that workers started by hand have data. */
import { Command } from "commander";
import { readSettings } from "../settings.ts";
import { runCommand, toCount } from "./command.ts";
import { writeAbsences, writeBadges } from "./example-data.ts";

const msPerDay = 86_400_000;

interface ExampleOptions {
  readonly rows: number;
  readonly days: number;
  readonly json?: true;
}

const command = new Command("npm run example-data --")
  .description(
    "Writes seeded absences.csv and the badge files of the last days to the data folder " +
      "(ONCEFLOW_DATA, .onceflow/data by default).",
  )
  .option("--rows <n>", "rows of absences", toCount, 10_000)
  .option("--days <n>", "days of badges, the last of them yesterday", toCount, 3)
  .option("--json", "prints what was written as one line of JSON")
  .action(({ rows, days, json }: ExampleOptions) => {
    const { dataDir } = readSettings();
    const absences = writeAbsences(dataDir, rows);
    const firstDayMs = (Math.floor(Date.now() / msPerDay) - days) * msPerDay;
    writeBadges(dataDir, firstDayMs, days);
    const start = new Date(firstDayMs).toISOString().slice(0, 10);
    const written = { absences, badges: `${dataDir}/badges`, badge_days: days, start };
    process.stdout.write(
      json === true
        ? `${JSON.stringify(written)}\n`
        : `Wrote ${absences} and ${days} days of ${written.badges} from ${start} on.\n`,
    );
  });

await runCommand(command);
