/** `plan` and `apply`: bring a deployment to what the definitions of this build say. */
import type { Command } from "commander";
import type { Catalogue } from "../../engine/catalogue.ts";
import {
  compareRegistries,
  type DefinitionChange,
  type Registry,
  registryOf,
} from "../../engine/registry.ts";
import { messageOf } from "../../engine/errors.ts";
import { invocation } from "../../engine/invocation.ts";
import { newestInterval } from "../../engine/calendar/slots.ts";
import type { Settings } from "../../settings.ts";
import { assertApplied, readRegistry, writeRegistry } from "../../store/registry.ts";
import type { BuildChange } from "../worker-versions.ts";
import {
  type Context,
  exitCodes,
  finishCommand,
  type JsonOption,
  openRuns,
  type Reply,
  usageError,
  withRedis,
} from "../context.ts";
import { startFill } from "../start-fill.ts";
import { followRun } from "../follow.ts";
import type { Refusal } from "../refusals.ts";
import type { ScheduleChange } from "../temporal-schedules.ts";
import { clean } from "../table.ts";
import type { Run, Runs } from "../temporal.ts";
import type { Paint } from "../terminal.ts";
import { showSpan } from "../../engine/calendar/interval.ts";
import { readUnfilled, type Unfilled } from "../../status/filled.ts";
import { countOf } from "../../engine/words.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

/** Something that `apply` does. */
type Change = DefinitionChange | ScheduleChange | BuildChange;

/** What there is to do, and what is to be filled besides. */
interface Plan {
  /** What it was compared with. */
  readonly before: Registry;
  readonly changes: readonly Change[];
  readonly unfilled: readonly Unfilled[];
}

