/** `npm run example-data`: writes the examples' files, so that workers started by hand have data. */
import { Command } from "commander";
import { readSettings } from "../settings.ts";
import { writeAbsences, writeBadges } from "./example-data.ts";

const msPerDay = 86_400_000;

interface ExampleOptions {
  readonly rows: string;
  readonly days: string;
  readonly json?: true;
}

await new Command("npm run example-data --")
  .description(
    "Writes seeded absences.csv and the badge files of the last days to the data folder " +
      "(ONCEFLOW_DATA, .onceflow/data by default).",
  )
  .option("--rows <n>", "rows of absences", "10000")
  .option("--days <n>", "days of badges, the last of them yesterday", "3")
  .option("--json", "prints what was written as one line of JSON")
  .action(({ rows, days, json }: ExampleOptions) => {
    const { dataDir } = readSettings();
    const badgeDays = Number(days);
    if (!Number.isInteger(badgeDays) || badgeDays < 1)
      throw new Error(`--days is "${days}"; give a whole number of at least 1`);
    const absences = writeAbsences(dataDir, Number(rows));
    const firstDayMs = (Math.floor(Date.now() / msPerDay) - badgeDays) * msPerDay;
    writeBadges(dataDir, firstDayMs, badgeDays);
    const start = new Date(firstDayMs).toISOString().slice(0, 10);
    const written = { absences, badges: `${dataDir}/badges`, badge_days: badgeDays, start };
    process.stdout.write(
      json === true
        ? `${JSON.stringify(written)}\n`
        : `Wrote ${absences} and ${badgeDays} days of ${written.badges} from ${start} on.\n`,
    );
  })
  .parseAsync();
