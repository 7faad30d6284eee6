/** `training-set`: the features of a service for every row of its source. */
import type { Command } from "commander";
import { serviceNamed } from "../../engine/catalogue.ts";
import { endsOf, interval } from "../../engine/calendar/interval.ts";
import type { TrainingSetInput } from "../../workflows/contract.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  type JsonOption,
  type Reply,
  usageError,
  openRuns,
} from "../context.ts";
import { cancelLine, followRun } from "../follow.ts";
import { clean, fields } from "../table.ts";

interface Options extends JsonOption {
  readonly start?: string;
  readonly end?: string;
  readonly snapshot?: string;
}

/** Adds the command. */
export function addTrainingSet(program: Command, context: Context): void {
  const command = program
    .command("training-set")
    .argument("<service>", "name of the feature service")
    .summary("compute a service's features for every row of its source, as files")
    .description(
      "Computes the features of a service for every row of its source, on a worker, and writes " +
        "them as parquet and CSV with a manifest. All rows share one aggregate snapshot.",
    )
    .option(
      "--start <time>",
      "first event time to take, ISO 8601 in UTC (default: all rows of a full refresh)",
    )
    .option("--end <time>", "first event time after it, ISO 8601 in UTC; goes with --start")
    .option("--snapshot <id>", "aggregate snapshot to use (default: the latest)")
    .action((service: string, options: Options) =>
      context.answer(options, () => trainingSet(context, service, options)),
    );
  finishCommand(command, [
    "training-set absenteeism_training",
    "training-set absenteeism_training --snapshot 0d4f… --json",
  ]);
}

async function trainingSet(context: Context, name: string, options: Options): Promise<Reply> {
  const { start, end, snapshot } = options;
  if ((start === undefined) !== (end === undefined))
    throw usageError("--start and --end go together: give both, or neither.");
  const service = serviceNamed(await context.catalogue(), name);
  const input: TrainingSetInput = {
    service: service.name,
    fingerprint: service.fingerprint,
    ...(start !== undefined && end !== undefined ? endsOf(interval(start, end)) : {}),
    ...(snapshot === undefined ? {} : { snapshot }),
  };
  const runs = await openRuns(context.settings());
  const startedAtMs = Date.now();
  const run = await runs.startTrainingSet(input);
  const { workflowId, runId } = run;
  const followed = await followRun(context, runs.client, run, {
    title: `training set of ${name}`,
    quiet: options.json === true,
    startedAtMs,
  });
  const ids = { workflow_id: workflowId, run_id: runId };
  if (followed.outcome === "interrupted")
    return {
      data: { service: name, outcome: "started", ...ids },
      text: () =>
        [
          `started the training set of ${name}`,
          fields([
            ["workflow", workflowId],
            ["cancel it", cancelLine(run)],
          ]),
        ].join("\n"),
      exitCode: exitCodes.interrupted,
    };
  const { result, seconds } = followed;
  return {
    data: { ...result, ...ids, seconds },
    text: () =>
      [
        `wrote the training set of ${name}`,
        fields([
          ["rows", `${result.rows}`],
          ["path", result.path],
          ["snapshot", result.snapshot ?? "none"],
          ["fingerprint", result.fingerprint],
          ["workflow", workflowId],
          ["seconds", seconds.toFixed(1)],
        ]),
        ...(result.warnings ?? []).map((warning) => `! ${clean(warning)}`),
      ].join("\n"),
  };
}
