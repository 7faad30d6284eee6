/** `reset`: empties a view's online rows and aggregates so that they can be filled again. */
import type { Command } from "commander";
import { viewNamed } from "../../../engine/catalogue.ts";
import { endsOf } from "../../../engine/calendar/interval.ts";
import { aggregateFingerprints, storedTable } from "../../../filling/view-states.ts";
import { invocation } from "../../../engine/invocation.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import { makeVoid } from "../../../filling/publish/void.ts";
import { openOfflineFolders } from "../../../store/offline/offline-folders.ts";
import { createLedger } from "../../../store/ledger.ts";
import { chooseBuckets } from "../../../store/namespace.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import {
  type Context,
  finishCommand,
  type JsonOption,
  type Reply,
  usageError,
  withRedis,
} from "../../context.ts";
import { materializeLine } from "../../../status/command-lines.ts";
import { countOf } from "../../../engine/words.ts";

interface Options extends JsonOption {
  readonly yes?: true;
}

/** Adds the command. */
export function addReset(program: Command, context: Context): void {
  const command = program
    .command("reset")
    .argument("<view>", "name of the feature view")
    .summary("forget what is committed of a view, to materialize it again")
    .description(
      "Empties the online rows of a view under this build's definitions and forgets which " +
        "intervals are committed, the partial states of its aggregates and which snapshot is the " +
        "latest, in Redis and in the offline store; runs under way cannot commit any more, and " +
        "intervals may then be cut otherwise. The files of offline rows, snapshots by their ids and " +
        "the rows of other definitions stay. After a loss of Redis, `publish` is what helps. The " +
        "bucket count is chosen anew from the rows committed so far. Prints the commands that " +
        "fill it again.",
    )
    .option("--yes", "do it; without it, nothing is done")
    .action((view: string, options: Options) =>
      context.answer(options, () => reset(context, view, options)),
    );
  finishCommand(command, ["reset absences --yes", "reset badges --yes --json"]);
}

async function reset(context: Context, name: string, { yes }: Options): Promise<Reply> {
  const view = viewNamed(await context.catalogue(), name);
  if (yes !== true)
    throw usageError(
      `reset empties the online rows of view "${name}"; until they are materialized again, servers that run answer STORE_LOST, or by onStoreDown, and new ones NOT_FOUND and NO_SNAPSHOT. Add --yes to do it.`,
    );
  const settings = context.settings();
  const { prefix } = settings;
  return withRedis(settings, "writing", async (redis) => {
    const ledger = createLedger(redis, { prefix });
    const { coverage } = await ledger.readLedger(name, view.fingerprint);
    const forgotten = [...coverage]
      .map(([interval, { rows }]) => ({ ...endsOf(interval), rows }))
      .sort((a, b) => (a.end < b.end ? -1 : 1));
    const offline = openOfflineFolders({ root: settings.offlineDir });
    if (coverage.size > 0 && !(await offline.hasViews()))
      throw new OnceflowError(
        "OFFLINE_UNAVAILABLE",
        `the offline store ${offline.root} has no views or is not there, and what a reset forgets must be forgotten there too. Run it where ONCEFLOW_OFFLINE names the folder that workers write to.`,
      );
    await makeVoid(offline, view);
    // A full refresh replaces what was there, so its newest interval alone counts.
    const due = view.rows.isFullRefresh ? forgotten.slice(-1) : forgotten;
    const { buckets } = await createOnlineStore(redis, { prefix }).resetNamespace(
      storedTable(view),
      {
        buckets: chooseBuckets(
          Math.max(
            view.expectedEntities,
            due.reduce((sum, { rows }) => sum + rows, 0),
          ),
        ),
        aggregates: aggregateFingerprints(view),
        aggregatesFingerprint: view.aggregatesFingerprint,
      },
    );
    const { revision } = await ledger.readLedger(name, view.fingerprint);
    await offline.journal.noteRevision(name, revision);
    const commands = view.rows.isFullRefresh
      ? [`${invocation} materialize ${name}`]
      : due.map((span) => materializeLine(view, span));
    return {
      data: { view: name, fingerprint: view.fingerprint, buckets, forgotten, commands },
      text: () =>
        [
          `reset ${name}: ${countOf(buckets, "empty bucket")}, ${countOf(forgotten.length, "interval")} forgotten`,
          ...(commands.length === 0 ? [] : ["fill it again:", ...commands.map((c) => `  ${c}`)]),
        ].join("\n"),
    };
  });
}
