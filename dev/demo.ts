/** `npm run demo`: the main job from raw rows to online features, on real services. */
import { resolve } from "node:path";
import { Command } from "commander";
import { resultOf } from "../cli/follow.ts";
import { openProgress } from "../cli/progress.ts";
import { connectRuns } from "../cli/temporal.ts";
import { loadCatalogue, serviceNamed, viewNamed } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { interval } from "../engine/calendar/interval.ts";
import { plan } from "../engine/planner.ts";
import { listSourceFiles } from "../sources/files.ts";
import { startApplication } from "./application.ts";
import { runCommand, toCount } from "./command.ts";
import {
  demoServices,
  describeReport,
  describeSkew,
  keepText,
  type Report,
  sum,
  versionsOf,
  writeOut,
} from "./demo-report.ts";
import { demoSettings, removeKeys } from "./demo-settings.ts";
import { writeAbsences, writeBadges } from "./example-data.ts";
import { own, ownTemporaryDirectory } from "./owned.ts";
import { stayWhile } from "./processes.ts";
import {
  type Compared,
  compareRows,
  countSkewed,
  httpWay,
  measureLatency,
  newestByEntity,
  readSourceRows,
  readTrainingSet,
  seesSnapshot,
  temporalWay,
  type Way,
  withoutKey,
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
  .option("--keep", "stays until Ctrl-C, or until a part of it ends by itself")
  .option("--json", "prints the report as JSON on stdout")
  .action(demo);

await runCommand(command);

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
  const settings = demoSettings(options.data, folder.path, services, progress);

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
      definition: view.definition,
    });
    workflowIds.push(run.workflowId);
    return run;
  };
  const nowMs = Math.floor(Date.now() / 1000) * 1000;
  const materialized = await timed(
    "materialize",
    "Materialize view absences by a Temporal workflow",
    async (detail) => resultOf(runs.client, await materialize(absences, 0, nowMs), detail),
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
    `Build training set ${demoServices.training}`,
    async () => {
      const run = await runs.startTrainingSet({
        service: demoServices.training,
        fingerprint: serviceNamed(catalogue, demoServices.training).fingerprint,
      });
      workflowIds.push(run.workflowId);
      return run.result();
    },
    ({ rows }) => `Training set: ${rows} rows`,
  );
  const offline = readTrainingSet(training.path, serviceNamed(catalogue, demoServices.training));
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
          demoServices.online,
          raw.map(withoutKey),
          offline,
          (inputs) => ({ inputs }),
          (done) => detail(`${done} of ${raw.length} rows`),
        ),
      (compared) => `Scenario 1 by ${way.name}: ${describeSkew(compared)}`,
    );
    const stored = await timed(
      `scenario_2_${key}`,
      `Scenario 2 by ${way.name}: the id in the request, what ${demoServices.online} needs from the store`,
      (detail) =>
        compareRows(
          way,
          demoServices.online,
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
        service: demoServices.online,
        entities: [{ id: newest[i % newest.length]?.id ?? "" }],
      }));
    const result: Record<string, Awaited<ReturnType<typeof measureLatency>>> = {};
    for (const way of ways) {
      const [key, count] = way.name === "HTTP" ? ["http", 600] : ["activity", 25];
      result[key] = await measureLatency(way, single(count), Math.floor(count / 6));
    }
    return result;
  });

  const bound = plan(catalogue, { service: demoServices.online }).bind(
    new Set(),
    new Set(absences.rows.key),
  );
  const report: Report = {
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
  else process.stdout.write(describeReport(report, services.temporalUiUrl));
  const total = sum(Object.values(skew));
  if (total > 0) process.exitCode = 1;
  await runs.close();
  if (options.keep === true) {
    process.stderr.write(keepText(settings, application.httpUrl, services.temporalUiUrl));
    await stayWhile([...services.processes, ...application.processes]);
  }
  await progress.step("Stop what the demo has started", async () => {
    await stopApplication();
    if (!services.owned.redis) await removeKeys(settings);
    await services.stop();
    await folder.release();
  });
}
