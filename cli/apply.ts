/** `plan` and `apply`: bring a deployment to what the definitions of this build say. */
import type { Command } from "commander";
import type { Catalogue } from "../engine/catalogue.ts";
import { compareRegistries, type DefinitionChange, registryOf } from "../engine/registry.ts";
import { newestInterval } from "../engine/slots.ts";
import type { Settings } from "../settings.ts";
import type { RedisConnection } from "../store/redis.ts";
import { readRegistry, writeRegistry } from "../store/registry.ts";
import type { BackfillResult } from "../workflows/contract.ts";
import type { BuildChange } from "./builds.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  invocation,
  type JsonOption,
  openRuns,
  type Reply,
  usageError,
  withRedis,
} from "./context.ts";
import { startFill, type Unfilled, unfilledOf } from "./fill.ts";
import { followRun } from "./follow.ts";
import type { ScheduleChange } from "./schedules.ts";
import { countOf } from "./table.ts";
import type { Runs } from "./temporal.ts";
import type { Paint } from "./terminal.ts";
import { showSpan } from "./views.ts";

/** Something that `apply` does. */
type Change = DefinitionChange | ScheduleChange | BuildChange;

/** What there is to do, and what is to be filled besides. */
interface Plan {
  readonly changes: readonly Change[];
  readonly unfilled: readonly Unfilled[];
}

interface ApplyOptions extends JsonOption {
  readonly fill?: true;
  readonly wait: boolean;
}

const signs = { create: "+", update: "~", delete: "-" } as const;
const styles = { create: "green", update: "yellow", delete: "red" } as const;

/** Adds `plan`. */
export function addPlan(program: Command, context: Context): void {
  const command = program
    .command("plan")
    .summary("show what `apply` would create, change and delete")
    .description(
      "Compares the views, services and schedules of this build with those that were applied last " +
        "and shows what `apply` would do, what breaks for whom, and what is not filled yet. Exit " +
        "code 0 where nothing is to be done, 2 where there are changes, 1 for any error.",
    )
    .action((options: JsonOption) =>
      context.answer(options, async () => {
        const settings = context.settings();
        const catalogue = await context.catalogue();
        const runs = await openRuns(settings);
        const plan = await withRedis(settings, "writing", (redis) =>
          makePlan(runs, redis, catalogue, settings),
        );
        const { changes } = plan;
        return {
          data: dataOf(plan),
          text: () =>
            [
              ...linesOf(plan, context.paint),
              changes.length === 0
                ? "Nothing to do: all is as the definitions say."
                : `${countOf(changes.length, "change")}. Make ${changes.length === 1 ? "it" : "them"}: ${invocation} apply`,
            ].join("\n"),
          exitCode: changes.length === 0 ? exitCodes.ok : exitCodes.changes,
        };
      }),
    );
  finishCommand(command, ["plan", "plan --json"]);
}

/** Adds `apply`. */
export function addApply(program: Command, context: Context): void {
  const command = program
    .command("apply")
    .summary("create, change and delete as the definitions of this build say")
    .description(
      "Does what `plan` shows. It may be run again, and by two at once. A schedule that a person " +
        "paused stays paused. A new schedule with `catchup` also starts the backfill since its " +
        "start. With --fill it changes nothing of that: it computes, under the definitions of this " +
        "build, what other definitions of a view have committed; they go on being served and " +
        "scheduled.",
    )
    .option("--fill", "fill the definitions of this build beside the old ones, and nothing else")
    .option("--no-wait", "with --fill: return once the runs have started")
    .action((options: ApplyOptions) =>
      context.answer(options, async () => {
        const { fill = false, wait } = options;
        if (!fill && !wait) throw usageError("--no-wait goes with --fill.");
        const settings = context.settings();
        const catalogue = await context.catalogue();
        const runs = await openRuns(settings);
        return withRedis(settings, "writing", (redis) =>
          fill
            ? fillAll(context, runs, redis, catalogue, settings, options)
            : apply(runs, redis, catalogue, settings, context.paint),
        );
      }),
    );
  finishCommand(command, ["apply", "apply --fill"]);
}

async function makePlan(
  runs: Runs,
  redis: RedisConnection,
  catalogue: Catalogue,
  settings: Settings,
): Promise<Plan> {
  const [{ planBuild }, { planSchedules }] = await Promise.all([
    import("./builds.ts"),
    import("./schedules.ts"),
  ]);
  return {
    changes: [
      ...(await planBuild(runs.client, settings)),
      ...compareRegistries(await readRegistry(redis, settings), registryOf(catalogue)),
      ...(await planSchedules(runs.client, catalogue, settings)),
    ],
    unfilled: await allUnfilled(redis, catalogue, settings),
  };
}

