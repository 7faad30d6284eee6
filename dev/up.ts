/**
 * `npm run dev`: starts Redis and Temporal where none is given, and stays until Ctrl-C, or until one
 * of them ends by itself.
 */
import { resolve } from "node:path";

import { Command } from "commander";

import { runCommand } from "./command.ts";
import { stayWhile } from "./processes.ts";
import { startServices, type Services } from "./services.ts";

interface UpOptions {
  readonly data: string;
  readonly json?: true;
}

const command = new Command("npm run dev --")
  .description(
    "Starts Redis and a Temporal server where REDIS_URL and TEMPORAL_ADDRESS give none, prints " +
      "their addresses as lines for a shell, and stays until Ctrl-C. Where one of them ends by " +
      "itself, it says so, stops the other, and ends with exit code 1; without Temporal's UI it " +
      "goes on.",
  )
  .option("--data <directory>", "keeps the data of both", ".onceflow/dev")
  .option("--json", "prints the addresses as one line of JSON")
  .action(up);

await runCommand(command);

async function up({ data, json }: UpOptions): Promise<void> {
  const services = await startServices({ dataDir: resolve(data) });
  process.stdout.write(json === true ? `${asJson(services)}\n` : asShell(services));
  if (services.processes.length === 0) {
    process.stderr.write("Nothing to start: both addresses were given.\n");
    return;
  }
  process.stderr.write("Press Ctrl-C to stop them.\n");
  await stayWhile(services.processes);
}

function asShell(services: Services): string {
  const lines = [
    `export REDIS_URL=${services.redisUrl}`,
    `export TEMPORAL_ADDRESS=${services.temporalAddress}`,
  ];
  if (services.temporalUiUrl !== undefined) lines.push(`# Temporal UI: ${services.temporalUiUrl}`);
  return `${lines.join("\n")}\n`;
}

function asJson(services: Services): string {
  const { redisUrl, temporalAddress, temporalUiUrl, standaloneActivities, owned } = services;
  return JSON.stringify({ redisUrl, temporalAddress, temporalUiUrl, standaloneActivities, owned });
}
