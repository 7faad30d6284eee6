/** `npm run demo`: the main job from raw rows to online features, on real services. */
import { resolve } from "node:path";
import { Command } from "commander";
import { resultOf } from "../cli/follow.ts";
import { type Detail, openProgress, type Progress } from "../cli/progress.ts";
import { connectRuns } from "../cli/temporal.ts";
import { loadCatalogue, serviceNamed, type View, viewNamed } from "../engine/catalogue.ts";
import { OnceflowError } from "../engine/errors.ts";
import { endsOf, interval } from "../engine/calendar/interval.ts";
import { plan } from "../engine/planner.ts";
import { listSourceFiles } from "../sources/files.ts";
import type { MaterializeResult, TrainingSetResult } from "../workflows/contract.ts";
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
  type JsonRow,
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
/** Requests of which the latency is measured, by way. */
const requestsMeasured = { http: 600, activity: 25 } as const;

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
  const site = await start(options);
  const filled = await materializeViews(site);
  const training = await buildTrainingSet(site);
  const rows = await readRows(site, training);
  const ways = waysOf(site);
  const compared = await compareWays(site, ways, rows, filled.absences.published?.snapshot ?? null);
  const latency = await measureWays(site, ways, rows);
  const report = await reportOf(site, filled, training, rows, compared, latency);
  await tell(site, training, compared, report);
  await stop(site);
}

/** What is started, and what its steps share. */
type Site = Awaited<ReturnType<typeof start>>;

/** Starts what is missing, and writes the rows to work on. */
async function start(options: DemoOptions) {
  const progress = openProgress();
  const { timed, seconds } = stopwatch(progress);
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
  return {
    options,
    progress,
    timed,
    seconds,
    catalogue,
    absences,
    badges,
    todayMs,
    folder,
    services,
    settings,
    application,
    stopApplication,
    runs,
    workflowIds: [] as string[],
  };
}

/** Steps whose times go into the report. */
function stopwatch(progress: Progress) {
  const seconds: Record<string, number> = {};
  const timed = async <T>(
    name: string,
    title: string,
    work: (detail: Detail) => Promise<T>,
    done?: (result: T) => string,
  ): Promise<T> => {
    const before = performance.now();
    const result = await progress.step(title, work, done);
    seconds[name] = Number(((performance.now() - before) / 1000).toFixed(3));
    return result;
  };
  return { timed, seconds };
}

/** What was committed of the two views. */
interface Filled {
  readonly absences: MaterializeResult;
  readonly badges: readonly MaterializeResult[];
}

async function materializeViews(site: Site): Promise<Filled> {
  const { runs, timed, absences, badges, todayMs } = site;
  const nowMs = Math.floor(Date.now() / 1000) * 1000;
  const materialized = await timed(
    "materialize",
    "Materialize view absences by a Temporal workflow",
    async (detail) => resultOf(runs.client, await startRun(site, absences, 0, nowMs), detail),
    ({ rows, published }) =>
      `View absences: ${rows} rows read, ${published?.written ?? 0} entities published`,
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
        days.map((day) => startRun(site, badges, day, day + msPerDay)),
      );
      return Promise.all(started.map((run) => run.result()));
    },
    (results) => `View badges: ${sum(results.map((each) => each.rows))} rows of ${badgeDays} days`,
  );
  return { absences: materialized, badges: badgeResults };
}

async function startRun({ runs, workflowIds }: Site, view: View, startMs: number, endMs: number) {
  const run = await runs.startMaterialize({
    view: view.name,
    ...endsOf({ startMs, endMs }),
    fingerprint: view.fingerprint,
    definition: view.definition,
  });
  workflowIds.push(run.workflowId);
  return run;
}

