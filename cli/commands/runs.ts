/** `runs`: the workflows of this deployment, the newest first. */
import type { Client, WorkflowExecutionInfo } from "@temporalio/client";
import { type Command, Option } from "commander";
import { viewNamed } from "../../engine/catalogue.ts";
import type { RunLine } from "../../status/under-way.ts";
import { type RunKind } from "../../workflows/contract.ts";
import { type Context, finishCommand, type JsonOption, openRuns, usageError } from "../context.ts";
import { type Life, readLife, troubleOf } from "../life.ts";
import { clean, table } from "../table.ts";
import type { Paint } from "../terminal.ts";
import { formatSpan } from "../../engine/calendar/duration.ts";
import { searchAttributes } from "../../workflows/search-attributes.ts";

const kinds: readonly RunKind[] = [
  "materialize",
  "publish",
  "schedule",
  "backfill",
  "training_set",
];
const statuses = ["Running", "Completed", "Failed", "Canceled", "Terminated", "TimedOut"] as const;
/** Running ones that are asked why they are tried again: a call each. */
const askedRuns = 20;

/** Of one that has ended, or is not asked. */
const noLife: Life = { retrying: null, last_sign_of_life: null, unclaimed_since: null };

interface Options extends JsonOption {
  readonly kind?: RunKind;
  readonly status?: string;
  readonly limit: string;
}

/** Adds the command. */
export function addRuns(program: Command, context: Context): void {
  const command = program
    .command("runs")
    .argument("[view]", "name of a feature view (default: all)")
    .summary("list what runs and ran on Temporal, the newest first")
    .description(
      "Lists the workflows of this deployment, and for those under way why something is tried " +
        "again, or since when there is no sign of life; says where no worker polls. Temporal forgets ended ones after its retention; `partitions` does not.",
    )
    .addOption(new Option("--kind <kind>", "only these").choices(kinds))
    .addOption(
      new Option("--status <status>", "only these").choices(
        statuses.map((status) => status.toLowerCase()),
      ),
    )
    .option("--limit <count>", "at most this many", "20")
    .action((name: string | undefined, options: Options) =>
      context.answer(options, async () => {
        const view = name === undefined ? undefined : viewNamed(await context.catalogue(), name);
        if (!/^[1-9]\d{0,3}$/.test(options.limit))
          throw usageError(`--limit is "${options.limit}"; give a whole number of at least 1.`);
        const settings = context.settings();
        const runs = await openRuns(settings);
        const { readWorkers, withoutWorker } = await import("../workers.ts");
        const [found, workers] = await runs.attempt(() =>
          Promise.all([
            // One more tells whether there are more.
            listRuns(runs.client, settings.queue, view?.name, {
              ...options,
              limit: String(Number(options.limit) + 1),
            }),
            readWorkers(runs.client, settings),
          ]),
        );
        const lines = found.slice(0, Number(options.limit));
        const hasMore = found.length > lines.length;
        const missing = withoutWorker(workers, Date.now());
        return {
          data: { runs: lines, has_more: hasMore, workers },
          text: () =>
            [
              ...(missing === undefined ? [] : [context.paint("yellow", `! ${clean(missing)}`)]),
              lines.length === 0 ? "no runs" : runTable(lines, context.paint),
              ...(hasMore
                ? [`(the newest ${lines.length}, and there are more: --limit shows them)`]
                : []),
            ].join("\n"),
        };
      }),
    );
  finishCommand(command, ["runs badges --status running", "runs --kind backfill --json"]);
}

function runTable(lines: readonly RunLine[], paint: Paint): string {
  const nowMs = Date.now();
  const hasBuilds = lines.some(({ build }) => build !== null);
  return table(
    [
      "started",
      "kind",
      "view",
      "interval",
      "status",
      "took",
      ...(hasBuilds ? ["build"] : []),
      "workflow",
    ],
    lines.map((line) => {
      const trouble = troubleOf(line, nowMs);
      return [
        line.started_at,
        line.kind,
        line.view ?? "",
        clean(line.interval ?? ""),
        trouble === undefined ? line.status : `${line.status}, ${trouble}`,
        formatSpan(line.seconds),
        ...(hasBuilds ? [line.build ?? ""] : []),
        clean(line.workflow_id),
      ];
    }),
    paint,
  );
}

type VersioningInfo = WorkflowExecutionInfo["raw"]["versioningInfo"];

/** The build that a run is pinned to, or that has done its last step. */
function buildOf(info: VersioningInfo): string | null {
  return (info?.versioningOverride?.pinned?.version ?? info?.deploymentVersion)?.buildId || null;
}

/** The newest first. */
export async function listRuns(
  client: Client,
  queue: string,
  view: string | undefined,
  { kind, status, limit }: Options,
): Promise<RunLine[]> {
  const named = statuses.find((each) => each.toLowerCase() === status);
  // View names are snake_case and kinds and statuses come from lists: nothing needs an escape.
  const query = [
    kind === undefined
      ? `${searchAttributes.kind} IN (${kinds.map((each) => `"${each}"`).join(", ")})`
      : `${searchAttributes.kind} = "${kind}"`,
    ...(view === undefined ? [] : [`${searchAttributes.view} = "${view}"`]),
    ...(named === undefined ? [] : [`ExecutionStatus = "${named}"`]),
  ].join(" AND ");
  const lines: RunLine[] = [];
  for await (const run of client.workflow.list({ query })) {
    // Deployments may share a namespace; ours begin with our queue's name.
    if (!run.workflowId.startsWith(`${queue}/`)) continue;
    const attribute = (name: string) => {
      const [value] = run.searchAttributes[name] ?? [];
      return typeof value === "string" ? value : null;
    };
    const isRunning = run.status.name === "RUNNING";
    const handle = { workflowId: run.workflowId, runId: run.runId };
    lines.push({
      kind: attribute(searchAttributes.kind) ?? run.type,
      view: attribute(searchAttributes.view),
      interval: attribute(searchAttributes.interval),
      status: run.status.name.toLowerCase(),
      started_at: run.startTime.toISOString(),
      seconds: ((run.closeTime?.getTime() ?? Date.now()) - run.startTime.getTime()) / 1000,
      workflow_id: run.workflowId,
      run_id: run.runId,
      build: buildOf(run.raw.versioningInfo),
      ...(isRunning && lines.length < askedRuns ? await readLife(client, handle) : noLife),
    });
    if (lines.length >= Number(limit)) break;
  }
  return lines;
}
