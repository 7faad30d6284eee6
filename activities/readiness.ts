/**
 * Whether the run of an interval may begin: what comes first is committed, and what it waits for
 * is there. And the other way round: who is told when an interval has ended.
 */
import { promises as fs } from "node:fs";
import path from "node:path";
import { Context, getClient } from "@temporalio/activity";
import {
  ApplicationFailure,
  ApplicationFailureCategory,
  CancelledFailure,
  WorkflowNotFoundError,
} from "@temporalio/common";
import { type View } from "../engine/catalogue.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import type { Outcome } from "../engine/calendar/grid.ts";
import { endsOf, interval as intervalOf } from "../engine/calendar/interval.ts";
import type { Interval } from "../engine/calendar/interval.ts";
import type { Schedule, Sensor } from "../engine/calendar/schedule.ts";
import { dependentIntervals } from "../engine/calendar/slots.ts";
import { readGrid, readUpstream, upstreamKeys } from "../status/read-grid.ts";
import { attributesOf } from "../workflows/attributes.ts";
import {
  idsOf,
  type MaterializeInput,
  type ReadyRequest,
  type RunRef,
  upstreamEndedSignal,
  type Waiting,
} from "../workflows/contract.ts";
import type { OfflineDependencies } from "./materialization.ts";
import { untilCancelled } from "./run-context.ts";
import { viewOfRun } from "../filling/run-facts.ts";
import { termsOf } from "../filling/terms.ts";

/** A file counts as complete once it has not changed for this long. */
const settledMs = 10_000;

/** Makes what the activities of a run ask before it begins, and say once it has ended. */
export function createReadiness({
  catalogue,
  ledger,
  tasks,
  folders,
  build,
}: Pick<OfflineDependencies, "catalogue" | "ledger" | "tasks" | "folders" | "build">) {
  return {
    check,
    tell,
    activities: {
      /**
       * Ends once a sensor says ready. Until then it fails and is tried again, so that it holds no
       * place of a worker meanwhile.
       */
      async sense(request: Omit<RunRef, "generation">, index: number): Promise<void> {
        const view = viewOfRun(catalogue, request);
        const sensor = view.schedule?.waitFor[index];
        if (sensor === undefined) return;
        const notYet =
          sensor.kind === "file"
            ? await lookForFile(sensor, request, folders.dataDir)
            : await askTask(sensor, request);
        if (notYet === null) return;
        throw ApplicationFailure.create({
          type: "SENSOR_NOT_READY",
          category: ApplicationFailureCategory.BENIGN,
          message: notYet,
          nextRetryDelay: sensor.everyMs,
        });
      },
    },
  };

  /**
   * What keeps a run from beginning; or the tokens of what it rests on.
   *
   * @throws UPSTREAM_FAILED where something that comes first ended without a commit
   */
  async function check(
    view: View,
    request: ReadyRequest,
  ): Promise<
    Waiting | { readonly due: "ready"; readonly upstream: Readonly<Record<string, string>> }
  > {
    const { schedule } = view;
    if (schedule === undefined) return { due: "ready", upstream: {} };
    const own = intervalOf(request.start, request.end);
    const upstream = await readUpstream(ledger, catalogue, schedule);
    const waiting: string[] = [];
    for (const first of upstream) {
      const missing = first.missing(own);
      const outcomes = missing.length === 0 ? new Map<string, Outcome>() : await first.outcomes();
      for (const each of missing) {
        const outcome = outcomes.get(each.key);
        const name = `${first.view.name} [${each.start}, ${each.end})`;
        if (outcome !== undefined && outcome.outcome !== "committed") {
          const runs = await runningRun({ ...each, ...namesOf(first.view) });
          // The run that ended so tells of it before it closes.
          if (runs === null || runs === outcome.runId)
            throw new OnceflowError(
              "UPSTREAM_FAILED",
              `${name} comes first and ${endedWords[outcome.outcome]}: ${outcome.reason ?? "no reason is known."} Mend and run it; this run then starts by itself.`,
              { view: view.name, upstream: first.view.name, interval: each.key },
            );
        }
        waiting.push(name);
      }
    }
    if (waiting.length > 0) return { due: "waiting", upstream: shorten(waiting), sensors: [] };
    if (!request.sensed && schedule.waitFor.length > 0)
      return {
        due: "waiting",
        upstream: [],
        sensors: schedule.waitFor.map(({ name, timeoutMs }, index) => ({
          index,
          name,
          timeoutMs,
        })),
      };
    return { due: "ready", upstream: upstreamKeys(upstream, own) };
  }

  async function askTask(
    { name }: Sensor,
    { view, start, end }: Omit<RunRef, "generation">,
  ): Promise<string | null> {
    // The worker checked the name when it started.
    const task = tasks[name];
    if (task === undefined) return `${name} is not there.`;
    try {
      const answer = await untilCancelled((signal) => task({ view, start, end }, folders, signal));
      return answer === true ? null : `${name} says that it is not ready.`;
    } catch (error) {
      // It is asked again until its time-out, unless it says that this is of no use.
      if (error instanceof CancelledFailure || error instanceof ApplicationFailure) throw error;
      return `${name} failed: ${messageOf(error)}`;
    }
  }

  /**
   * Tells the runs that wait for an interval of a view that it has ended, and starts those that it
   * had blocked.
   *
   * @returns what rests on older rows now, in words
   */
  async function tell(
    view: View,
    ends: { readonly start: string; readonly end: string },
    isCommitted: boolean,
  ): Promise<string[]> {
    const { schedule } = view;
    if (schedule === undefined) return [];
    const own = intervalOf(ends.start, ends.end);
    const stale: string[] = [];
    for (const dependent of catalogue.views.values())
      for (const { earlier } of dependent.schedule?.dependsOn.filter(
        (each) => each.view === view.name,
      ) ?? []) {
        const after = dependent.schedule as Schedule;
        const intervals = dependentIntervals(
          after,
          { schedule, interval: own, earlier },
          Date.now(),
        );
        if (intervals.length === 0) continue;
        const cells = await readGrid(ledger, catalogue, dependent, intervals);
        for (const { interval, state, rows } of cells) {
          const input = { ...endsOf(interval), ...namesOf(dependent), reprocess: rows !== null };
          if (state === "blocked" && isCommitted) await startOrTell(after, input, build);
          else if (state !== "done" && state !== "stale") await tellRun(input);
        }
        const old = cells.filter(({ state }) => state === "stale");
        const [first, last] = [old[0], old.at(-1)];
        if (first !== undefined && last !== undefined)
          stale.push(
            `${old.length} of view ${dependent.name} rest on the rows before: \`backfill ${dependent.name} --from ${endsOf(first.interval).start} --to ${endsOf(last.interval).end} --reprocess stale\``,
          );
      }
    return stale;
  }
}

