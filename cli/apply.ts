/** `plan` and `apply`: bring the schedules in Temporal to what the definitions say. */
import type { Command } from "commander";
import type { Catalogue } from "../engine/catalogue.ts";
import { newestInterval } from "../engine/slots.ts";
import type { Settings } from "../settings.ts";
import {
  type Context,
  finishCommand,
  invocation,
  type JsonOption,
  openRuns,
  type Reply,
} from "./context.ts";
import type { ScheduleChange } from "./schedules.ts";
import { countOf } from "./table.ts";
import type { Runs } from "./temporal.ts";
import type { Paint } from "./terminal.ts";

/** Exit code of `plan` where `apply` would change something. */
const changesExit = 2;

const signs = { create: "+", update: "~", delete: "-" } as const;
const styles = { create: "green", update: "yellow", delete: "red" } as const;

/** Adds `plan`. */
export function addPlan(program: Command, context: Context): void {
  const command = program
    .command("plan")
    .summary("show which schedules `apply` would create, change and delete")
    .description(
      "Compares the schedules of this build's views with those in Temporal and shows what `apply` " +
        "would do. Exit code 0 where nothing is to be done, 2 where there are changes.",
    )
    .action((options: JsonOption) =>
      context.answer(options, async () => {
        const settings = context.settings();
        const catalogue = await context.catalogue();
        const { client } = await openRuns(settings);
        const { planSchedules } = await import("./schedules.ts");
        const changes = await planSchedules(client, catalogue, settings);
        return {
          data: { changes },
          text: () =>
            [
              ...linesOf(changes, context.paint),
              changes.length === 0
                ? "Nothing to do: every schedule is as the definitions say."
                : `${countOf(changes.length, "change")}. Make ${changes.length === 1 ? "it" : "them"}: ${invocation} apply`,
            ].join("\n"),
          exitCode: changes.length === 0 ? 0 : changesExit,
        };
      }),
    );
  finishCommand(command, ["plan", "plan --json"]);
}

/** Adds `apply`. */
export function addApply(program: Command, context: Context): void {
  const command = program
    .command("apply")
    .summary("create, change and delete schedules as the definitions say")
    .description(
      "Does what `plan` shows. It may be run again, and by two at once. A schedule that a person " +
        "paused stays paused. A new schedule with `catchup` also starts the backfill since its start.",
    )
    .action((options: JsonOption) =>
      context.answer(options, async () => {
        const settings = context.settings();
        const catalogue = await context.catalogue();
        return apply(await openRuns(settings), catalogue, settings, context.paint);
      }),
    );
  finishCommand(command, ["apply", "apply --json"]);
}

async function apply(
  runs: Runs,
  catalogue: Catalogue,
  settings: Settings,
  paint: Paint,
): Promise<Reply> {
  const { applyChange, planSchedules } = await import("./schedules.ts");
  const changes = await planSchedules(runs.client, catalogue, settings);
  const backfills: string[] = [];
  for (const change of changes) {
    // The backfill first: if this ends in between, the schedule is still to be made, and the next
    // `apply` joins the backfill.
    if (change.change === "create")
      backfills.push(...(await catchUp(runs, catalogue, change.view)));
    await applyChange(runs.client, catalogue, settings, change);
  }
  return {
    data: { changes, backfills },
    text: () =>
      [
        ...linesOf(changes, paint),
        ...backfills.map((id) => `started ${id}`),
        changes.length === 0
          ? "Nothing to do: every schedule is as the definitions say."
          : `${countOf(changes.length, "change")} made.`,
      ].join("\n"),
  };
}

/** Starts or joins the backfill since the start of a schedule that is to catch up. */
async function catchUp(runs: Runs, catalogue: Catalogue, name: string): Promise<string[]> {
  const view = catalogue.views.get(name);
  if (view?.schedule?.catchup !== true) return [];
  const newest = newestInterval(view.schedule, Date.now());
  if (newest === null) return [];
  const { workflowId } = await runs.startBackfill({
    view: name,
    from: new Date(view.schedule.startMs).toISOString(),
    // The same for everyone who applies before the next slot, so that they share one backfill.
    to: new Date(newest.endMs).toISOString(),
    fingerprint: view.fingerprint,
    definition: view.runFingerprint,
  });
  return [workflowId];
}

function linesOf(changes: readonly ScheduleChange[], paint: Paint): string[] {
  return changes.map(({ change, schedule, why }) => {
    const words = why.length > 0 ? `: ${why.join("; ")}` : "";
    return `${paint(styles[change], `${signs[change]} schedule ${schedule}`)}${words}`;
  });
}
