/** What `status` says of a Redis that lacks what was committed, beside the offline store. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { judgeLacking, compareWithOffline } from "../../status/lost-intervals.ts";
import type { ViewStatus } from "../../status/view-status.ts";
import type { View } from "../../engine/catalogue.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOfflineStore } from "../../store/offline/offline-store.ts";
import { assertRuns } from "../support/command-lines.ts";
import {
  aggregateValues,
  type ExampleStore,
  fillExampleStore,
} from "../support/http/example-store.ts";
import { fillView } from "../support/redis/fill.ts";
import { randomPrefix } from "../support/redis/server.ts";
import { cli, cliJson, downEnv } from "../support/run-cli.ts";

describe("status beside the offline store", () => {
  let example: ExampleStore;
  let folder: string;
  let prefix: string;
  before(async () => (example = await fillExampleStore()));
  after(() => example.stop());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "onceflow-losses-"));
    prefix = randomPrefix();
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const env = () => ({
    ...downEnv,
    ONCEFLOW_OFFLINE: folder,
    REDIS_URL: example.redis.url,
    ONCEFLOW_PREFIX: prefix,
  });
  const viewStatus = async (view: string) => {
    const { views } = await cliJson<{ views: ViewStatus[] }>(["status", view], env());
    assert.equal(views.length, 1);
    for (const { fix } of views[0]!.problems) assertRuns(fix);
    return views[0]!;
  };
  const ms = (time: string) => Date.parse(time);
  const date = (day: number) => new Date(Date.UTC(2026, 0, day)).toISOString().slice(0, 10);
  const client = "npm run --silent cli --";
  const backfill = (from: string, to: string) =>
    `${client} backfill badges --from ${from} --to ${to} --reprocess failed`;

  /** What a run leaves in the offline store; without a manifest it did not commit. */
  async function write(view: View, start: string, end: string, manifest = true) {
    const ref = {
      view: view.name,
      fingerprint: view.fingerprint,
      generation: 1,
      interval: { startMs: ms(start), endMs: ms(end) },
    };
    const name = manifest ? "_manifest.json" : "_run.json";
    await createOfflineStore({ root: folder }).writeJson(ref, name, {});
  }
  /** What it leaves in Redis. */
  const fill = (view: View, start: string, end: string) =>
    fillView(example.writing, view, {
      prefix,
      start,
      end,
      rows: [],
      aggregates: aggregateValues(view, { mean: 1, std: 2, count: 3 }),
    });
  /** What is said of a view that has no schedule. */
  async function judgeUnscheduled() {
    const view: View = { ...example.badges, schedule: undefined };
    const ledger = createLedger(example.writing, { prefix });
    const coverage = await ledger.readCoverage("badges", view.fingerprint);
    const lacking = await compareWithOffline(view, coverage, ledger, folder);
    const { problems } = judgeLacking(view, lacking, coverage.size === 0, folder, ms("2026-03-01"));
    for (const { fix } of problems) assertRuns(fix);
    return problems;
  }

  it("says of two empty stores that nothing was materialized, with exit code 3", async () => {
    await mkdir(join(folder, "views"));
    const { code, out } = await cli(["status"], env());
    assert.equal(code, 3);
    assert.match(out, /^absences {2}1 problem\n {2}✗ nothing was materialized .*neither Redis nor/);
    assert.match(out, /fix: npm run --silent cli -- materialize absences\n/);
    assert.match(out, /the fix runs the newest interval alone: .* --from, down to 2026-01-01\n/);
    const [fix = "", from = "", to = ""] =
      /backfill badges --from (\S+) --to (\S+)\n/.exec(out) ?? [];
    assert.equal(ms(to) - ms(from), 86_400_000, fix);
    assert.match(out, /snapshot +none\n/);
  });

  for (const where of ["Redis has", "Redis lacks"])
    for (const text of ["{", "", "\u0000\u0000"])
      it(`counts a manifest that holds ${JSON.stringify(text)} as a problem, of what ${where}`, async () => {
        const { badges } = example;
        await write(badges, "2026-01-01", "2026-01-02");
        await write(badges, "2026-01-02", "2026-01-03");
        await fill(badges, "2026-01-01", "2026-01-02");
        await fill(badges, "2026-01-02", "2026-01-03");
        assert.equal((await cli(["status", "badges"], env())).code, 0);
        const day = where === "Redis has" ? 2 : 3;
        if (day === 3) await write(badges, date(3), date(4));
        const manifest = join(
          folder,
          `views/badges/fingerprint=${badges.fingerprint}`,
          `interval=${date(day)}T00-00-00.000Z_${date(day + 1)}T00-00-00.000Z`,
          "generation=1/_manifest.json",
        );
        await writeFile(manifest, text);
        const { code, out } = await cli(["status", "badges"], env());
        assert.equal(code, 3, out);
        const span = `[${date(day)}, ${date(day + 1)})`;
        assert.ok(
          out.includes(`lost what ${span} was made of: the offline store cannot decode`),
          out,
        );
        const { problems } = await viewStatus("badges");
        assert.equal(
          problems.at(-1)?.fix,
          `${client} materialize badges --start ${date(day)} --end ${date(day + 1)} --reprocess`,
        );
      });

  it("proposes the intervals whose files are there, where the data folder is", async () => {
    await mkdir(join(folder, "views"));
    const data = join(folder, "data");
    await mkdir(join(data, "badges"), { recursive: true });
    const here = { ...env(), ONCEFLOW_DATA: data };
    const problemOf = async () => {
      const { views } = await cliJson<{ views: ViewStatus[] }>(["status", "badges"], here);
      const [{ problem, fix } = { problem: "", fix: "" }] = views[0]?.problems ?? [];
      assertRuns(fix);
      return { problem, fix };
    };
    const none = await problemOf();
    assert.match(none.problem, /no files are there for the newest \d+ intervals; the fix runs the/);
    for (const day of [3, 4, 9])
      await writeFile(join(data, `badges/date=${date(day)}.parquet`), "");
    const some = await problemOf();
    assert.match(some.problem, /Files are there for 3 of \d+ complete intervals$/);
    const lines = ["--from 2026-01-03 --to 2026-01-05", "--from 2026-01-09 --to 2026-01-10"];
    assert.equal(some.fix, lines.map((line) => `${client} backfill badges ${line}`).join(" && "));
  });

  it("claims nothing where the offline store is not", async () => {
    const away = { ...env(), ONCEFLOW_OFFLINE: join(folder, "away") };
    const empty = await cli(["status", "badges"], away);
    assert.equal(empty.code, 3);
    const why = `cannot be told: the offline store ${join(folder, "away")} has no views or is not there.`;
    assert.ok(empty.out.includes(`whether it ever had ${why}`), empty.out);
    assert.match(empty.out, /run this where ONCEFLOW_OFFLINE names the folder/);
    assert.match(empty.out, /fix: .* backfill badges /);

    await fill(example.badges, "2026-01-01", "2026-01-02");
    const filled = await cli(["status", "badges"], away);
    assert.equal(filled.code, 0, filled.out);
    assert.ok(filled.out.includes(`! whether Redis lacks what was committed ${why}`), filled.out);
  });

  it("says so where it cannot be read, or nothing can be done yet", async () => {
    const file = join(folder, "file");
    await writeFile(file, "");
    const { badges, writing } = example;
    const lacking = await compareWithOffline(
      badges,
      new Map(),
      createLedger(writing, { prefix }),
      file,
    );
    const { problems } = judgeLacking(badges, lacking, true, file, ms("2025-12-01"));
    assert.match(
      problems[0]?.problem ?? "",
      /cannot be told: the offline store cannot list .*ENOTDIR.*\. No interval/,
    );
    assert.equal(problems[0]?.fix, null);
  });

  it("names what an emptied Redis had, with commands that run that and nothing else", async () => {
    const { absences, badges } = example;
    await write(badges, "2026-01-03", "2026-01-04");
    await write(badges, "2026-01-05", "2026-01-06");
    await write(badges, "2026-01-06", "2026-01-07");
    await write(badges, "2026-01-08", "2026-01-09", false);
    await write({ ...badges, fingerprint: "01d" }, "2025-01-01", "2025-01-02");
    await write(absences, "1970-01-01", "2026-01-01T10:30:00Z");
    await write(absences, "1970-01-01", "2026-01-02T10:30:00Z");
    await write(absences, "1970-01-01", "2026-01-03T10:30:00Z", false);
    const { code, out } = await cli(["status"], env());
    assert.equal(code, 3);
    const was = "Redis has nothing of what was materialized under these definitions";
    assert.ok(
      out.includes(`✗ ${was}: the offline store has the view as of 2026-01-02T10:30:00Z. Either`),
      out,
    );
    assert.match(out, /fix: npm run --silent cli -- materialize absences\n/);
    assert.ok(
      out.includes(`${was}: the offline store has 3 intervals in [2026-01-03, 2026-01-07)`),
      out,
    );
    const line = `${backfill("2026-01-03", "2026-01-04")} && ${backfill("2026-01-05", "2026-01-07")}`;
    assert.ok(out.includes(`fix: ${line}\n`), out);
  });

  it("goes on to name the rest when a part of it is filled again", async () => {
    const { badges } = example;
    for (const day of [3, 4, 6, 9]) await write(badges, date(day), date(day + 1));
    await fill(badges, "2026-01-03", "2026-01-04");
    assert.deepEqual((await viewStatus("badges")).problems, [
      {
        problem:
          "Redis lacks what the offline store has: 3 intervals in [2026-01-04, 2026-01-10). Either Redis lost it, or the view was reset, and not all was filled again",
        fix: [
          backfill(date(4), date(5)),
          backfill(date(6), date(7)),
          backfill(date(9), date(10)),
        ].join(" && "),
      },
    ]);
    await fill(badges, "2026-01-09", "2026-01-10");
    const { problems, intervals } = await viewStatus("badges");
    // What was never committed is a gap; what is known to have been is named once.
    assert.deepEqual(
      problems.map(({ fix }) => fix),
      [
        `${backfill(date(4), date(5))} && ${backfill(date(6), date(7))}`,
        `${client} backfill badges --from 2026-01-05 --to 2026-01-06`,
        `${client} backfill badges --from 2026-01-07 --to 2026-01-09`,
      ],
    );
    assert.deepEqual(
      intervals.gaps.map(({ start, end }) => [start.slice(0, 10), end.slice(0, 10)]),
      [["2026-01-04", "2026-01-09"]],
    );
  });

  it("says of a full refresh that the offline store has a newer one, and not an older", async () => {
    const { absences } = example;
    await write(absences, "1970-01-01", "2026-01-01");
    await fill(absences, "1970-01-01", "2026-01-02");
    assert.deepEqual((await viewStatus("absences")).problems, []);
    await write(absences, "1970-01-01", "2026-01-03");
    assert.deepEqual((await viewStatus("absences")).problems, [
      {
        problem:
          "Redis has an older state of the view than the offline store, which has the view as of 2026-01-03. Either Redis was restored from an older copy, or the view was reset",
        fix: `${client} materialize absences`,
      },
    ]);
  });

  it("lets be what a reset has cut anew, but for time that is not filled again", async () => {
    const { badges } = example;
    await write(badges, "2026-01-01", "2026-01-08");
    await fill(badges, "2026-01-01", "2026-01-02");
    assert.deepEqual(await judgeUnscheduled(), []);
    const [rest, ...others] = (await viewStatus("badges")).problems;
    assert.equal(rest?.fix, backfill("2026-01-02", "2026-01-08"));
    assert.deepEqual(others, []);
    for (let day = 2; day < 8; day++) await fill(badges, date(day), date(day + 1));
    assert.deepEqual((await viewStatus("badges")).problems, []);
  });

  it("gives a command for each interval where no schedule knows them, twenty at once", async () => {
    for (let day = 1; day <= 22; day++) await write(example.badges, date(day), date(day + 1));
    const line = (day: number) =>
      `${client} materialize badges --start ${date(day)} --end ${date(day + 1)}`;
    const days = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, i) => line(from + i)).join(" && ");
    const [all] = await judgeUnscheduled();
    assert.equal(all?.fix, days(1, 20));
    assert.match(
      all.problem,
      /\. Of 22 commands the fix has the first 20; npm .* status badges then prints the next$/,
    );
    for (let day = 1; day <= 20; day++) await fill(example.badges, date(day), date(day + 1));
    const [next] = await judgeUnscheduled();
    assert.equal(next?.fix, days(21, 22));
  });
});
