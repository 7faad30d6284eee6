/** `publish`: makes what is committed of a view what is served. */
import type { Command } from "commander";
import { viewNamed } from "../../engine/catalogue.ts";
import type { PublishInput } from "../../workflows/contract.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  type JsonOption,
  openRuns,
  type Reply,
  usageError,
} from "../context.ts";
import { cancelLine, followRun } from "../follow.ts";
import { publishFields } from "../publish-text.ts";
import { fields } from "../table.ts";

interface Options extends JsonOption {
  readonly whole?: true;
  readonly back?: string;
  readonly freeze?: string;
  readonly resume?: true;
}

/** Adds the command. */
export function addPublish(program: Command, context: Context): void {
  const command = program
    .command("publish")
    .argument("<view>", "name of the feature view")
    .summary("make what is committed of a view what is served")
    .description(
      "Makes what is committed of a view what is served, entities and aggregates together, on a " +
        "worker. Runs do so by themselves; this is for a view that was frozen, for going back to an " +
        "earlier publish, and for putting back at once what Redis has lost: it is made again from " +
        "the offline store alone. Each publish has a number: runs and this command print it, and " +
        "`status` shows that of the one that is served. Where --back is given none of them, the " +
        "error lists the newest.",
    )
    .option("--whole", "write every entity anew, not only those that have changed")
    .option("--back <publish>", "go back to an earlier publish, by its number, and freeze the view")
    .option("--freeze <reason>", "keep what is served as it is, until --resume")
    .option("--resume", "end a freeze, and publish what is committed")
    .action((view: string, options: Options) =>
      context.answer(options, () => publish(context, view, options)),
    );
  finishCommand(command, [
    "publish absences --back 41",
    'publish absences --freeze "wrong prices on 3 May"',
  ]);
}

async function publish(context: Context, name: string, options: Options): Promise<Reply> {
  const view = viewNamed(await context.catalogue(), name);
  const input: PublishInput = {
    view: view.name,
    fingerprint: view.fingerprint,
    definition: view.definition,
    ...requestOf(options),
  };
  const runs = await openRuns(context.settings());
  const startedAtMs = Date.now();
  const run = await runs.startPublish(input);
  const { workflowId, runId } = run;
  const ids = { workflow_id: workflowId, run_id: runId };
  const followed = await followRun(context, runs.client, run, {
    title: `publish ${name}`,
    quiet: options.json === true,
    startedAtMs,
  });
  if (followed.outcome === "interrupted")
    return {
      data: { view: name, outcome: "started", ...ids },
      text: () =>
        [
          `started to publish ${name}`,
          fields([
            ["workflow", workflowId],
            ["cancel it", cancelLine(run)],
          ]),
        ].join("\n"),
      exitCode: exitCodes.interrupted,
    };
  const { result, seconds } = followed;
  const words = {
    published: `published ${name}`,
    current:
      result.missing !== null && result.covered
        ? `${name} is published as far as it can be: nothing to do`
        : `${name} is published as it is committed: nothing to do`,
    frozen: `${name} is frozen`,
    nothing: `nothing of ${name} can be published yet`,
  };
  return {
    data: { ...result, ...ids, seconds },
    text: () =>
      [
        words[result.outcome],
        fields([
          ...publishFields(result),
          ["workflow", workflowId],
          ["seconds", seconds.toFixed(1)],
        ]),
      ].join("\n"),
  };
}

/** @throws a usage error for options that exclude each other */
function requestOf({ whole, back, freeze, resume }: Options): Partial<PublishInput> {
  if (resume === true && (back !== undefined || freeze !== undefined))
    throw usageError("--resume ends a freeze; --back and --freeze begin one. Give one of them.");
  if (freeze?.trim() === "")
    throw usageError("--freeze is empty; say why, for those who find the view frozen.");
  if (back !== undefined && !/^[1-9]\d{0,9}$/.test(back))
    throw usageError(`--back is "${back}"; it is the number of a publish, such as 41.`);
  return {
    ...(whole === true ? { whole } : {}),
    ...(back === undefined ? {} : { backTo: Number(back) }),
    ...(freeze === undefined ? {} : { freeze }),
    ...(resume === true ? { resume } : {}),
  };
}
