/** What `status` says of a Redis that lacks what was committed, beside the offline store. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { judgeLacking, compareWithOffline } from "../../status/lost-intervals.ts";
import type { ViewStatus } from "../../status/view-status.ts";
import { formatInterval, interval } from "../../engine/calendar/interval.ts";
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

  /** What a run leaves in the offline store; without a manifest it did not commit. */
  async function write(view: View, start: string, end: string, manifest = true, generation = 1) {
    const ref = {
      view: view.name,
      fingerprint: view.fingerprint,
      generation,
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
      publish: "unbroken",
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

  it("names what an emptied Redis had, with the command that puts it back", async () => {
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
    const was =
      "Redis has nothing of what was committed under these definitions, so it was emptied";
    assert.ok(
      out.includes(`✗ ${was}: the offline store has the view as of 2026-01-02T10:30:00Z. A worker`),
      out,
    );
    assert.ok(out.includes(`fix: ${client} publish absences\n`), out);
    assert.ok(
      out.includes(`${was}: the offline store has 3 intervals in [2026-01-03, 2026-01-07)`),
      out,
    );
    assert.ok(out.includes(`fix: ${client} publish badges\n`), out);
  });

  const restored = "It was restored from an older copy, or has lost what it had acknowledged";
  const heals = "A worker puts it back by itself; the fix does so at once";

  it("names what an older copy of Redis lacks, apart from what was never committed", async () => {
    const { badges } = example;
    for (const day of [1, 2, 4, 7]) await write(badges, date(day), date(day + 1));
    await fill(badges, "2026-01-01", "2026-01-02");
    assert.deepEqual((await viewStatus("badges")).problems, [
      {
        problem: `Redis lacks what the offline store has: 3 intervals in [2026-01-02, 2026-01-08). ${restored}. ${heals}`,
        fix: `${client} publish badges`,
      },
    ]);
    await fill(badges, "2026-01-07", "2026-01-08");
    const { problems, intervals } = await viewStatus("badges");
    assert.deepEqual(
      problems.map(({ fix }) => fix),
      [
        `${client} publish badges`,
        `${client} backfill badges --from 2026-01-03 --to 2026-01-04`,
        `${client} backfill badges --from 2026-01-05 --to 2026-01-07`,
      ],
    );
    assert.deepEqual(
      intervals.gaps.map(({ start, end }) => [start.slice(0, 10), end.slice(0, 10)]),
      [["2026-01-02", "2026-01-07"]],
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
        problem: `Redis lacks what the offline store has: the view as of 2026-01-03. ${restored}. ${heals}`,
        fix: `${client} publish absences`,
      },
    ]);
  });

  it("tells an older copy of Redis also where no interval is missing from it", async () => {
    const { badges, writing } = example;
    const { journal } = createOfflineStore({ root: folder });
    const ref = { view: "badges", fingerprint: badges.fingerprint };
    const behind = {
      problem: `Redis is behind what the offline store knows to be committed and published: it was restored from an older copy, or has lost what it had acknowledged. ${heals}`,
      fix: `${client} publish badges`,
    };
    const problems = async () => (await viewStatus("badges")).problems;
    await write(badges, "2026-01-01", "2026-01-02");
    await fill(badges, "2026-01-01", "2026-01-02");
    const { revision } = await createLedger(writing, { prefix }).readLedger(
      "badges",
      badges.fingerprint,
    );
    await journal.noteRevision("badges", revision);
    const plan = { intervals: [] };
    await journal.writePublish(ref, 1, {
      ...plan,
      generation: 1,
      publishedAt: "2026-01-02T00:00:00Z",
    });
    assert.deepEqual(await problems(), []);
    // One that began and did not end is nothing that was served.
    await journal.writePublish(ref, 2, { ...plan, generation: 2, publishedAt: null });
    assert.deepEqual(await problems(), []);
    await journal.writePublish(ref, 2, {
      ...plan,
      generation: 2,
      publishedAt: "2026-01-03T00:00:00Z",
    });
    assert.deepEqual(await problems(), [behind]);
    await fill(badges, "2026-01-01", "2026-01-02");
    assert.deepEqual(await problems(), []);
    await journal.noteRevision("badges", "9.00");
    assert.deepEqual(await problems(), [behind]);
  });

  it("lets be what a reset has made void, but for what was committed after it", async () => {
    const { badges } = example;
    const ref = { view: "badges", fingerprint: badges.fingerprint };
    const week = formatInterval(interval("2026-01-01", "2026-01-08"));
    await write(badges, "2026-01-01", "2026-01-08");
    await createOfflineStore({ root: folder }).journal.makeVoid(ref, new Map([[week, 1]]));
    const [empty] = (await viewStatus("badges")).problems;
    assert.match(empty?.problem ?? "", /^nothing was materialized under these definitions/);
    await fill(badges, "2026-01-01", "2026-01-02");
    assert.deepEqual((await viewStatus("badges")).problems, []);
    await write(badges, "2026-01-01", "2026-01-08", true, 2);
    // Its time is committed again in part, as other intervals: it is no loss.
    assert.deepEqual((await viewStatus("badges")).problems, []);
    await write(badges, "2026-01-02", "2026-01-09", true, 1);
    const [lost] = (await viewStatus("badges")).problems;
    assert.equal(lost?.fix, `${client} publish badges`);
  });

  it("gives one command for all of them, also where no schedule knows them", async () => {
    for (let day = 1; day <= 22; day++) await write(example.badges, date(day), date(day + 1));
    const [all, ...others] = await judgeUnscheduled();
    assert.match(all?.problem ?? "", /the offline store has 22 intervals in/);
    assert.equal(all?.fix, `${client} publish badges`);
    assert.deepEqual(others, []);
  });
});
