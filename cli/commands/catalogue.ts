/** `catalogue`: every view, feature and service of this build. */
import type { Command } from "commander";
import { type Catalogue, viewNamed } from "../../engine/catalogue.ts";
import { describeCatalogue } from "../../serving/describe.ts";
import { type Context, finishCommand, type JsonOption } from "../context.ts";
import { fields, indent, table } from "../table.ts";
import type { Paint } from "../terminal.ts";
import { showTime } from "../../engine/calendar/interval.ts";
import type { Schedule } from "../../engine/calendar/schedule.ts";
import { formatSpan } from "../../engine/calendar/duration.ts";

/** Adds the command. */
export function addCatalogue(program: Command, context: Context): void {
  const command = program
    .command("catalogue")
    .summary("list views, features and services")
    .description(
      "Lists the views, features and services of this build, checked as a whole, with their " +
        "fingerprints and schedules and what deserves a second look. Reads no store.",
    )
    .action((options: JsonOption) =>
      context.answer(options, async () => {
        const data = describe(await context.catalogue());
        return { data, text: () => catalogueText(data, context.paint) };
      }),
    );
  finishCommand(command, ["catalogue", "catalogue --json | jq '.features[].name'"]);
}

/** The catalogue as the HTTP service describes it, and how each view is materialized. */
export function describe(catalogue: Catalogue) {
  const described = describeCatalogue(catalogue);
  return {
    ...described,
    views: described.views.map((view) => {
      const full = viewNamed(catalogue, view.name);
      return {
        ...view,
        files: full.source.files,
        materialized_by: full.rows.isFullRefresh
          ? ("full refresh" as const)
          : ("interval" as const),
        schedule: full.schedule === undefined ? null : describeSchedule(full.schedule),
      };
    }),
  };
}

/** A schedule with its defaults; spans in seconds. */
function describeSchedule(schedule: Schedule) {
  const { calendar, offsetMs, jitterMs, startMs, dependsOn, waitFor, pools } = schedule;
  return {
    every_seconds: calendar.kind === "every" ? calendar.everyMs / 1000 : null,
    cron: calendar.kind === "cron" ? calendar.cron : null,
    time_zone: calendar.kind === "cron" ? calendar.timeZone : "UTC",
    start: new Date(startMs).toISOString(),
    offset_seconds: offsetMs / 1000,
    jitter_seconds: jitterMs / 1000,
    catchup: schedule.catchup,
    allowed_lateness: schedule.allowedLateness,
    pause_on_failure: schedule.pauseOnFailure,
    depends_on: dependsOn.map(({ view, earlier }) => ({ view, earlier })),
    wait_for: waitFor.map(({ kind, name }) => ({ kind, name })),
    pools: pools.map(({ name, slots }) => ({ name, slots })),
    workflow: schedule.workflow,
  };
}

function scheduleText(schedule: Description["views"][number]["schedule"]): string {
  if (schedule === null) return "none: it is materialized by hand";
  const { every_seconds: every, cron, time_zone, start, offset_seconds: offset } = schedule;
  const upstream = schedule.depends_on.map(({ view }) => view);
  return [
    every === null ? `cron "${cron ?? ""}" in ${time_zone}` : `every ${formatSpan(every)}`,
    `from ${showTime(start)}`,
    ...(offset > 0 ? [`${formatSpan(offset)} after the end of each interval`] : []),
    ...(upstream.length > 0 ? [`after ${upstream.join(", ")}`] : []),
    ...schedule.wait_for.map(({ kind, name }) => `once ${kind} ${name} is ready`),
    ...(schedule.workflow === "materialize" ? [] : [`by ${schedule.workflow}`]),
  ].join(", ");
}

type Description = ReturnType<typeof describe>;

function catalogueText({ views, features, services }: Description, paint: Paint) {
  return [
    paint("bold", "Views"),
    ...views.map((view) => indent(viewText(view, paint))),
    paint("bold", "Features"),
    indent(
      table(
        ["feature", "view", "kind", "dtype", "expects", "tags", "description"],
        features.map((feature) => [
          feature.name,
          feature.view,
          feature.kind ?? "",
          feature.dtype,
          feature.expectations.join(", "),
          Object.entries(feature.tags)
            .map(([tag, value]) => `${tag}=${value}`)
            .join(", "),
          feature.description ?? "",
        ]),
        paint,
      ),
    ),
    paint("bold", "Services"),
    ...services.map(({ name, description, fingerprint, features: names }) =>
      indent(
        `${paint("bold", name)}${description === null ? "" : `  ${description}`}\n${fields([
          ["fingerprint", fingerprint],
          ["features", names.join(", ")],
        ])}`,
      ),
    ),
  ].join("\n\n");
}

function viewText(view: Description["views"][number], paint: Paint): string {
  const { ttl_seconds: ttl, event_time: eventTime } = view;
  return [
    `${paint("bold", view.name)}${view.description === null ? "" : `  ${view.description}`}`,
    fields([
      ["source", `${view.source}, ${view.files}`],
      ["entity", `${view.entity} (${view.entity_keys.join(", ")})`],
      ["filled by", `${view.materialized_by}${eventTime === null ? "" : ` of ${eventTime}`}`],
      ["schedule", scheduleText(view.schedule)],
      ["stores", view.stores.map((column) => column.name).join(", ")],
      ["ttl", ttl === null ? "none" : formatSpan(ttl)],
      ["fingerprint", view.fingerprint],
    ]),
  ].join("\n");
}
