/** `pause`, `unpause` and `trigger`: act on the schedule of a view. */
import type { ScheduleHandle } from "@temporalio/client";
import type { Command } from "commander";
import { viewNamed } from "../../engine/catalogue.ts";
import { OnceflowError } from "../../engine/errors.ts";
import { invocation } from "../../engine/invocation.ts";
import { idsOf } from "../../workflows/contract.ts";
import { type Context, finishCommand, type JsonOption, openRuns } from "../context.ts";

const acts = [
  {
    name: "pause",
    summary: "stop the schedule of a view from firing",
    description: "Pauses the schedule of a view; what is under way goes on.",
    done: "paused",
    reason: "paused by the onceflow CLI",
    act: (handle: ScheduleHandle, reason?: string) => handle.pause(reason),
  },
  {
    name: "unpause",
    summary: "let the schedule of a view fire again",
    description:
      "Ends the pause of a view's schedule. Slots that passed meanwhile are gaps: see `partitions`.",
    done: "unpaused",
    reason: "unpaused by the onceflow CLI",
    act: (handle: ScheduleHandle, reason?: string) => handle.unpause(reason),
  },
  {
    name: "trigger",
    summary: "run the newest complete interval of a view if it is due",
    description:
      "Fires the schedule of a view now. The newest complete interval is materialized, or nothing " +
      "where it is committed.",
    done: "triggered",
    reason: undefined,
    act: (handle: ScheduleHandle) => handle.trigger(),
  },
] as const;

interface Options extends JsonOption {
  readonly reason?: string;
}

/** Adds the three commands. */
export function addScheduleCommands(program: Command, context: Context): void {
  for (const { name, summary, description, done, reason, act } of acts) {
    const command = program
      .command(name)
      .argument("<view>", "name of a feature view with a schedule")
      .summary(summary)
      .description(description);
    if (reason !== undefined)
      command.option("--reason <text>", "kept beside the schedule, for whoever looks next", reason);
    command.action((viewName: string, options: Options) =>
      context.answer(options, async () => {
        const view = viewNamed(await context.catalogue(), viewName);
        const settings = context.settings();
        const runs = await openRuns(settings);
        const { ScheduleNotFoundError } = await import("@temporalio/client");
        const schedule = idsOf(settings.queue).schedule(view.name);
        try {
          const handle = runs.client.schedule.getHandle(schedule);
          await runs.attempt(() => act(handle, options.reason));
        } catch (error) {
          if (!(error instanceof ScheduleNotFoundError)) throw error;
          throw new OnceflowError(
            "REQUEST_INVALID",
            `Temporal has no schedule "${schedule}". Declare one beside view "${view.name}" and run ${invocation} apply.`,
            { view: view.name },
          );
        }
        return {
          data: { view: view.name, schedule, outcome: done },
          text: () => `${done} ${schedule}`,
        };
      }),
    );
    finishCommand(command, [`${name} badges`, `${name} badges --json`]);
  }
}
