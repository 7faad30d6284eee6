/** `sweep`: removes what definitions that nobody uses any more have left in Redis. */
import type { Command } from "commander";
import { registryOf } from "../engine/registry.ts";
import { readRegistry } from "../store/registry.ts";
import { planSweep, sweep } from "../store/sweep.ts";
import { type Context, finishCommand, invocation, type JsonOption, withRedis } from "./context.ts";
import { countOf, table } from "./table.ts";
import { showTime } from "./views.ts";

interface Options extends JsonOption {
  readonly yes?: true;
}

/** Adds the command. */
export function addSweep(program: Command, context: Context): void {
  const command = program
    .command("sweep")
    .summary("remove online rows of definitions that are no longer used")
    .description(
      "Lists what Redis holds of definitions that are neither those of this build nor those applied " +
        "last: rows, ledger entries, partial states. With --yes it removes them; a build that was " +
        "made of them can then no longer be deployed as a roll-back without filling it again. " +
        "Offline rows stay.",
    )
    .option("--yes", "do it; without it, nothing is removed")
    .action((options: Options) =>
      context.answer(options, async () => {
        const settings = context.settings();
        const own = registryOf(await context.catalogue());
        const swept = options.yes === true;
        const plan = await withRedis(settings, "writing", async (redis) => {
          const found = await planSweep(
            redis,
            [own, await readRegistry(redis, settings)],
            settings,
          );
          if (swept) await sweep(redis, found, settings);
          return found;
        });
        const { leftovers } = plan;
        const nothing = leftovers.length + plan.keys.length + Object.keys(plan.fields).length === 0;
        return {
          data: { swept, leftovers, keys: plan.keys.length },
          text: () =>
            nothing
              ? "Nothing to sweep: Redis holds only what this build or the one applied last uses."
              : [
                  table(
                    ["view", "definitions", "rows", "newest interval ends"],
                    leftovers.map(({ view, fingerprint, rows, newestEnd }) => [
                      view,
                      fingerprint.slice(0, 12),
                      String(rows),
                      newestEnd === null ? "" : showTime(newestEnd),
                    ]),
                    context.paint,
                  ),
                  `and ${countOf(plan.keys.length, "key")} of the ledger`,
                  swept ? "Removed." : `Nothing was removed. Do it: ${invocation} sweep --yes`,
                ].join("\n"),
        };
      }),
    );
  finishCommand(command, ["sweep", "sweep --yes"]);
}
