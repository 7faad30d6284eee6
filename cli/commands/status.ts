/** `status`: what the stores hold of each view, what is wrong, and the fix. */
import type { Command } from "commander";
import { viewNamed } from "../../engine/catalogue.ts";
import type { Settings } from "../../settings.ts";
import { openFileLook } from "../../sources/files.ts";
import type { ListFiles } from "../../status/changed-files.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import { type Context, exitCodes, finishCommand, type JsonOption, withRedis } from "../context.ts";
import { statusText } from "../status-text.ts";
import { clean } from "../table.ts";
import { underWay } from "../under-way.ts";
import { withoutWorker } from "../workers.ts";
import { inspectView } from "../../status/view-status.ts";

/** Adds the command. */
export function addStatus(program: Command, context: Context): void {
  const command = program
    .command("status")
    .argument("[view]", "name of a feature view (default: every view)")
    .summary("show what the stores hold and what is wrong")
    .description(
      "Shows for each view which intervals are committed, the latest aggregate snapshot, how " +
        "fresh it is, the last runs, and whether the online rows are all there; says what is " +
        "wrong and the fix. Exit code 3 where anything is missing, lost or failed: never " +
        "materialized, intervals that Redis lost, a gap between intervals, intervals that overlap, a " +
        "missing snapshot, lost buckets, a last run that failed, intervals that are blocked or " +
        "stale, or, where rows may come late, files that came or changed after the commit. Notes, " +
        "such as rows beyond their TTL, leave it 0. Runs under way, and whether a worker takes " +
        "runs, are shown where Temporal answers. What Redis lost is told by the offline store: run " +
        "it where that is.",
    )
    .action((view: string | undefined, options: JsonOption) =>
      context.answer(options, async () => {
        const catalogue = await context.catalogue();
        const views =
          view === undefined ? [...catalogue.views.values()] : [viewNamed(catalogue, view)];
        const settings = context.settings();
        const { prefix } = settings;
        const { statuses, temporal } = await withRedis(settings, "writing", async (redis) => {
          const stores = {
            ledger: createLedger(redis, { prefix }),
            online: createOnlineStore(redis, { prefix }),
            catalogue,
            offlineDir: settings.offlineDir,
            listFiles: await filesBelow(settings),
          };
          const found = [];
          const nowMs = Date.now();
          const now = await underWay(settings, views.length === 1 ? views[0] : undefined);
          for (const each of views) {
            const own = now.runs?.filter((run) => run.view === each.name) ?? null;
            found.push(await inspectView(each, stores, own, nowMs));
          }
          return { statuses: found, temporal: now };
        });
        const healthy = statuses.every((status) => status.problems.length === 0);
        const { unknown, workers } = temporal;
        const missing = workers === null ? undefined : withoutWorker(workers, Date.now());
        return {
          data: { healthy, views: statuses, workers },
          text: () =>
            [
              ...(missing === undefined ? [] : [context.paint("yellow", `! ${clean(missing)}`)]),
              ...statuses.map((status) => statusText(status, unknown, context.paint)),
            ].join("\n\n"),
          exitCode: healthy ? exitCodes.ok : exitCodes.unhealthy,
        };
      }),
    );
  finishCommand(command, ["status", "status badges --json"]);
}

/** Looks for files of sources; undefined where the data folder is not here. */
async function filesBelow({ dataDir, sources }: Settings): Promise<ListFiles | undefined> {
  const listFiles = await openFileLook({ dataDir, overrides: sources });
  return listFiles && (({ source }, interval) => listFiles(source, interval));
}
