/** `sweep`: removes what definitions that nobody uses any more have left in Redis. */
import type { Command } from "commander";
import { parseSpan } from "../../../engine/calendar/duration.ts";
import { invocation } from "../../../engine/invocation.ts";
import { emptyRegistry, registryOf } from "../../../engine/registry.ts";
import { readRegistry } from "../../../store/registry.ts";
import { type Leftover, planSweep, sweep } from "../../../store/sweep.ts";
import {
  type Context,
  finishCommand,
  type JsonOption,
  usageError,
  withRedis,
} from "../../context.ts";
import { table } from "../../table.ts";
import type { Paint } from "../../terminal.ts";
import { showTime } from "../../../engine/calendar/interval.ts";
import { countOf } from "../../../engine/words.ts";

interface Options extends JsonOption {
  readonly yes?: true;
  readonly olderThan: string;
}

/** Adds the command. */
export function addSweep(program: Command, context: Context): void {
  const command = program
    .command("sweep")
    .summary("remove online rows of definitions that are no longer used")
    .description(
      "Lists what Redis holds of definitions that are neither those of this build nor those applied " +
        "last, and under which no run ended for a week: rows, ledger entries, partial states. With " +
        "--yes it removes them. A build that was made of them must then be filled again before it " +
        "can be deployed, and one that still serves answers STORE_LOST. Offline rows stay.",
    )
    .option("--yes", "do it; without it, nothing is removed")
    .option("--older-than <span>", "how long ago their last run must have ended, or 0", "7 days")
    .action((options: Options) => context.answer(options, () => run(context, options)));
  finishCommand(command, ["sweep", 'sweep --yes --older-than "1 day"']);
}

async function run(context: Context, { yes, olderThan }: Options) {
  const olderThanMs = parseSpan(olderThan);
  if (olderThanMs === undefined)
    throw usageError(
      `--older-than is "${olderThan}"; give a whole number and a unit, as "7 days", or 0.`,
    );
  const settings = context.settings();
  const own = registryOf(await context.catalogue());
  const swept = yes === true;
  const plan = await withRedis(settings, "writing", async (redis) => {
    const applied = await readRegistry(redis, settings);
    if (swept && applied === emptyRegistry)
      throw usageError(
        `nothing was applied here yet, so nobody can tell what is in use. Run ${invocation} apply from the build that is deployed.`,
      );
    const rule = { kept: [own, applied], olderThanMs, nowMs: Date.now() };
    const found = await planSweep(redis, rule, settings);
    if (swept) await sweep(redis, found, settings);
    return found;
  });
  const { leftovers, recent, views } = plan;
  const keys = views.reduce((sum, view) => sum + view.keys.length + view.fields.length, 0);
  return {
    data: { swept, leftovers, recent, ledger_entries: keys },
    text: () =>
      [
        ...(views.length === 0
          ? ["Nothing to sweep."]
          : [
              ...(leftovers.length > 0 ? [leftoverTable(leftovers, context.paint)] : []),
              `with ${countOf(keys, "key")} of the ledger`,
              swept
                ? "Removed."
                : `Nothing was removed. Do it: ${invocation} sweep --yes --older-than "${olderThan}"`,
            ]),
        ...(recent.length === 0
          ? []
          : [
              "",
              `left alone, since a run ended within ${olderThan} (see --older-than):`,
              leftoverTable(recent, context.paint),
            ]),
      ].join("\n"),
  };
}

function leftoverTable(leftovers: readonly Leftover[], paint: Paint): string {
  return table(
    ["view", "definitions", "rows", "newest interval ends", "last run"],
    leftovers.map(({ view, fingerprint, rows, newestEnd, lastRun }) => [
      view,
      fingerprint.slice(0, 12),
      String(rows),
      newestEnd === null ? "" : showTime(newestEnd),
      lastRun === null ? "" : showTime(lastRun.replace(/\.\d+Z$/, "Z")),
    ]),
    paint,
  );
}
