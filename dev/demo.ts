/** `npm run demo`: the main job from raw rows to online features, on real services. */
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Command, InvalidArgumentError } from "commander";
import pl from "nodejs-polars";
import { openProgress, type Progress } from "../cli/progress.ts";
import { connectRuns, type Run } from "../cli/temporal.ts";
import { loadCatalogue, serviceNamed, viewNamed } from "../engine/catalogue.ts";
import { messageOf, OnceflowError } from "../engine/errors.ts";
import { interval } from "../engine/interval.ts";
import { plan } from "../engine/planner.ts";
import { readSettings, type Settings } from "../settings.ts";
import { connectRedis } from "../store/redis.ts";
import { listSourceFiles } from "../store/source-files.ts";
import type { MaterializeResult } from "../workflows/contract.ts";
import { startApplication } from "./application.ts";
import { writeAbsences, writeBadges } from "./example-data.ts";
import { isStopping, own, ownTemporaryDirectory, releaseAll } from "./owned.ts";
import {
  type Compared,
  compareRows,
  httpWay,
  type JsonRow,
  measureLatency,
  readSourceRows,
  readTrainingSet,
  temporalWay,
  type Way,
} from "./scenarios.ts";
import { startServices } from "./services.ts";

interface DemoOptions {
  readonly data?: string;
  readonly rows: number;
  readonly out?: string;
  readonly keep?: true;
  readonly json?: true;
}

const badgeDays = 3;
const msPerDay = 86_400_000;
const service = "model_x";
const trainingService = "absenteeism_training";

const command = new Command("npm run demo --")
  .description(
    "Starts what is missing (Redis, Temporal, workers, the HTTP service), materializes the " +
      "examples, builds a training set, asks for online features, and compares every online " +
      "answer with the offline one.",
  )
  .option("--data <file>", "absences as .csv or .parquet; by default generated rows")
  .option("--rows <n>", "how many rows to generate", toCount, 10_000)
  .option(
    "--out <directory>",
    "writes training_set.csv, online_request.ndjson, online_store.ndjson and report.json",
  )
  .option("--keep", "stays until Ctrl-C, with everything running")
  .option("--json", "prints the report as JSON on stdout")
  .action(demo);

try {
  await command.parseAsync();
} catch (error) {
  // On Ctrl-C something fails because it is being stopped; the signal ends this process.
  if (!isStopping()) {
    const code = error instanceof OnceflowError ? `${error.code} ` : "";
    process.stderr.write(`\n${code}${messageOf(error)}\n`);
    process.exitCode = 1;
    await releaseAll();
  }
}

function toCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 10_000_000) return count;
  throw new InvalidArgumentError("expected a whole number from 1 to 10000000.");
}

