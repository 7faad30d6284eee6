/** `get`: feature values of entities or inputs. */
import { type Command, Option } from "commander";
import type { FeatureAnswer, FeatureRow, Status } from "../../serving/answer.ts";
import type { FeatureRequest } from "../../serving/request.ts";
import { type Context, finishCommand, type JsonOption, withRedis, openRuns } from "../context.ts";
import { postRequest } from "../http.ts";
import {
  addAskedOptions,
  addRowOptions,
  type AskedOptions,
  requestOf,
  type RowOptions,
} from "../request.ts";
import { clean, table } from "../table.ts";
import type { Paint } from "../terminal.ts";
import { showTime } from "../../engine/calendar/interval.ts";

interface Options extends AskedOptions, RowOptions, JsonOption {
  readonly via: "store" | "http" | "temporal";
  readonly url: string;
}

/** Adds the command. */
export function addGet(program: Command, context: Context): void {
  const command = program
    .command("get")
    .summary("get feature values for entities or inputs")
    .description(
      "Gets feature values: from the stored row of an entity, from raw values of the request, or " +
        "from both. An entity that is not there has the status NOT_FOUND; that is no error.",
    );
  addRowOptions(addAskedOptions(command))
    .addOption(
      new Option(
        "--via <way>",
        "store: Redis itself; http: the HTTP service; temporal: the online activity",
      )
        .choices(["store", "http", "temporal"])
        .default("store"),
    )
    .option("--url <url>", "the HTTP service, with --via http", "http://127.0.0.1:8080")
    .action((options: Options) =>
      context.answer(options, async () => {
        const request = await requestOf(options, context.terminal);
        const data = await ask(context, request, options);
        return { data, text: () => answerText(data, context.paint) };
      }),
    );
  finishCommand(command, [
    "get --service model_x --entity id=11 --entity id=36",
    "get --features has_pet,age_zero_mean --input pet=2 --input age=33",
  ]);
}

async function ask(
  context: Context,
  request: FeatureRequest,
  { via, url }: Options,
): Promise<FeatureAnswer> {
  switch (via) {
    case "store": {
      const catalogue = await context.catalogue();
      const { createLookup } = await import("../../serving/lookup.ts");
      const settings = context.settings();
      return withRedis(settings, "serving", async (redis) => {
        const lookup = createLookup({ catalogue, redis, prefix: settings.prefix });
        try {
          return await lookup.answer(request);
        } finally {
          lookup.close();
        }
      });
    }
    case "http":
      return postRequest(url, request, context.settings().key);
    case "temporal":
      return (await openRuns(context.settings())).getFeatures(request);
  }
}

const statusStyles = {
  PRESENT: "green",
  NULL_VALUE: "yellow",
  STALE: "yellow",
  OUTSIDE_MAX_AGE: "red",
  NOT_FOUND: "red",
  UNAVAILABLE: "red",
  ERROR: "red",
} as const satisfies Record<Status, string>;

/** One table for each row. */
export function answerText(answer: FeatureAnswer, paint: Paint): string {
  const { snapshot, uncovered = [], results } = answer;
  const used = Object.entries(snapshot).map(([view, id]) => `snapshot of ${view}: ${id}`);
  const lacking = uncovered.map(
    (view) =>
      `${paint("yellow", "!")} an interval of ${view} is missing: what is served lacks its rows`,
  );
  return [...results.map((row, i) => rowText(row, i, paint)), ...used, ...lacking].join("\n\n");
}

function rowText(row: FeatureRow, i: number, paint: Paint): string {
  const { entity, features, statuses, event_times, violations = {} } = row;
  const key = Object.entries(entity ?? {}).map(([name, value]) => `${name}=${clean(value)}`);
  const names = Object.keys(features);
  const times = names.map((name) => event_times[name] ?? null);
  const cells = names.map((name, place) => {
    const status = statuses[name] ?? "NOT_FOUND";
    return [
      name,
      clean(JSON.stringify(features[name] ?? null)),
      paint(statusStyles[status], status),
      showTime(times[place] ?? ""),
    ];
  });
  const broken = Object.entries(violations).map(
    ([name, texts]) => `${paint("yellow", "!")} ${name} violates ${texts.join(", ")}`,
  );
  return [
    paint("bold", key.length > 0 ? key.join(", ") : `row ${i + 1}`),
    table(["feature", "value", "status", "event time"], cells, paint),
    ...broken,
  ].join("\n");
}