interface ApplyOptions extends JsonOption {
  readonly fill?: true;
  readonly allowBreaking?: true;
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
        "and shows what `apply` would do, what breaks for whom, what is not filled yet, and whether " +
        "`apply` would refuse, with the commands that work. Exit code 0 where nothing is to be done, " +
        "2 where something is, 1 for any error.",
    )
    .action((options: JsonOption) =>
      context.answer(options, async () => {
        const settings = context.settings();
        const catalogue = await context.catalogue();
        const runs = await openRuns(settings);
        const { refusalsOf, applyLines } = await import("../refusals.ts");
        const { plan, refusals } = await withRedis(settings, "writing", (redis) =>
          runs.attempt(async () => {
            const plan = await makePlan(runs, redis, catalogue, settings);
            const options = { allowBreaking: false };
            const refusals = await refusalsOf(runs.client, settings, plan.changes, options);
            return { plan, refusals };
          }),
        );
        const { changes, unfilled } = plan;
        const isDone = changes.length === 0 && !unfilled.some(isFillable);
        return {
          data: {
            ...dataOf(plan),
            refusals: refusals.map(({ error: { code, message }, first }) => ({
              code,
              message,
              first,
            })),
            apply: changes.length === 0 ? null : (applyLines(refusals).at(-1) ?? null),
          },
          text: () =>
            [
              ...linesOf(plan, context.paint),
              ...(isDone ? ["Nothing to do: all is as the definitions say."] : []),
              ...refusalLines(refusals, context.paint),
              ...(changes.length > 0
                ? [
                    `${countOf(changes.length, "change")}. Make ${changes.length === 1 ? "it" : "them"}: ${applyLines(refusals).join("\n  then: ")}`,
                  ]
                : []),
            ].join("\n"),
          exitCode: isDone ? exitCodes.ok : exitCodes.changes,
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
      "Does what `plan` shows. It may be run again, and by two at once; of two builds at once one " +
        "gives way. A schedule that a person paused stays paused. What breaks a consumer is refused " +
        "without --allow-breaking. A new schedule with `catchup` also starts the backfill since its " +
        "start. With --fill it changes nothing of that: it computes, under the definitions of this " +
        "build, what other definitions of a view have committed; they go on being served and " +
        "scheduled.",
    )
    .option(
      "--allow-breaking",
      "also where consumers of the build before are broken, as `plan` shows",
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
          runs.attempt(() =>
            fill
              ? fillAll(context, runs, redis, catalogue, settings, options)
              : apply(runs, redis, catalogue, settings, context.paint, options),
          ),
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
    import("../worker-versions.ts"),
    import("../temporal-schedules.ts"),
  ]);
  const before = await readRegistry(redis, settings);
  return {
    before,
    changes: [
      ...(await planBuild(runs.client, settings)),
      ...compareRegistries(before, registryOf(catalogue)),
      ...(await planSchedules(runs.client, catalogue, settings)),
    ],
    unfilled: await readUnfilled(redis, catalogue, settings),
  };
}

async function apply(
  runs: Runs,
  redis: RedisConnection,
  catalogue: Catalogue,
  settings: Settings,
  paint: Paint,
  { allowBreaking = false }: { readonly allowBreaking?: boolean },
): Promise<Reply> {
  const [{ applyBuild }, { applySchedule }, { refusalsOf }] = await Promise.all([
    import("../worker-versions.ts"),
    import("../temporal-schedules.ts"),
    import("../refusals.ts"),
  ]);
  const plan = await makePlan(runs, redis, catalogue, settings);
  const [refusal] = await refusalsOf(runs.client, settings, plan.changes, { allowBreaking });
  if (refusal !== undefined) throw refusal.error;
  const after = registryOf(catalogue);
  // First, so that of two builds at once one gives way. What is cut off after it, `plan` shows:
  // builds and schedules are compared with Temporal itself.
  await writeRegistry(redis, { before: plan.before, after }, settings);
  const backfills: string[] = [];
  for (const change of plan.changes) {
    await assertApplied(redis, after, settings);
    if (change.kind === "build") await applyBuild(runs.client, settings);
    if (change.kind !== "schedule") continue;
    // The backfill first: if this ends in between, the schedule is still to be made, and the next
    // `apply` joins the backfill.
    if (change.change === "create")
      backfills.push(...(await catchUp(runs, catalogue, change.view)));
    await applySchedule(runs.client, catalogue, settings, change);
  }
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
    definition: view.definition,
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
  const toFill = (await readUnfilled(redis, catalogue, settings)).filter(isFillable);
  // All begin before any is waited for: one view may be upstream of another.
  const begun: { readonly view: string; readonly run: Run<unknown> }[] = [];
  for (const unfilled of toFill)
    for (const run of await startFill(runs, unfilled))
      begun.push({ view: unfilled.view.name, run });
  const filled = begun.map(({ view, run }) => ({ view, workflow_id: run.workflowId }));
  if (filled.length === 0)
    return {
      data: { filled, failures: [], lacking: 0 },
      text: () =>
        "Nothing to fill: the definitions of this build have all that others have committed.",
    };
  if (!wait)
    return {
      data: { filled },
      text: () =>
        [
          ...filled.map(({ view, workflow_id }) => `started ${workflow_id} (${view})`),
          `See how far they are: ${invocation} runs`,
        ].join("\n"),
    };
  const failures: string[] = [];
  for (const { view, run } of begun) {
    const options = { title: `fill ${view}`, quiet: json === true, startedAtMs: Date.now() };
    try {
      const { outcome } = await followRun(context, runs.client, run, options);
      if (outcome === "interrupted")
        return {
          data: { filled },
          text: () => `The runs go on: ${invocation} runs. Ask again with apply --fill.`,
          exitCode: exitCodes.interrupted,
        };
    } catch (error) {
      // The others go on; what is lacking in the end is told below.
      failures.push(`${view}: ${messageOf(error)}`);
    }
  }
  const still = await readUnfilled(redis, catalogue, settings);
  const lacking = still.reduce((sum, { intervals }) => sum + intervals, 0);
  const unpublished = still.flatMap(({ view, unpublished }) => (unpublished ? view.name : []));
  return {
    data: { filled, failures, lacking, unpublished },
    text: () =>
      [
        ...filled.map(({ view, workflow_id }) => `ran ${workflow_id} (${view})`),
        ...failures.map((failure) => `  ✗ ${clean(failure)}`),
        ...(lacking > 0
          ? [
              `${countOf(lacking, "interval")} still to be filled: see ${invocation} partitions, mend the cause, then ${invocation} apply --fill`,
            ]
          : []),
        ...unpublished.map(
          (view) => `${view} still to be published: ${invocation} publish ${view}`,
        ),
        ...(still.some(isFillable)
          ? []
          : ["Filled: the definitions of this build have all that others have committed."]),
      ].join("\n"),
    exitCode: still.some(isFillable) ? exitCodes.unhealthy : exitCodes.ok,
  };
}

/** Whether `apply --fill` has anything to do for a view. */
function isFillable({ intervals, unpublished }: Unfilled): boolean {
  return intervals > 0 || unpublished;
}

function dataOf({ changes, unfilled }: Plan) {
  return {
    changes,
    unfilled: unfilled.map(({ view, awaited: _, ...what }) => ({
      view: view.name,
      fingerprint: view.fingerprint,
      ...what,
    })),
  };
}

function refusalLines(refusals: readonly Refusal[], paint: Paint): string[] {
  return refusals.map(
    ({ error }) => `${paint("red", "✗")} apply would refuse: ${error.code} ${clean(error.message)}`,
  );
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
    ...unfilled.flatMap(({ view, intervals, ranges, outdated, unplaced, unpublished }) => {
      const [first, last] = [ranges[0], ranges.at(-1)];
      const name = paint("yellow", `! view ${view.name}`);
      return [
        ...(first === undefined || last === undefined
          ? []
          : [
              `${name}: ${countOf(intervals, "interval")} in ${showSpan({ start: first.start, end: last.end })} ${intervals === 1 ? "is" : "are"} committed under other definitions and ${outdated > 0 ? "missing or older under these" : "not under these"}: ${invocation} apply --fill`,
            ]),
        ...(unpublished && first === undefined
          ? [`${name}: what is committed is not published yet: ${invocation} apply --fill`]
          : []),
        ...(unplaced.length === 0
          ? []
          : [
              `${name}: ${unplaced.map(showSpan).join(", ")} is committed under other definitions and in no interval of its schedule, so it cannot be filled`,
            ]),
      ];
    }),
  ];
}
