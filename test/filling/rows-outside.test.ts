/** Rows in files of other days: what runs, training sets and `status` make of them. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApplicationFailure } from "@temporalio/common";
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import {
  count,
  entity,
  featureService,
  featureView,
  int64,
  source,
  string,
  sum,
  timestamp,
} from "../../engine/index.ts";
import type { ScheduleOptions } from "../../engine/calendar/schedule.ts";
import { decodeSnapshot } from "../../engine/snapshot.ts";
import { pointerRequest } from "../../store/ledger.ts";
import { openFileLook } from "../../sources/files.ts";
import { inspectView } from "../../status/view-status.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { assertRuns } from "../support/command-lines.ts";
import { randomPrefix, type TestRedis, testRedis } from "../support/redis/server.ts";
import { createMaterializer } from "../support/temporal/materializer.ts";

type Options = Pick<
  Parameters<typeof source>[1],
  "allowedLateness" | "allowedEarliness" | "onOutside"
> & { readonly schedule?: ScheduleOptions };

describe("Rows in files of other days", () => {
  let redis: TestRedis;
  let connection: RedisConnection;
  let folder: string;
  before(async () => {
    redis = await testRedis();
    connection = connectRedis(redis.url, "writing");
  });
  after(async () => {
    await connection.close();
    await redis.stop();
  });
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "onceflow-outside-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const date = (day: number) => `2026-01-0${day}`;
  function write(day: number, rows: readonly (readonly [at: string, v: number])[]) {
    const lines = rows.map(([at, v], i) => `${day}-${i},${at},${v}\n`);
    writeFileSync(join(folder, `${date(day)}.csv`), `id,at,v\n${lines.join("")}`);
  }
  /** Days of four rows: the first and last instant of the day, and those just outside of it. */
  function writeDays(...days: readonly number[]) {
    for (const day of days)
      write(day, [
        [`${date(day)}T00:00:00Z`, day],
        [`${date(day)}T23:59:59.999999Z`, day * 10],
        [`${date(day + 1)}T00:00:00Z`, day * 100],
        [`${new Date(Date.parse(date(day)) - 1).toISOString()}`, day * 1000],
      ]);
  }

  function build({ schedule, ...options }: Options) {
    const events = source("events", {
      files: "{date}.csv",
      entity: entity("event", { key: "id" }),
      eventTime: "at",
      columns: { id: string, at: timestamp, v: int64 },
      ...options,
    });
    const { v } = events.columns;
    const twice = v.mul(2);
    const catalogue = buildCatalogue({
      events: {
        twice,
        total: sum(v),
        events_so_far: count(v),
        view: featureView("events", {
          source: events,
          stores: [v],
          ...(schedule === undefined ? {} : { schedule }),
        }),
        service: featureService("doubled", [twice]),
      },
    });
    const view = viewNamed(catalogue, "events");
    const prefix = randomPrefix();
    const ledger = createLedger(connection, { prefix });
    const offlineDir = join(folder, prefix);
    const worker = createMaterializer({
      catalogue,
      redis: connection,
      prefix,
      dataDir: folder,
      offlineDir,
    });
    return {
      ledger,
      view,
      run: (from: number, to: number) => worker.materialize("events", date(from), date(to)),
      /** The values of the aggregates, by feature. */
      async aggregates() {
        const [pointers] = await ledger.readPointers([pointerRequest(view)]);
        const { id, body } = pointers?.latest ?? { id: "", body: "" };
        return [...decodeSnapshot(view.aggregates, id, body).values.values()]
          .map(Number)
          .sort(byValue);
      },
      trainingSet: (from: number, to: number) =>
        worker.call(worker.activities.buildTrainingSet, {
          service: "doubled",
          start: date(from),
          end: date(to),
        }),
      async status() {
        const listFiles = await openFileLook({ dataDir: folder });
        const status = await inspectView(
          view,
          {
            ledger,
            online: createOnlineStore(connection, { prefix }),
            catalogue,
            offlineDir,
            listFiles: listFiles && (({ source: of }, interval) => listFiles(of, interval)),
          },
          null,
          Date.parse("2026-02-01"),
        );
        for (const { fix } of status.problems) assertRuns(fix);
        return status;
      },
    };
  }
  const byValue = (a: number, b: number) => a - b;
  const reaching = { allowedLateness: "1 day", allowedEarliness: "1 s" } as const;

  it("belong to the interval of their event time, in one run a day, one over all, and in training", async () => {
    writeDays(1, 2, 3, 4);
    const [daily, whole] = [build(reaching), build(reaching)];
    const rows = [await daily.run(2, 3), await daily.run(3, 4)].map((run) => run.rows);
    assert.deepEqual(rows, [4, 4]);
    assert.equal((await whole.run(2, 4)).rows, 8);
    const expected = [8, 2 + 20 + 100 + 3000 + (3 + 30 + 200 + 4000)];
    assert.deepEqual(await daily.aggregates(), expected);
    assert.deepEqual(await whole.aggregates(), expected);
    const { path, rows: trained } = await whole.trainingSet(2, 4);
    assert.equal(trained, 8);
    const doubled = readFileSync(join(path, "data.csv"), "utf8").trimEnd().split("\n").slice(1);
    const total = doubled.reduce((all, line) => all + Number(line.split(",").at(-1)), 0);
    assert.equal(total, 2 * Number(expected[1]));
    assert.deepEqual((await whole.status()).problems, []);
  });

  it("fail a run and a training set where nothing allows for them, and nothing is committed", async () => {
    writeDays(1, 2);
    const { run, trainingSet, ledger, view } = build({});
    const said = /2026-01-01\.csv: row 3 .* set allowedLateness: "1 hour" and allowedEarliness: "1/;
    for (const work of [() => run(1, 2), () => run(1, 3), () => trainingSet(1, 3)])
      await assert.rejects(work, (error) => {
        assert.ok(error instanceof ApplicationFailure);
        assert.deepEqual([error.type, error.nonRetryable], ["EVENT_TIME_OUTSIDE", true]);
        assert.match(error.message, said);
        return true;
      });
    assert.equal((await ledger.readCoverage("events", view.fingerprint)).size, 0);
  });

  it("are left out of every split and counted where the source says so", async () => {
    writeDays(1, 2);
    const [daily, whole] = [build({ onOutside: "warn" }), build({ onOutside: "warn" })];
    const said = (day: number) =>
      new RegExp(
        `${date(day)}\\.csv: 2 rows left out, outside \\[${date(day)}, ${date(day + 1)}\\)`,
      );
    const [first, second] = [await daily.run(1, 2), await daily.run(2, 3)];
    assert.deepEqual([first.rows, second.rows], [2, 2]);
    const both = await whole.run(1, 3);
    assert.equal(both.rows, 4);
    const trained = await whole.trainingSet(1, 3);
    assert.equal(trained.rows, 4);
    for (const warnings of [
      [...first.warnings, ...second.warnings],
      both.warnings,
      trained.warnings ?? [],
    ]) {
      assert.equal(warnings.length, 2);
      assert.match(warnings[0] ?? "", said(1));
      assert.match(warnings[1] ?? "", said(2));
    }
    assert.deepEqual(await daily.aggregates(), await whole.aggregates());
    assert.deepEqual((await whole.ledger.readRuns("events", 1))[0]?.["warnings"], both.warnings);
    const { problems, notes, intervals } = await daily.status();
    assert.deepEqual(problems, []);
    assert.equal(intervals.outside, 4);
    assert.ok(
      notes.includes(
        "4 rows left out of 2 intervals, the last [2026-01-02, 2026-01-03): their event time lies outside what their file may hold",
      ),
      notes.join("\n"),
    );
  });

  const late = [`${date(1)}T12:00:00Z`, 7] as const;
  const changes = (notes: readonly string[]) =>
    notes.filter((note) => note.includes("may be out of date"));

  it("that come after the run make its interval one to compute again", async () => {
    write(1, [[`${date(1)}T01:00:00Z`, 1]]);
    const { run, status, aggregates } = build(reaching);
    await run(1, 2);
    assert.deepEqual((await status()).problems, []);
    write(2, [late]);
    assert.deepEqual((await status()).problems, [
      {
        problem:
          "1 interval may be out of date, the first [2026-01-01, 2026-01-02): files that may hold their rows came or changed after the commit",
        fix: "npm run --silent cli -- materialize events --start 2026-01-01 --end 2026-01-02 --reprocess",
      },
    ]);
    await run(1, 2);
    assert.deepEqual(await aggregates(), [2, 8]);
    assert.deepEqual((await status()).problems, []);
    write(2, [late, late]);
    assert.equal((await status()).problems.length, 1);
    // Computed again, it would lose the rows of a file that has been taken away.
    rmSync(join(folder, `${date(2)}.csv`));
    assert.deepEqual((await status()).problems, []);
  });

  it("that come after the run are no problem as long as the schedule computes it again", async () => {
    write(1, [[`${date(1)}T01:00:00Z`, 1]]);
    const schedule = { every: "1 day", start: "2026-01-01" };
    const { run, status } = build({ ...reaching, schedule });
    assert.match(
      (await status()).problems[0]?.problem ?? "",
      /^nothing was materialized|^Redis has/,
    );
    await run(1, 2);
    write(2, [late]);
    const before = await status();
    assert.deepEqual(before.problems, []);
    assert.equal(changes(before.notes).length, 1);
    assert.match(changes(before.notes)[0] ?? "", /; the next slot computes them again$/);
    await run(2, 3);
    const after = await status();
    assert.equal(after.problems.length, 1);
    assert.deepEqual(changes(after.notes), []);
    await run(1, 2);
    assert.deepEqual((await status()).problems, []);
  });
});