function buildTrainingSet(site: Site): Promise<TrainingSetResult> {
  const { runs, timed, catalogue, workflowIds } = site;
  return timed(
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
}

/** The rows to ask for, and what the answers must be. */
interface Rows {
  readonly raw: readonly JsonRow[];
  /** Row for row. */
  readonly offline: readonly JsonRow[];
  readonly newest: ReturnType<typeof newestByEntity>;
}

async function readRows(
  { catalogue, absences, settings }: Site,
  training: TrainingSetResult,
): Promise<Rows> {
  const offline = readTrainingSet(training.path, serviceNamed(catalogue, demoServices.training));
  const sources = { dataDir: settings.dataDir, overrides: settings.sources };
  const raw = await readSourceRows(absences, sources);
  return { raw, offline, newest: newestByEntity(raw, offline) };
}

/** The ways in which this Temporal lets online features be asked for. */
function waysOf({ services, application, runs, progress }: Site): Way[] {
  const ways: Way[] = [httpWay(application.httpUrl)];
  if (services.standaloneActivities) ways.push(temporalWay(runs));
  else
    progress.say(
      "! This Temporal server knows no Standalone Activities (server 1.30 or newer does): the online activity is not asked.",
    );
  return ways;
}

/** How the report calls a way. */
function keyOf(way: Way): "http" | "activity" {
  return way.name === "HTTP" ? "http" : "activity";
}

/** What came of the comparisons. */
interface ComparedWays {
  /** Values that differ between online and offline, by scenario and way. */
  readonly skew: Readonly<Record<string, number>>;
  /** Over HTTP, by scenario. */
  readonly byRequest: readonly Compared[];
  readonly byStore: readonly Compared[];
}

async function compareWays(
  site: Site,
  ways: readonly Way[],
  rows: Rows,
  snapshot: string | null,
): Promise<ComparedWays> {
  const skew: Record<string, number> = {};
  let byRequest: readonly Compared[] = [];
  let byStore: readonly Compared[] = [];
  for (const way of ways) {
    const key = keyOf(way);
    // Servers read what is current once a second.
    await seesSnapshot(way, snapshot);
    const requested = await compareByRequest(site, way, rows);
    const stored = await compareByStore(site, way, rows);
    skew[`scenario_1_${key}`] = countSkewed(requested);
    skew[`scenario_2_${key}`] = countSkewed(stored);
    if (key === "http") [byRequest, byStore] = [requested, stored];
  }
  return { skew, byRequest, byStore };
}

function compareByRequest({ timed }: Site, way: Way, { raw, offline }: Rows): Promise<Compared[]> {
  return timed(
    `scenario_1_${keyOf(way)}`,
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
}

function compareByStore({ timed }: Site, way: Way, { newest }: Rows): Promise<Compared[]> {
  return timed(
    `scenario_2_${keyOf(way)}`,
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
}

function measureWays(
  { timed }: Site,
  ways: readonly Way[],
  { newest }: Rows,
): Promise<Report["latency"]> {
  return timed("latency", "Measure latency, one request at a time", async () => {
    const single = (count: number) =>
      Array.from({ length: count }, (_, i) => ({
        service: demoServices.online,
        entities: [{ id: newest[i % newest.length]?.id ?? "" }],
      }));
    const result: Record<string, Awaited<ReturnType<typeof measureLatency>>> = {};
    for (const way of ways) {
      const key = keyOf(way);
      const count = requestsMeasured[key];
      result[key] = await measureLatency(way, single(count), Math.floor(count / 6));
    }
    return result;
  });
}

async function reportOf(
  { catalogue, absences, settings, services, seconds, workflowIds }: Site,
  filled: Filled,
  training: TrainingSetResult,
  { newest }: Rows,
  { skew }: ComparedWays,
  latency: Report["latency"],
): Promise<Report> {
  const parts = plan(catalogue, { service: demoServices.online }).bind(
    new Set(),
    new Set(absences.rows.key),
  );
  return {
    versions: await versionsOf(settings),
    rows: {
      absences: filled.absences.rows,
      entities: newest.length,
      badges: sum(filled.badges.map((each) => each.rows)),
      training_set: training.rows,
    },
    rows_per_second: Math.round(filled.absences.rows / (seconds["materialize"] ?? 1)),
    seconds,
    workflow_ids: workflowIds,
    snapshot: { absences: filled.absences.published?.snapshot ?? null },
    skew,
    standalone_activities: services.standaloneActivities,
    columns_decoded: Object.fromEntries(
      parts.flatMap(({ read }) =>
        read === undefined ? [] : [[read.view.name, [...read.columns].sort()]],
      ),
    ),
    latency,
    temporal_ui: services.temporalUiUrl ?? null,
  };
}

/** Prints the report and writes the files; a value that differs fails the process. */
async function tell(
  { options, catalogue, progress, services }: Site,
  training: TrainingSetResult,
  { skew, byRequest, byStore }: ComparedWays,
  report: Report,
): Promise<void> {
  if (options.out !== undefined) {
    await writeOut(resolve(options.out), training.path, catalogue, byRequest, byStore, report);
    progress.say(`✓ Files are in ${resolve(options.out)}`);
  }
  if (options.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else process.stdout.write(describeReport(report, services.temporalUiUrl));
  if (sum(Object.values(skew)) > 0) process.exitCode = 1;
}

/** Stops what was started; with `--keep`, once a person or a part of it has ended it. */
async function stop(site: Site): Promise<void> {
  const { options, settings, services, application, progress } = site;
  await site.runs.close();
  if (options.keep === true) {
    process.stderr.write(keepText(settings, application.httpUrl, services.temporalUiUrl));
    await stayWhile([...services.processes, ...application.processes]);
  }
  await progress.step("Stop what the demo has started", async () => {
    await site.stopApplication();
    if (!services.owned.redis) await removeKeys(settings);
    await services.stop();
    await site.folder.release();
  });
}
