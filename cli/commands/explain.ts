/** `explain`: what comes from where. */
import type { Command } from "commander";
import { plan } from "../../engine/planner.ts";
import type { FeatureRequest } from "../../serving/request.ts";
import {
  explainPlan,
  type OutputExplanation,
  type PlanExplanation,
} from "../../serving/explain.ts";
import {
  type Context,
  finishCommand,
  type JsonOption,
  type Reply,
  usageError,
  withRedis,
} from "../context.ts";
import {
  addAskedOptions,
  addRowOptions,
  askedOf,
  type AskedOptions,
  requestOf,
  type RowOptions,
} from "../request.ts";
import { table } from "../table.ts";
import type { Paint } from "../terminal.ts";
import { countOf } from "../../engine/words.ts";

interface Options extends AskedOptions, RowOptions, JsonOption {
  /** True where no name follows. */
  readonly withInputs?: string | true;
  readonly withEntity?: true;
  readonly live?: true;
}

/** Adds the command. */
export function addExplain(program: Command, context: Context): void {
  const command = program
    .command("explain")
    .summary("show what comes from where")
    .description(
      "Shows for each feature whether it comes from the request, the stored row or the aggregate " +
        "snapshot, or is computed from those, and which stored columns are decoded. Without --live " +
        "no store is read: it explains a request by entity, or by what --with-entity and " +
        "--with-inputs say. With --live it reads what a request by --entity and --input would " +
        "read, and counts the bytes.",
    );
  addAskedOptions(command)
    .option(
      "--with-inputs [columns]",
      "explain requests that carry these raw columns, between commas; all where none is named",
    )
    .option(
      "--with-entity",
      "explain requests that name the entity (default without --with-inputs)",
    )
    .option("--live", "read the rows that --entity, --input and the like name");
  addRowOptions(command).action((options: Options) =>
    context.answer(options, () =>
      options.live === true ? explainLive(context, options) : explain(context, options),
    ),
  );
  finishCommand(command, [
    "explain --service model_x --with-inputs",
    "explain --service model_x --live --entity id=11",
  ]);
}

/** Explains without a store. */
async function explain(context: Context, options: Options): Promise<Reply> {
  const { withInputs, entity, input, inputsFile, snapshot } = options;
  if ((entity ?? input ?? inputsFile ?? snapshot) !== undefined)
    throw usageError("--entity, --input, --inputs-file and --snapshot need --live.");
  const planned = plan(await context.catalogue(), askedOf(options));
  const inputs =
    withInputs === undefined
      ? []
      : withInputs === true
        ? planned.requiredInputs()
        : withInputs.split(",").flatMap((name) => planned.inputNamed(name.trim()) ?? []);
  const ids = inputs.map(({ id }) => id);
  const keys = options.withEntity === true || withInputs === undefined ? planned.entityKeys : [];
  const explained = explainPlan(planned.bind(new Set(ids), new Set(keys)));
  const { fingerprint } = planned;
  const named = options.service === undefined ? {} : { service: options.service };
  return {
    data: { ...named, fingerprint, carries: { inputs: ids, entity: keys }, ...explained },
    text: () => {
      const carried = [
        keys.length > 0 ? `the entity (${keys.join(", ")})` : "",
        ids.length > 0 ? `inputs ${ids.join(", ")}` : "",
      ].filter((part) => part !== "");
      return [
        `a request with ${carried.join(" and ") || "nothing"}`,
        planText(explained, context.paint),
      ].join("\n");
    },
  };
}

/** Explains a request, and reads what it would read. */
async function explainLive(context: Context, options: Options): Promise<Reply> {
  if (options.withInputs !== undefined || options.withEntity === true)
    throw usageError("--live takes --entity and --input instead of --with-entity, --with-inputs.");
  const request: FeatureRequest = await requestOf(options, context.terminal);
  const catalogue = await context.catalogue();
  const settings = context.settings();
  const { createLookup } = await import("../../serving/lookup.ts");
  const explained = await withRedis(settings, "serving", async (redis) => {
    const lookup = createLookup({ catalogue, redis, prefix: settings.prefix });
    try {
      return await lookup.explain(request);
    } finally {
      lookup.close();
    }
  });
  return {
    data: explained,
    text: () =>
      [
        ...explained.bindings.map(
          (binding) => `${countOf(binding.rows, "row")}\n${planText(binding, context.paint)}`,
        ),
        [
          `${explained.bytes} bytes of stored rows read`,
          ...Object.entries(explained.snapshot).map(([view, id]) => `snapshot of ${view}: ${id}`),
        ].join("\n"),
      ].join("\n\n"),
  };
}

/** A table of the outputs, then the columns that are decoded. */
export function planText({ outputs, reads }: PlanExplanation, paint: Paint): string {
  const rows = outputs.map((output) => [output.name, output.dtype, output.how, fromText(output)]);
  const read = reads.map(({ view, columns, stores, eventTime }) => {
    const names = [...columns, ...(eventTime ? ["its event time"] : [])];
    return `decodes ${columns.length} of ${countOf(stores, "column")} of ${view}: ${names.join(", ") || "none"}`;
  });
  return [
    table(["feature", "dtype", "how", "from"], rows, paint),
    ...(read.length === 0 ? ["reads no stored row"] : read),
  ].join("\n");
}

function fromText({ request, stored, aggregates, opaque }: OutputExplanation): string {
  const parts = [
    ["request", request],
    ["row", stored],
    ["snapshot", aggregates],
    ["opaque", opaque],
  ] as const;
  const text = parts
    .filter(([, names]) => names.length > 0)
    .map(([where, names]) => `${where}: ${names.join(", ")}`);
  return text.join("; ") || "constants";
}
