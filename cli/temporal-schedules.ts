/** What Temporal should hold for the schedules of this build, and how it differs. */
import type { Client, ScheduleOptions } from "@temporalio/client";
import { ScheduleAlreadyRunning, ScheduleNotFoundError } from "@temporalio/client";
import type { Catalogue, View } from "../engine/catalogue.ts";
import { hash } from "../engine/fingerprint.ts";
import type { Schedule } from "../engine/calendar/schedule.ts";
import type { Settings } from "../settings.ts";
import { attributesOf } from "../workflows/search-attributes.ts";
import { idsOf, queuesOf, type ScheduledInput } from "../workflows/contract.ts";

/** One schedule that is to be made, changed or deleted. */
export interface ScheduleChange {
  readonly change: "create" | "update" | "delete";
  readonly kind: "schedule";
  /** Its id in Temporal. */
  readonly name: string;
  readonly view: string;
  /** What differs, in words. */
  readonly why: readonly string[];
}

/** What the UI shows beside a schedule, whose backfill asks for a range. */
const rangeNote =
  "A backfill here takes a range of firings, not of intervals: a firing runs the interval that ended the offset before it. By intervals: onceflow backfill VIEW --from … --to …";

/** Slots that a stopped server makes up for: an hour, or with `catchup` a year. */
const catchupWindows = { off: "1 hour", on: "365 days" } as const;

/** The schedule of a view as Temporal is to hold it. */
function wantedSchedule(view: View, schedule: Schedule, settings: Settings) {
  const ids = idsOf(settings.queue);
  const { calendar, ...others } = schedule;
  const { offsetMs, jitterMs, startMs, catchup, pauseOnFailure } = others;
  const input: ScheduledInput = {
    view: view.name,
    fingerprint: view.fingerprint,
    definition: view.definition,
    // By the names that it was first applied under; any other hash is a change to all who compare.
    applied: hash(["schedule", { grid: calendar, ...others }]),
  };
  return {
    scheduleId: ids.schedule(view.name),
    spec: {
      ...(calendar.kind === "every"
        ? { intervals: [{ every: calendar.everyMs, offset: offsetMs % calendar.everyMs }] }
        : { cronExpressions: [calendar.cron], timezone: calendar.timeZone }),
      // Its first firing is the one after its first interval.
      startAt: new Date(startMs + offsetMs + 1),
      ...(jitterMs > 0 ? { jitter: jitterMs } : {}),
    },
    policies: {
      // The backfill dialog of the UI takes this over, and runs every slot under it; that nothing
      // runs twice is the work of ids and ledger.
      overlap: "ALLOW_ALL",
      catchupWindow: catchup ? catchupWindows.on : catchupWindows.off,
      pauseOnFailure,
    },
    action: {
      type: "startWorkflow",
      workflowType: "scheduled",
      workflowId: ids.scheduled(view.name),
      taskQueue: queuesOf(settings.queue).offline,
      args: [input],
      staticSummary: `schedule of ${view.name}`,
      typedSearchAttributes: attributesOf("schedule", view.name),
    },
  } as const satisfies ScheduleOptions;
}

/** What `apply` has to do. Cost: one call for each schedule. */
export async function planSchedules(
  client: Client,
  catalogue: Catalogue,
  settings: Settings,
): Promise<ScheduleChange[]> {
  const changes: ScheduleChange[] = [];
  const ids = idsOf(settings.queue);
  const wanted = new Set<string>();
  for (const view of catalogue.views.values()) {
    if (view.schedule === undefined) continue;
    const options = wantedSchedule(view, view.schedule, settings);
    const { scheduleId: name, action } = options;
    const change = { kind: "schedule", name, view: view.name } as const;
    wanted.add(name);
    const held = await heldInput(client, name);
    const [input] = action.args;
    if (held === undefined) changes.push({ change: "create", ...change, why: [] });
    else {
      const why = differences(held, input);
      if (why.length > 0) changes.push({ change: "update", ...change, why });
    }
  }
  // Ours are those with the id and the workflow that `apply` gives them.
  for await (const { scheduleId, action } of client.schedule.list()) {
    const view = scheduleId.slice(ids.schedule("").length);
    const isOurs =
      scheduleId === ids.schedule(view) &&
      !view.includes("/") &&
      action?.workflowType === "scheduled";
    if (isOurs && !wanted.has(scheduleId) && (await heldInput(client, scheduleId)) !== undefined)
      changes.push({
        change: "delete",
        kind: "schedule",
        name: scheduleId,
        view,
        why: [catalogue.views.has(view) ? "the view has no schedule any more" : "the view is gone"],
      });
  }
  return changes;
}

/** Makes one change; safe to repeat, and beside others that make the same. */
export async function applySchedule(
  client: Client,
  catalogue: Catalogue,
  settings: Settings,
  { change, name, view: viewName }: ScheduleChange,
): Promise<void> {
  const handle = client.schedule.getHandle(name);
  if (change === "delete") {
    await handle.delete().catch((error: unknown) => {
      if (!(error instanceof ScheduleNotFoundError)) throw error;
    });
    return;
  }
  const view = catalogue.views.get(viewName);
  if (view?.schedule === undefined) return;
  const { spec, policies, action, scheduleId } = wantedSchedule(view, view.schedule, settings);
  try {
    if (change === "create") {
      await client.schedule.create({
        scheduleId,
        spec,
        policies,
        action,
        state: { note: rangeNote },
      });
      return;
    }
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
  // The state stays: what a person paused is left paused, and what they wrote.
  await handle.update(({ state }) => ({
    spec,
    policies,
    action,
    state: { ...state, note: state.note || rangeNote },
  }));
}

/** What the schedule was applied with; undefined where there is none. */
async function heldInput(client: Client, id: string): Promise<Partial<ScheduledInput> | undefined> {
  try {
    const { action } = await client.schedule.getHandle(id).describe();
    const [input] = (action.args ?? []) as [Partial<ScheduledInput>?];
    return input ?? {};
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return undefined;
    throw error;
  }
}

function differences(held: Partial<ScheduledInput>, wanted: ScheduledInput): string[] {
  const short = (text = "none") => text.slice(0, 8);
  const why: string[] = [];
  if (held.applied !== wanted.applied) why.push("the schedule's options changed");
  if (held.fingerprint !== wanted.fingerprint)
    why.push(
      `fills storage fingerprint ${short(wanted.fingerprint)}, no longer ${short(held.fingerprint)}`,
    );
  else if (held.definition !== wanted.definition)
    why.push("aggregates or expectations of its view changed, or what files call its columns");
  return why;
}