async function demo(options: DemoOptions): Promise<void> {
  const progress = openProgress();
  const seconds: Record<string, number> = {};
  /** A step whose time goes into the report. */
  const timed = async <T>(
    name: string,
    title: string,
    work: (detail: (text: string) => void) => Promise<T>,
    done?: (result: T) => string,
  ): Promise<T> => {
    const before = performance.now();
    const result = await progress.step(title, work, done);
    seconds[name] = Number(((performance.now() - before) / 1000).toFixed(3));
    return result;
  };

  const catalogue = await loadCatalogue(() => import("../features/index.ts"));
  const absences = viewNamed(catalogue, "absences");
  const badges = viewNamed(catalogue, "badges");
  if (options.data !== undefined) {
    // A run would wait for a missing file; a person would rather know at once.
    const sources = { dataDir: ".", overrides: { absences: resolve(options.data) } };
    await listSourceFiles(absences.source, interval("0001-01-01", "9999-12-31"), sources);
  }
  const folder = ownTemporaryDirectory("demo");
  const services = await startServices({ progress });
  const settings = await demoSettings(options, folder.path, services, progress);

  if (options.data === undefined)
    await timed("generate", `Generate ${options.rows} absences, seeded`, () =>
      Promise.resolve(writeAbsences(settings.dataDir, options.rows)),
    );
  const todayMs = Math.floor(Date.now() / msPerDay) * msPerDay;
  writeBadges(settings.dataDir, todayMs - badgeDays * msPerDay, badgeDays);

  const application = await timed(
    "start",
    "Start two workers and the HTTP service",
    () => startApplication(settings, folder.path),
    ({ httpUrl }) => `Two workers and the HTTP service run: ${httpUrl}`,
  );
  const stopApplication = own(() => application.stop());
  const runs = await connectRuns(settings);
  const workflowIds: string[] = [];

  const materialize = async (view: typeof absences, startMs: number, endMs: number) => {
    const iso = (ms: number) => new Date(ms).toISOString();
    const run = await runs.startMaterialize({
      view: view.name,
      start: iso(startMs),
      end: iso(endMs),
      fingerprint: view.fingerprint,
      definition: view.runFingerprint,
    });
    workflowIds.push(run.workflowId);
    return run;
  };
  const nowMs = Math.floor(Date.now() / 1000) * 1000;
  const materialized = await timed(
    "materialize",
    "Materialize view absences by a Temporal workflow",
    async (detail) => follow(await materialize(absences, 0, nowMs), detail),
    ({ rows, written }) => `View absences: ${rows} rows read, ${written} entities stored`,
  );
  if (materialized.rows === 0)
    throw new OnceflowError(
      "REQUEST_INVALID",
      "the file has a header and no rows, so there is nothing to compare.",
    );
  const badgeResults = await timed(
    "materialize_badges",
    `Materialize ${badgeDays} days of view badges`,
    async () => {
      const days = Array.from({ length: badgeDays }, (_, day) => todayMs - (day + 1) * msPerDay);
      const started = await Promise.all(
        days.map((day) => materialize(badges, day, day + msPerDay)),
      );
      return Promise.all(started.map((run) => run.result()));
    },
    (results) => `View badges: ${sum(results.map((each) => each.rows))} rows of ${badgeDays} days`,
  );

  const training = await timed(
    "training_set",
    `Build training set ${trainingService}`,
    async () => {
      const run = await runs.startTrainingSet({
        service: trainingService,
        fingerprint: serviceNamed(catalogue, trainingService).fingerprint,
      });
      workflowIds.push(run.workflowId);
      return run.result();
    },
    ({ rows }) => `Training set: ${rows} rows`,
  );
  const offline = readTrainingSet(training.path, serviceNamed(catalogue, trainingService));
  const sources = { dataDir: settings.dataDir, overrides: settings.sources };
  const raw = await readSourceRows(absences, sources);

  const ways: Way[] = [httpWay(application.httpUrl)];
  if (services.standaloneActivities) ways.push(temporalWay(runs));
  else
    progress.say(
      "! This Temporal server knows no Standalone Activities (server 1.30 or newer does): the online activity is not asked.",
    );
  const newest = newestByEntity(raw, offline);
  const skew: Record<string, number> = {};
  let byRequest: readonly Compared[] = [];
  let byStore: readonly Compared[] = [];
  for (const way of ways) {
    const key = way.name === "HTTP" ? "http" : "activity";
    // Servers read what is current once a second.
    await seesSnapshot(way, materialized.snapshot);
    const requested = await timed(
      `scenario_1_${key}`,
      `Scenario 1 by ${way.name}: raw columns in the request, aggregates from the store`,
      (detail) =>
        compareRows(
          way,
          service,
          raw.map(withoutKey),
          offline,
          (inputs) => ({ inputs }),
          (done) => detail(`${done} of ${raw.length} rows`),
        ),
      (compared) => `Scenario 1 by ${way.name}: ${describeSkew(compared)}`,
    );
    const stored = await timed(
      `scenario_2_${key}`,
      `Scenario 2 by ${way.name}: the id in the request, what ${service} needs from the store`,
      (detail) =>
        compareRows(
          way,
          service,
          newest.map(({ id }) => ({ id })),
          newest.map((each) => each.offline),
          (entities) => ({ entities }),
          (done) => detail(`${done} of ${newest.length} ids`),
        ),
      (compared) => `Scenario 2 by ${way.name}: ${describeSkew(compared)}`,
    );
    skew[`scenario_1_${key}`] = countSkewed(requested);
    skew[`scenario_2_${key}`] = countSkewed(stored);
    if (key === "http") [byRequest, byStore] = [requested, stored];
  }

  const latency = await timed("latency", "Measure latency, one request at a time", async () => {
    const single = (count: number) =>
      Array.from({ length: count }, (_, i) => ({
        service,
        entities: [{ id: newest[i % newest.length]?.id ?? "" }],
      }));
    const result: Record<string, Awaited<ReturnType<typeof measureLatency>>> = {};
    for (const way of ways) {
      const [key, count] = way.name === "HTTP" ? ["http", 600] : ["activity", 25];
      result[key] = await measureLatency(way, single(count), Math.floor(count / 6));
    }
    return result;
  });

  const bound = plan(catalogue, { service }).bind(new Set(), new Set(absences.entity.keys));
  const report = {
    versions: await versionsOf(settings),
    rows: {
      absences: materialized.rows,
      entities: newest.length,
      badges: sum(badgeResults.map((each) => each.rows)),
      training_set: training.rows,
    },
    rows_per_second: Math.round(materialized.rows / (seconds["materialize"] ?? 1)),
    seconds,
    workflow_ids: workflowIds,
    snapshot: { absences: materialized.snapshot },
    skew,
    standalone_activities: services.standaloneActivities,
    columns_decoded: Object.fromEntries(
      bound.store.map(({ view, columns }) => [view.name, [...columns].sort()]),
    ),
    latency,
    temporal_ui: services.temporalUiUrl ?? null,
  };
  if (options.out !== undefined) {
    await writeOut(resolve(options.out), training.path, catalogue, byRequest, byStore, report);
    progress.say(`✓ Files are in ${resolve(options.out)}`);
  }
  if (options.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else process.stdout.write(describe(report, services.temporalUiUrl));
  const total = sum(Object.values(skew));
  if (total > 0) process.exitCode = 1;
  await runs.close();
  if (options.keep === true) {
    process.stderr.write(keepText(settings, application.httpUrl, services.temporalUiUrl));
    setInterval(() => undefined, 2 ** 30);
    return;
  }
  await progress.step("Stop what the demo has started", async () => {
    await stopApplication();
    if (!services.owned.redis) await removeKeys(settings);
    await services.stop();
    await folder.release();
  });
}

/** Settings of the demo's own: on services that were given, names that nothing else uses. */
async function demoSettings(
  options: DemoOptions,
  folder: string,
  services: Awaited<ReturnType<typeof startServices>>,
  progress: Progress,
): Promise<Settings> {
  const unique = `onceflow-demo-${process.pid}-${Date.now().toString(36)}`;
  const settings: Settings = {
    ...readSettings({}),
    temporalNamespace: readSettings().temporalNamespace,
    redisUrl: services.redisUrl,
    temporalAddress: services.temporalAddress,
    prefix: services.owned.redis ? "onceflow" : unique,
    queue: services.owned.temporal ? "onceflow" : unique,
    dataDir: join(folder, "data"),
    offlineDir: join(folder, "offline"),
    sources: options.data === undefined ? {} : { absences: resolve(options.data) },
  };
  if (!services.owned.redis) {
    progress.say(`  Keys in that Redis begin with ${settings.prefix} and are removed at the end.`);
    own(() => removeKeys(settings));
  }
  return Promise.resolve(settings);
}

/** Removes the demo's own keys from a Redis that it did not start. */
async function removeKeys(settings: Settings): Promise<void> {
  const redis = connectRedis(settings.redisUrl, "writing");
  try {
    for (const { send } of await redis.masters()) {
      let cursor = "0";
      do {
        const reply = await send(["scan", cursor, "match", `${settings.prefix}*`, "count", 1000]);
        const [next, keys] = reply as [Buffer, Buffer[]];
        await redis.pipeline(keys.map((key) => ["unlink", key] as const));
        cursor = next.toString();
      } while (cursor !== "0");
    }
  } finally {
    await redis.close();
  }
}

/** Waits for a run, showing what its page says. */
async function follow(
  run: Run<MaterializeResult>,
  detail: (text: string) => void,
): Promise<MaterializeResult> {
  const timer = setInterval(() => {
    void run.details().then((text) => detail(text?.split("\n").at(-1) ?? ""));
  }, 500);
  try {
    return await run.result();
  } finally {
    clearInterval(timer);
  }
}

/** Waits until answers come from the snapshot that was committed. */
async function seesSnapshot(way: Way, snapshot: string | null): Promise<void> {
  const giveUpMs = Date.now() + 15_000;
  for (;;) {
    const answer = await way.ask({ features: ["age_mean"] });
    if (answer.snapshot["absences"] === snapshot) return;
    if (Date.now() > giveUpMs)
      throw new OnceflowError(
        "NO_SNAPSHOT",
        `${way.name} still answers from snapshot ${answer.snapshot["absences"]}, not from ${snapshot}, which was committed.`,
      );
    await pause(100);
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function withoutKey({ id: _id, ...columns }: JsonRow): JsonRow {
  return columns;
}

/** Each distinct id in order of first appearance, with the offline values of its last row. */
function newestByEntity(raw: readonly JsonRow[], offline: readonly JsonRow[]) {
  const newest = new Map<string, JsonRow>();
  raw.forEach((row, i) => newest.set(row["id"] as string, offline[i] ?? {}));
  return [...newest].map(([id, values]) => ({ id, offline: values }));
}

function countSkewed(compared: readonly Compared[]): number {
  return sum(compared.map((each) => each.skewed.length));
}

function describeSkew(compared: readonly Compared[]): string {
  const skewed = countSkewed(compared);
  const values = sum(compared.map((each) => Object.keys(each.answer.features).length));
  return skewed === 0
    ? `${compared.length} rows, ${values} values equal to offline bit for bit`
    : `${skewed} of ${values} values DIFFER from offline`;
}

async function versionsOf(settings: Settings) {
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

async function writeOut(
  out: string,
  trainingPath: string,
  catalogue: Awaited<ReturnType<typeof loadCatalogue>>,
  byRequest: readonly Compared[],
  byStore: readonly Compared[],
  report: object,
): Promise<void> {
  mkdirSync(out, { recursive: true });
  const names = serviceNamed(catalogue, trainingService).outputs.map((output) => output.name);
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

function describe(
  report: {
    readonly rows: Readonly<Record<string, number>>;
    readonly rows_per_second: number;
    readonly seconds: Readonly<Record<string, number>>;
    readonly skew: Readonly<Record<string, number>>;
    readonly columns_decoded: Readonly<Record<string, readonly string[]>>;
    readonly latency: Readonly<Record<string, { p50_ms: number; p99_ms: number }>>;
  },
  temporalUi: string | undefined,
): string {
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
      `from the store for ${service}: ${(report.columns_decoded["absences"] ?? []).join(", ")}`,
    ],
    ...Object.entries(latency).map(([way, { p50_ms, p99_ms }]): [string, string] => [
      `latency ${way}`,
      `p50 ${p50_ms} ms, p99 ${p99_ms} ms, one entity, one request at a time`,
    ]),
    ["Temporal UI", temporalUi ?? "not started by the demo"],
  ];
  return `\n${lines.map(([name, text]) => `  ${name.padEnd(18)}${text}`).join("\n")}\n\n`;
}

function keepText(settings: Settings, httpUrl: string, temporalUi: string | undefined): string {
  return `Everything keeps running until Ctrl-C. In another terminal:

  export REDIS_URL=${settings.redisUrl} TEMPORAL_ADDRESS=${settings.temporalAddress}
  export ONCEFLOW_PREFIX=${settings.prefix} ONCEFLOW_QUEUE=${settings.queue}
  npm run --silent cli -- status
  npm run --silent cli -- get --service ${service} --entity id=11
  curl -s ${httpUrl}/v1/features -H 'content-type: application/json' \\
    -d '{"service":"${service}","entities":[{"id":"11"}]}'
${temporalUi === undefined ? "" : `\n  Temporal UI: ${temporalUi}\n`}
`;
}
