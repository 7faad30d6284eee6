/** What the demo tells at its end: the report, the files of `--out`, and how to go on. */
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import pl from "nodejs-polars";
import { type Catalogue, serviceNamed } from "../engine/catalogue.ts";
import type { Settings } from "../settings.ts";
import { connectRedis } from "../store/redis/connection.ts";
import { type Compared, countSkewed, type measureLatency } from "./scenarios.ts";

/** The services of the examples that the demo asks for, and builds a training set of. */
export const demoServices = { online: "model_x", training: "absenteeism_training" } as const;

/** What `--json` prints. */
export interface Report {
  readonly versions: Awaited<ReturnType<typeof versionsOf>>;
  readonly rows: Readonly<Record<"absences" | "entities" | "badges" | "training_set", number>>;
  readonly rows_per_second: number;
  /** How long each step took, by its name. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly workflow_ids: readonly string[];
  readonly snapshot: Readonly<Record<string, string | null>>;
  /** Values that differ between online and offline, by scenario and way. */
  readonly skew: Readonly<Record<string, number>>;
  readonly standalone_activities: boolean;
  /** Columns that an answer decodes, by view. */
  readonly columns_decoded: Readonly<Record<string, readonly string[]>>;
  /** By way. */
  readonly latency: Readonly<Record<string, Awaited<ReturnType<typeof measureLatency>>>>;
  readonly temporal_ui: string | null;
}

/** The sum of some numbers. */
export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** What came of a comparison, in one line. */
export function describeSkew(compared: readonly Compared[]): string {
  const skewed = countSkewed(compared);
  const values = sum(compared.map((each) => Object.keys(each.answer.features).length));
  return skewed === 0
    ? `${compared.length} rows, ${values} values equal to offline bit for bit`
    : `${skewed} of ${values} values DIFFER from offline`;
}

/** Versions of what the figures rest on. */
export async function versionsOf(settings: Settings) {
  const manifest = JSON.parse(
    readFileSync(new URL("../package.json", import.meta.url), "utf8"),
  ) as { version: string; dependencies: Record<string, string> };
  const redis = connectRedis(settings.redisUrl, "serving");
  await redis.ready();
  const [master] = await redis.masters();
  const info = String(await master?.send(["info", "server"]));
  await redis.close();
  return {
    onceflow: manifest.version,
    node: process.versions.node,
    redis: /redis_version:(\S+)/.exec(info)?.[1] ?? "unknown",
    temporal_sdk: manifest.dependencies["@temporalio/worker"],
    polars: manifest.dependencies["nodejs-polars"],
  };
}

/** Writes what was computed and asked, and the report, into a folder. */
export async function writeOut(
  out: string,
  trainingPath: string,
  catalogue: Catalogue,
  byRequest: readonly Compared[],
  byStore: readonly Compared[],
  report: Report,
): Promise<void> {
  mkdirSync(out, { recursive: true });
  const names = serviceNamed(catalogue, demoServices.training).outputs.map((output) => output.name);
  const features = pl.readParquet(join(trainingPath, "data.parquet")).select(...names);
  features.writeCSV(join(out, "training_set.csv"));
  const line = ({ answer, snapshot }: Compared) => {
    const { entity, features: values, statuses } = answer;
    return JSON.stringify({ ...(entity && { entity }), features: values, statuses, snapshot });
  };
  for (const [name, rows] of [
    ["online_request.ndjson", byRequest],
    ["online_store.ndjson", byStore],
  ] as const)
    await writeLines(join(out, name), rows.map(line));
  writeFileSync(join(out, "report.json"), `${JSON.stringify(report, null, 2)}\n`);
}

async function writeLines(path: string, lines: readonly string[]): Promise<void> {
  await rm(path, { force: true });
  const stream = createWriteStream(path);
  for (const line of lines) stream.write(`${line}\n`);
  await new Promise<void>((done, fail) => stream.on("error", fail).end(done));
}

/** The report as a text for people. */
export function describeReport(report: Report, temporalUi: string | undefined): string {
  const { rows, seconds, latency } = report;
  const lines: [string, string][] = [
    ["absences", `${rows["absences"]} rows, ${rows["entities"]} employees`],
    [
      "materialized",
      `in ${seconds["materialize"]} s, ${report.rows_per_second} rows/s through the workflow`,
    ],
    ["training set", `${rows["training_set"]} rows in ${seconds["training_set"]} s`],
    ["skew", `${sum(Object.values(report.skew))} differences between online and offline`],
    [
      "decoded",
      `from the store for ${demoServices.online}: ${(report.columns_decoded["absences"] ?? []).join(", ")}`,
    ],
    ...Object.entries(latency).map(([way, { p50_ms, p99_ms }]): [string, string] => [
      `latency ${way}`,
      `p50 ${p50_ms} ms, p99 ${p99_ms} ms, one entity, one request at a time`,
    ]),
    ["Temporal UI", temporalUi ?? "not started by the demo"],
  ];
  return `\n${lines.map(([name, text]) => `  ${name.padEnd(18)}${text}`).join("\n")}\n\n`;
}

/** How to look around while everything runs. */
export function keepText(
  settings: Settings,
  httpUrl: string,
  temporalUi: string | undefined,
): string {
  return `Everything keeps running until Ctrl-C. In another terminal:

  export REDIS_URL=${settings.redisUrl} TEMPORAL_ADDRESS=${settings.temporalAddress}
  export ONCEFLOW_PREFIX=${settings.prefix} ONCEFLOW_QUEUE=${settings.queue}
  export ONCEFLOW_DATA=${settings.dataDir} ONCEFLOW_OFFLINE=${settings.offlineDir}
  npm run --silent cli -- status
  npm run --silent cli -- get --service ${demoServices.online} --entity id=11
  curl -s ${httpUrl}/v1/features -H 'content-type: application/json' \\
    -d '{"service":"${demoServices.online}","entities":[{"id":"11"}]}'
${temporalUi === undefined ? "" : `\n  Temporal UI: ${temporalUi}\n`}
`;
}