function namesOf({ name, fingerprint, definition }: View) {
  return { view: name, fingerprint, definition };
}

/** The run id of an interval's workflow, where it is under way. */
async function runningRun(input: MaterializeInput): Promise<string | null> {
  try {
    const { status, runId } = await handleOf(input).describe();
    return status.name === "RUNNING" ? runId : null;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return null;
    throw error;
  }
}

async function tellRun(input: MaterializeInput): Promise<void> {
  await handleOf(input)
    .signal(upstreamEndedSignal)
    .catch((error: unknown) => {
      // Nobody waits.
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    });
}

async function startOrTell(
  schedule: Schedule,
  input: MaterializeInput,
  build: OfflineDependencies["build"],
): Promise<void> {
  const { view, start, end } = input;
  const { taskQueue } = Context.current().info;
  const { workflow, ...how } = termsOf(schedule);
  await getClient().workflow.signalWithStart(workflow, {
    args: [{ ...input, ...how }],
    signal: upstreamEndedSignal,
    taskQueue,
    workflowId: idsOf(taskQueue).interval(input),
    staticSummary: `${view} [${start}, ${end})`,
    typedSearchAttributes: attributesOf("materialize", view, `${start}/${end}`),
    // Only this build is sure to have the definitions that the input names.
    ...(build === undefined ? {} : { versioningOverride: { pinnedTo: build } }),
  });
}

function handleOf(input: MaterializeInput) {
  return getClient().workflow.getHandle(idsOf(Context.current().info.taskQueue).interval(input));
}

/** A few words stay few, however long the list. */
function shorten(list: readonly string[]): string[] {
  const most = 10;
  return list.length <= most
    ? [...list]
    : [...list.slice(0, most), `${list.length - most} more intervals`];
}

const endedWords = {
  failed: "failed",
  cancelled: "was cancelled",
  blocked: "is blocked",
} as const;

const msPerDay = 86_400_000;

/** Null where a sensor's file is there for each day and complete; else what is missing, in words. */
async function lookForFile(
  { name }: Sensor,
  { start, end }: { readonly start: string; readonly end: string },
  dataDir: string,
): Promise<string | null> {
  for (const file of pathsOf(name, intervalOf(start, end))) {
    const stats = await fs.stat(path.resolve(dataDir, file)).catch(() => undefined);
    if (!stats?.isFile()) return `${file} is not in ${dataDir} yet.`;
    if (Date.now() - stats.mtimeMs < settledMs)
      return `${file} is still being written: it changed within the last ${settledMs / 1000} s.`;
  }
  return null;
}

function pathsOf(template: string, { startMs, endMs }: Interval): string[] {
  if (!template.includes("{date}")) return [template];
  const days: string[] = [];
  for (let ms = Math.floor(startMs / msPerDay) * msPerDay; ms < endMs; ms += msPerDay)
    days.push(template.replaceAll("{date}", new Date(ms).toISOString().slice(0, 10)));
  return days;
}