async function allUnfilled(
  redis: RedisConnection,
  catalogue: Catalogue,
  settings: Settings,
): Promise<Unfilled[]> {
  const unfilled: Unfilled[] = [];
  for (const view of catalogue.views.values())
    unfilled.push(await unfilledOf(redis, catalogue, view, settings));
  return unfilled.filter(({ intervals }) => intervals > 0);
}

async function apply(
  runs: Runs,
  redis: RedisConnection,
  catalogue: Catalogue,
  settings: Settings,
  paint: Paint,
): Promise<Reply> {
  const [{ applyBuild }, { applySchedule }] = await Promise.all([
    import("./builds.ts"),
    import("./schedules.ts"),
  ]);
  const plan = await makePlan(runs, redis, catalogue, settings);
  const backfills: string[] = [];
  for (const change of plan.changes) {
    if (change.kind === "build") await applyBuild(runs.client, settings);
    if (change.kind !== "schedule") continue;
    // The backfill first: if this ends in between, the schedule is still to be made, and the next
    // `apply` joins the backfill.
    if (change.change === "create")
      backfills.push(...(await catchUp(runs, catalogue, change.view)));
    await applySchedule(runs.client, catalogue, settings, change);
  }
  // Last, so that what is cut off before is shown and done again.
  await writeRegistry(redis, registryOf(catalogue), settings);
  const { length } = plan.changes;
  return {
    data: { ...dataOf(plan), backfills },
    text: () =>
      [
        ...linesOf(plan, paint),
        ...backfills.map((id) => `started ${id}`),
        length === 0
          ? "Nothing to do: all is as the definitions say."
          : `${countOf(length, "change")} made.`,
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

async function fillAll(
  context: Context,
  runs: Runs,
  redis: RedisConnection,
  catalogue: Catalogue,
  settings: Settings,
  { json, wait }: ApplyOptions,
): Promise<Reply> {
  const filled: { view: string; workflow_id: string }[] = [];
  let failed = 0;
  for (const unfilled of await allUnfilled(redis, catalogue, settings)) {
    const { name } = unfilled.view;
    for (const run of await startFill(runs, unfilled)) {
      filled.push({ view: name, workflow_id: run.workflowId });
      if (!wait) continue;
      const followed = await followRun(context, runs.client, run, {
        title: `fill ${name}`,
        quiet: json === true,
        startedAtMs: Date.now(),
      });
      if (followed.outcome === "interrupted")
        return {
          data: { filled },
          text: () => "The runs go on; ask again with `apply --fill`.",
          exitCode: exitCodes.interrupted,
        };
      failed += (followed.result as Partial<BackfillResult>).failed ?? 0;
    }
  }
  return {
    data: { filled, failed },
    text: () =>
      filled.length === 0
        ? "Nothing to fill: the definitions of this build have all that others have committed."
        : [
            ...filled.map(
              ({ view, workflow_id }) => `${wait ? "ran" : "started"} ${workflow_id} (${view})`,
            ),
            failed > 0
              ? `${countOf(failed, "interval")} failed: mend the cause, then ${invocation} apply --fill`
              : wait
                ? `Filled. Deploy the services' new build, then ${invocation} apply`
                : `See how far they are: ${invocation} runs`,
          ].join("\n"),
    exitCode: failed > 0 ? exitCodes.unhealthy : exitCodes.ok,
  };
}

function dataOf({ changes, unfilled }: Plan) {
  return {
    changes,
    unfilled: unfilled.map(({ view, intervals, ranges }) => ({
      view: view.name,
      fingerprint: view.fingerprint,
      intervals,
      ranges,
    })),
  };
}

function linesOf({ changes, unfilled }: Plan, paint: Paint): string[] {
  return [
    ...changes.flatMap((change) => {
      const { kind, name, why } = change;
      const words = why.length > 0 ? `: ${why.join("; ")}` : "";
      return [
        `${paint(styles[change.change], `${signs[change.change]} ${kind} ${name}`)}${words}`,
        ...("breaking" in change ? change.breaking : []).map(
          ({ what, consumers }) =>
            `    ${paint("red", "breaking")}: ${what}; used by ${consumers.join(", ") || "no service"}`,
        ),
      ];
    }),
    ...unfilled.map(({ view, intervals, ranges }) => {
      const [first, last] = [ranges[0], ranges.at(-1)];
      const span =
        first === undefined || last === undefined
          ? ""
          : ` in ${showSpan({ start: first.start, end: last.end })}`;
      return `${paint("yellow", `! view ${view.name}`)}: ${countOf(intervals, "interval")}${span} ${intervals === 1 ? "is" : "are"} committed under other definitions and not under these: ${invocation} apply --fill`;
    }),
  ];
}
