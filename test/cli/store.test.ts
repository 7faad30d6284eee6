import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { inspectView, type ViewStatus } from "../../status/view-status.ts";
import type { View } from "../../engine/catalogue.ts";
import { interval } from "../../engine/calendar/interval.ts";
import { createKeys, pointerFields } from "../../store/keys.ts";
import { createLedger } from "../../store/ledger.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import { markBytes } from "../../store/rows/version.ts";
import {
  aggregateValues,
  type ExampleStore,
  fillExampleStore,
} from "../support/http/example-store.ts";
import { commitInterval, fillView } from "../support/redis/fill.ts";
import { assertRuns } from "../support/command-lines.ts";
import { randomPrefix } from "../support/redis/server.ts";
import { cli, cliJson, storeEnv } from "../support/run-cli.ts";

let example: ExampleStore;
let client: Redis;
before(async () => {
  example = await fillExampleStore();
  client = new Redis(example.redis.url, { protocol: 2 });
});
after(async () => {
  await client.quit();
  await example.stop();
});

const folder = mkdtempSync(join(tmpdir(), "onceflow-status-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const envOf = (prefix: string) => storeEnv(example.redis.url, prefix);
const exampleEnv = () => envOf(example.redis.prefix);

describe("status", () => {
  interface Status {
    readonly healthy: boolean;
    readonly views: readonly ViewStatus[];
  }
  const statusOf = async (prefix: string, view: string) => {
    const { views } = await cliJson<Status>(["status", view], envOf(prefix));
    assert.equal(views.length, 1);
    for (const { fix } of views[0]!.problems) assertRuns(fix);
    return views[0]!;
  };
  const problemsOf = async (prefix: string, view: string) =>
    (await statusOf(prefix, view)).problems.map(({ problem }) => problem);
  const fill = (prefix: string, view: View, start: string, end: string, keys = ["1"]) =>
    fillView(example.writing, view, {
      prefix,
      start,
      end,
      rows: keys.map((key) => ({ key: [key], values: {} })),
      aggregates: aggregateValues(view, { mean: 1, std: 2, count: 3 }),
      publish: "unbroken",
    });

  const storesOf = (prefix: string) => ({
    ledger: createLedger(example.writing, { prefix }),
    online: createOnlineStore(example.writing, { prefix }),
    catalogue: example.catalogue,
    offlineDir: envOf(prefix).ONCEFLOW_OFFLINE ?? "",
  });
  /** What a reset forgets is forgotten in the offline store too. */
  const reset = (prefix: string) => {
    const ONCEFLOW_OFFLINE = join(folder, prefix);
    mkdirSync(join(ONCEFLOW_OFFLINE, "views"), { recursive: true });
    return cli(["reset", "badges", "--yes"], { ...envOf(prefix), ONCEFLOW_OFFLINE });
  };

  it("shows what is committed, and is healthy", async () => {
    const { code, out } = await cli(["status"], exampleEnv());
    assert.equal(code, 0);
    assert.match(out, /^absences {2}healthy\n/);
    assert.match(out, /published +up to 2026-03-02, \d+ d \d+ h ago, as publish 1\n/);
    assert.match(out, new RegExp(`snapshot +${example.snapshots.absences} as of 2026-03-02\n`));
    assert.match(out, / {2}age_mean +36\.5\n/);
    assert.match(out, /online +2 rows in 4 of 4 buckets\n/);
    assert.match(out, /\[2026-03-02, 2026-03-03\) +2 +1\n/);
    assert.match(out, /! what is served ends .* ago, beyond the TTL of 7 d/);
    const { healthy, views } = await cliJson<Status>(["status"], exampleEnv());
    assert.equal(healthy, true);
    assert.deepEqual(
      views.map((each) => [each.view, each.intervals.count, each.full_refresh]),
      [
        ["absences", 1, true],
        ["badges", 1, false],
      ],
    );
    assert.deepEqual(views[1]?.snapshot?.values, { badge_events: 10, minutes_inside_mean: 400 });
  });

  it("finds gaps and overlaps between intervals, and shows the newest twenty", async () => {
    const prefix = randomPrefix();
    for (let day = 1; day <= 23; day++) {
      if (day === 10) continue;
      const [start, end] = [day, day + 1].map((d) => `2026-01-${String(d).padStart(2, "0")}`);
      await fill(prefix, example.badges, start ?? "", end ?? "");
    }
    assert.deepEqual(await problemsOf(prefix, "badges"), [
      "nothing is committed for [2026-01-10, 2026-01-11), which lies between committed intervals",
    ]);
    const { out } = await cli(["status", "badges"], envOf(prefix));
    assert.match(out, /fix: .* backfill badges --from 2026-01-10 --to 2026-01-11\n/);
    assert.match(out, /committed: 22 intervals, 22 rows\n/);
    assert.match(
      out,
      /and 2 older: .* status badges --json\n {2}gaps: \[2026-01-10, 2026-01-11\)\n/,
    );
    await fill(prefix, example.badges, "2026-01-10", "2026-01-12");
    const [overlap] = (await statusOf(prefix, "badges")).problems;
    assert.match(overlap?.problem ?? "", /overlap, first in \[2026-01-11, 2026-01-12\)/);
    assert.match(overlap?.fix ?? "", / reset badges --yes$/);
  });

  it("says what is held back by a gap, frozen, or committed and not published, with what ends it", async () => {
    const { badges, writing } = example;
    const [held, frozen, unpublished, behind] = [1, 2, 3, 4].map(() => randomPrefix());
    assert.ok(held && frozen && unpublished && behind);
    const wordsOf = ({ problems }: ViewStatus) =>
      problems.map(({ problem, fix }) => [problem, fix?.replace(/^.* -- /, "")]);
    const found = async (prefix: string) => wordsOf(await statusOf(prefix, "badges"));
    const holds: View = { ...badges, gaps: "hold" };
    for (const day of [1, 3, 4]) await fill(held, holds, `2026-01-0${day}`, `2026-01-0${day + 1}`);
    assert.deepEqual(wordsOf(await inspectView(holds, storesOf(held), [], Date.now())).at(-1), [
      '2 committed intervals not served yet: [2026-01-02, 2026-01-03) comes before and is missing, and the view has gaps: "hold"',
      "backfill badges --from 2026-01-02 --to 2026-01-03",
    ]);

    const day = { start: "2026-01-01", end: "2026-01-02", rows: [] };
    const aggregates = aggregateValues(badges, { mean: 1, count: 3 });
    const published = { frozen: "wrong prices" };
    await fillView(writing, badges, { ...day, prefix: frozen, aggregates, published });
    assert.deepEqual(await found(frozen), [
      [
        "what is served is frozen at 2026-01-02 (wrong prices): no run moves it",
        "publish badges --resume",
      ],
    ]);

    await commitInterval(writing, badges, { ...day, prefix: unpublished });
    const [[nothing, publish] = []] = await found(unpublished);
    assert.deepEqual(
      [nothing, publish],
      ["intervals are committed, and nothing is published yet", "publish badges"],
    );

    await fill(behind, badges, "2026-01-01", "2026-01-02");
    const next = { prefix: behind, start: "2026-01-02", end: "2026-01-03", rows: [] };
    await commitInterval(writing, badges, next);
    assert.deepEqual(await found(behind), [
      [
        "what is committed may be served up to 2026-01-03, and is up to 2026-01-02",
        "publish badges",
      ],
    ]);
  });

  it("takes the intervals of a full refresh as replacing each other", async () => {
    const prefix = randomPrefix();
    await fill(prefix, example.absences, "1970-01-01", "2026-01-01");
    await fill(prefix, example.absences, "1970-01-01", "2026-01-05");
    assert.deepEqual(await problemsOf(prefix, "absences"), []);
  });

  it("says where there are rows but no snapshot", async () => {
    const prefix = randomPrefix();
    const options = { prefix, start: "2026-01-01", end: "2026-01-02", rows: [] };
    await fillView(example.writing, example.badges, options);
    const { problems } = await statusOf(prefix, "badges");
    assert.match(problems[0]?.problem ?? "", /1 committed interval of 1 lack .* no snapshot/);
    assert.match(
      problems[0]?.fix ?? "",
      / backfill badges --from 2026-01-01 --to 2026-01-02 --reprocess failed$/,
    );
  });

  it("shows the last runs and the failures among them", async () => {
    const prefix = randomPrefix();
    const { absences, badges, writing } = example;
    const ledger = createLedger(writing, { prefix });
    const log = (view: View, day: number, outcome: string, facts: object = {}) =>
      ledger.logRun(view.name, {
        runId: `run-${day}-${outcome}`,
        fingerprint: view.fingerprint,
        interval: `2026-01-0${day}T00:00:00.000Z/2026-01-0${day + 1}T00:00:00.000Z`,
        outcome,
        startedAtMs: 1_767_225_600_000,
        finishedAtMs: 1_767_225_602_500,
        ...facts,
      });
    await fill(prefix, badges, "2026-01-01", "2026-01-02");
    await log(badges, 2, "failed", { reason: "no file" });
    await log(badges, 1, "failed", { reason: "mended since" });
    await log(badges, 1, "committed", { rows: 7 });
    assert.deepEqual(await problemsOf(prefix, "badges"), [
      "the last run of [2026-01-02, 2026-01-03) failed: no file",
    ]);
    const { out } = await cli(["status", "badges"], envOf(prefix));
    assert.match(
      out,
      /committed +\[2026-01-01, 2026-01-02\) +7 +2\.5 s +2026-01-01 +run-1-committed\n/,
    );

    await fill(prefix, absences, "1970-01-01", "2026-01-01");
    await log(absences, 1, "failed", { reason: "\u001b[31mred" });
    const failed = await cli(["status", "absences"], envOf(prefix));
    assert.match(failed.out, /failed: \\u001b\[31mred/);
    assert.match(failed.out, /fix: .* materialize absences --end 2026-01-02\n/);
    await log(absences, 2, "committed", { rows: 7 });
    assert.deepEqual(await problemsOf(prefix, "absences"), []);
  });

  it("names three failures, with what runs each again, and says how many there are more", async () => {
    const prefix = randomPrefix();
    const { badges, writing } = example;
    const ledger = createLedger(writing, { prefix });
    await fill(prefix, badges, "2026-01-01", "2026-01-02");
    for (const day of [5, 4, 3, 2, 1])
      await ledger.logRun("badges", {
        runId: `run-${day}`,
        fingerprint: badges.fingerprint,
        interval: `2026-01-0${day}T00:00:00.000Z/2026-01-0${day + 1}T00:00:00.000Z`,
        outcome: "failed",
        reason: "no file",
        startedAtMs: 0,
        finishedAtMs: 1,
      });
    const { problems } = await statusOf(prefix, "badges");
    const line = (day: number) =>
      `npm run --silent cli -- materialize badges --start 2026-01-0${day} --end 2026-01-0${day + 1}`;
    assert.deepEqual(problems, [
      {
        problem: "the last run of [2026-01-01, 2026-01-02) failed: no file",
        // It is committed, so that a run without the option would have nothing to do.
        fix: `${line(1)} --reprocess`,
      },
      { problem: "the last run of [2026-01-02, 2026-01-03) failed: no file", fix: line(2) },
      { problem: "the last run of [2026-01-03, 2026-01-04) failed: no file", fix: line(3) },
      { problem: "the last runs of 2 more intervals failed", fix: `${line(4)} && ${line(5)}` },
    ]);
  });

  it("lists a run that goes on after its commit as under way, and none that has just ended", async () => {
    const prefix = randomPrefix();
    const { badges } = example;
    const stores = storesOf(prefix);
    const nowMs = Date.parse("2026-01-05");
    const ended = [
      ["steps follow", nowMs - 60_000],
      ["over", nowMs - 1_000],
    ] as const;
    for (const [runId, finishedAtMs] of ended)
      await stores.ledger.logRun("badges", {
        runId,
        fingerprint: badges.fingerprint,
        outcome: "committed",
        interval: "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z",
        startedAtMs: finishedAtMs - 1,
        finishedAtMs,
      });
    const listed = ["reads", ...ended.map(([runId]) => runId)].map((runId) => ({
      kind: "materialize",
      view: "badges",
      interval: null,
      status: "running",
      started_at: "2026-01-04T00:00:00.000Z",
      seconds: 1,
      workflow_id: runId,
      run_id: runId,
      build: null,
      retrying: null,
      last_sign_of_life: null,
      unclaimed_since: null,
    }));
    const { under_way } = await inspectView(badges, stores, listed, nowMs);
    assert.deepEqual(
      under_way?.map(({ run_id }) => run_id),
      ["reads", "steps follow"],
    );
  });

  const lostRows =
    "rows are lost. A worker puts them back from the offline store by itself; the fix does so at once";

  it("notices lost buckets, and `reset` empties them all", async () => {
    const prefix = randomPrefix();
    const { badges, writing } = example;
    await fill(prefix, badges, "2026-01-01", "2026-01-02", ["1", "2", "3"]);
    await client.del(createKeys(prefix).bucket("badges", badges.fingerprint, 2, 2));
    const { problems } = await statusOf(prefix, "badges");
    assert.equal(problems[0]?.problem, `1 of 4 buckets is missing: ${lostRows}`);
    assert.match(problems[0].fix ?? "", / publish badges --whole$/);

    const emptied = await reset(prefix);
    assert.equal(emptied.code, 0, emptied.err);
    assert.equal(
      emptied.out,
      `reset badges: 16 empty buckets, 1 interval forgotten
fill it again:
  npm run --silent cli -- materialize badges --start 2026-01-01 --end 2026-01-02
`,
    );
    const { coverage } = await createLedger(writing, { prefix }).readLedger(
      "badges",
      badges.fingerprint,
    );
    assert.equal(coverage.size, 0);
    await fill(prefix, badges, "2026-01-01", "2026-01-02");
    assert.deepEqual(await problemsOf(prefix, "badges"), []);
  });

  it("is rid of a wrong grid of intervals after a `reset`", async () => {
    const prefix = randomPrefix();
    const { badges, writing } = example;
    const ledger = createLedger(writing, { prefix });
    const aggregates = badges.aggregates.map((each) => each.fingerprint);
    const week = interval("2026-01-01", "2026-01-08");
    const run = { view: "badges", fingerprint: badges.fingerprint, interval: week, runId: "a" };
    const pinned = await fill(prefix, badges, "2026-01-01", "2026-01-08");
    const { revision } = await ledger.readLedger("badges", badges.fingerprint);
    await ledger.commitRun({
      ...run,
      // That of the rows which are committed.
      generation: 1,
      expectedRevision: revision,
      states: Object.fromEntries(aggregates.map((each) => [each, "{}"])),
    });
    assert.equal((await statusOf(prefix, "badges")).snapshot?.id, pinned);

    assert.equal((await reset(prefix)).code, 0);
    const { states } = await ledger.readStates("badges", aggregates);
    assert.deepEqual(
      [...states.values()].flatMap((each) => [...each.keys()]),
      [],
    );
    assert.equal((await statusOf(prefix, "badges")).snapshot, null);
    assert.notEqual(await ledger.readSnapshot("badges", pinned), null);
    const id = await fill(prefix, badges, "2026-01-01", "2026-01-02");
    assert.equal((await statusOf(prefix, "badges")).snapshot?.id, id);
    assert.deepEqual(await problemsOf(prefix, "badges"), []);
  });

  it("notices a bucket of another store, and a table that is gone", async () => {
    const prefix = randomPrefix();
    const keys = createKeys(prefix);
    await fill(prefix, example.badges, "2026-01-01", "2026-01-02");
    const bucket = keys.bucket("badges", example.badges.fingerprint, 1, 1);
    const epoch = (await client.hgetBuffer(bucket, "")) ?? Buffer.alloc(0);
    await client.hset(bucket, "", Buffer.alloc(8, 7));
    assert.deepEqual(await problemsOf(prefix, "badges"), [
      `1 of 4 buckets is of another epoch: ${lostRows}`,
    ]);
    await client.hset(bucket, "", epoch);
    const shard = keys.shard("badges", example.badges.fingerprint, 1);
    await client.hset(shard, "", Buffer.concat([epoch, Buffer.alloc(markBytes)]));
    assert.deepEqual(await problemsOf(prefix, "badges"), [
      `1 of 4 buckets is older than the last publish: ${lostRows}`,
    ]);
    const table = pointerFields.table(example.badges.fingerprint);
    await client.hdel(keys.pointers("badges"), table);
    assert.deepEqual(await problemsOf(prefix, "badges"), [`its table is gone: ${lostRows}`]);
    await client.hset(keys.pointers("badges"), table, "many 0 ready");
    const [malformed] = await problemsOf(prefix, "badges");
    assert.match(malformed ?? "", /record of fingerprint .* is malformed/);
  });

  it("lists the namespaces of older definitions", async () => {
    const prefix = randomPrefix();
    const { badges, writing } = example;
    await fill(prefix, badges, "2026-01-01", "2026-01-02");
    const old = { view: "badges", kind: "entities", fingerprint: "01d", columns: [] } as const;
    await createOnlineStore(writing, { prefix }).openNamespace(old, { buckets: 2 });
    const { old_namespaces, problems } = await statusOf(prefix, "badges");
    assert.deepEqual(old_namespaces, [{ fingerprint: "01d", buckets: 2, rows: 0 }]);
    assert.deepEqual(problems, []);
    const { out } = await cli(["status", "badges"], envOf(prefix));
    assert.match(out, /kept +0 rows in 2 buckets under the older 01d\n/);
  });

  it("ignores a run that is under way", async () => {
    const prefix = randomPrefix();
    await fill(prefix, example.badges, "2026-01-01", "2026-01-02");
    await createLedger(example.writing, { prefix }).beginRun(
      {
        view: "badges",
        fingerprint: example.badges.fingerprint,
        interval: interval("2026-01-01", "2026-01-02"),
        runId: "under way",
      },
      0,
    );
    assert.deepEqual(await problemsOf(prefix, "badges"), []);
  });
});
