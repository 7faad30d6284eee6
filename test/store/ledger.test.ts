import assert from "node:assert/strict";
import fc from "fast-check";
import { Redis } from "ioredis";
import { OnceflowError } from "../../engine/errors.ts";
import type { Interval } from "../../engine/calendar/interval.ts";
import { formatInterval, interval } from "../../engine/calendar/interval.ts";
import { createKeys } from "../../store/keys.ts";
import type { Commit, RunIdentity } from "../../store/commits.ts";
import type { Ledger } from "../../store/ledger.ts";
import { createLedger } from "../../store/ledger.ts";
import type { Published } from "../../store/published.ts";
import type { OnlineStore } from "../../store/online-store.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { readRunId } from "../../store/redis/run-id.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { dumpStore } from "../support/redis/dump-store.ts";
import { runsOf } from "../support/property.ts";
import type { TestRedis } from "../support/redis/server.ts";
import { randomPrefix, testRedis } from "../support/redis/server.ts";

const fingerprint = "ab12";
const [mean, count] = ["aa", "bb"];
const set = "5e";
const day = (n: number): Interval =>
  interval(`2026-01-0${n}T00:00:00Z`, `2026-01-0${n + 1}T00:00:00Z`);

describe("ledger", () => {
  let redis: TestRedis;
  let client: Redis;
  let connection: RedisConnection;
  let ledger: Ledger;
  let store: OnlineStore;
  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url, { protocol: 2 });
    connection = connectRedis(redis.url, "writing");
    ledger = createLedger(connection, { prefix: redis.prefix });
    store = createOnlineStore(connection, { prefix: redis.prefix });
  });
  after(async () => {
    await connection.close();
    await client.quit();
    await redis.stop();
  });

  let views = 0;
  let view = "";
  beforeEach(() => {
    view = `view_${++views}`;
  });
  const run = (n: number, runId: string): RunIdentity => ({
    view,
    fingerprint,
    interval: day(n),
    runId,
  });
  async function begin(n: number, runId: string): Promise<Commit> {
    const generation = await ledger.beginRun(run(n, runId), 0);
    const { revision } = await ledger.readLedger(view, fingerprint);
    return {
      ...run(n, runId),
      generation,
      expectedRevision: revision,
      coverage: { rows: 10 * n, refused: 0 },
      states: { [mean]: `state of ${n}` },
    };
  }
  const stored = () => ({ view, kind: "entities", fingerprint, columns: [] }) as const;
  /** Publishes, so that there is something to forget. */
  async function publish(id: string, aggregatesFingerprint = set): Promise<Published> {
    const namespace = await store.openNamespace(stored(), { buckets: 2 });
    const generation = await ledger.beginPublish(view, fingerprint, 1);
    const mark = { generation, endMs: day(1).endMs };
    const published = { ...mark, whole: mark, covered: true, frozen: null };
    await ledger.commitPublish({
      namespace,
      redisRunId: await readRunId(connection),
      published,
      snapshot: { id, aggregatesFingerprint, asOfMs: mark.endMs, body: `{"id":"${id}"}` },
    });
    return published;
  }
  const pointers = async () => {
    const [found] = await ledger.readPointers([{ view, fingerprint, aggregatesFingerprint: set }]);
    assert.ok(found);
    return found;
  };
  const dump = () => dumpStore(client, `${redis.prefix}:{${view}}`, { snapshots: "all" });
  const codeIs = (code: string) => (error: unknown) =>
    error instanceof OnceflowError && error.code === code && error.message.includes(view);

  it("allots one generation per run, which all its attempts share", async () => {
    const begun = ["a", "a", "b", "a", "b", "c"];
    const generations: number[] = [];
    for (const runId of begun) generations.push(await ledger.beginRun(run(1, runId), 0));
    assert.deepEqual(generations, [1, 1, 2, 1, 2, 3]);
    assert.equal(await ledger.beginRun(run(2, "a"), 0), 1);
    assert.equal(await ledger.beginRun({ ...run(1, "a"), fingerprint: "cd" }, 0), 1);
    const attempts = Array.from({ length: 20 }, () => ledger.beginRun(run(3, "same"), 0));
    assert.deepEqual(new Set(await Promise.all(attempts)), new Set([1]));
  });

  it("allots a generation above all that the offline store has", async () => {
    assert.equal(await ledger.beginRun(run(1, "a"), 7), 8);
    assert.equal(await ledger.beginRun(run(1, "a"), 9), 8);
    assert.equal(await ledger.beginRun(run(1, "b"), 3), 9);
    assert.equal(await ledger.beginRun(run(2, "a"), 0), 1);
  });

  it("reads nothing where nothing was committed", async () => {
    assert.deepEqual(await ledger.readLedger(view, fingerprint), {
      revision: "0",
      namespace: null,
      published: null,
      coverage: new Map(),
    });
    const states = new Map([[mean, new Map()]]);
    assert.deepEqual(await ledger.readStates(view, [mean]), { revision: "0", states });
    assert.deepEqual(await pointers(), {
      namespace: null,
      published: null,
      latest: null,
      revision: "0",
    });
    assert.equal(await ledger.readSnapshot(view, "none"), null);
    assert.deepEqual(await ledger.readRuns(view, 10), []);
  });

  it("commits coverage and states together, and publishes nothing by it", async () => {
    const namespace = await store.openNamespace(stored(), { buckets: 2 });
    const states = { [mean]: "m 1", [count]: '{"n":1}' };
    const outcome = await ledger.commitRun({ ...(await begin(1, "a")), states });
    const { revision } = outcome;
    assert.match(revision, /^1\.[0-9a-f]{16}$/);
    assert.equal(outcome.repeated, false);
    const name = formatInterval(day(1));
    const coverage = new Map([[name, { generation: 1, rows: 10, refused: 0 }]]);
    assert.deepEqual(await ledger.readLedger(view, fingerprint), {
      revision,
      namespace,
      published: null,
      coverage,
    });
    assert.deepEqual(await ledger.readCoverage(view, fingerprint), coverage);
    assert.deepEqual(await ledger.readStates(view, [count, mean, "cc"]), {
      revision,
      states: new Map([
        [count, new Map([[name, { generation: 1, state: '{"n":1}' }]])],
        [mean, new Map([[name, { generation: 1, state: "m 1" }]])],
        ["cc", new Map()],
      ]),
    });
    assert.deepEqual(await pointers(), { namespace, published: null, latest: null, revision });
  });

  it("answers for several views and builds at once", async () => {
    const other = `${view}_other`;
    await publish("s1");
    const requests = [
      { view: other, fingerprint, aggregatesFingerprint: set },
      { view, fingerprint, aggregatesFingerprint: set },
      { view, fingerprint: "cd", aggregatesFingerprint: "5f" },
    ];
    const found = await ledger.readPointers(requests);
    assert.deepEqual(
      found.map(({ published, latest }) => [published?.generation ?? null, latest?.id ?? null]),
      [
        [null, null],
        [1, "s1"],
        [null, null],
      ],
    );
    assert.deepEqual(await ledger.readPointers([]), []);
  });

  it("takes a repeated commit for the one that was done", async () => {
    const commit = await begin(1, "a");
    const { revision } = await ledger.commitRun(commit);
    const before = await dump();
    assert.deepEqual(await ledger.commitRun(commit), { revision, repeated: true });
    const reread = { ...commit, expectedRevision: revision };
    assert.deepEqual(await ledger.commitRun(reread), { revision, repeated: true });
    assert.equal(await dump(), before);
    // Others' commits in between change nothing about it.
    const { revision: later } = await ledger.commitRun(await begin(2, "b"));
    assert.deepEqual(await ledger.commitRun(commit), { revision: later, repeated: true });
  });

  it("refuses a run that a newer one of its interval has fenced", async () => {
    const older = await begin(1, "older");
    const newer = await begin(1, "newer");
    const before = await dump();
    await assert.rejects(ledger.commitRun(older), codeIs("FENCED"));
    assert.equal(await dump(), before);
    const { revision: expectedRevision } = await ledger.commitRun(newer);
    await assert.rejects(ledger.commitRun({ ...older, expectedRevision }), codeIs("FENCED"));
    const { coverage } = await ledger.readLedger(view, fingerprint);
    assert.equal(coverage.get(formatInterval(day(1)))?.generation, 2);
  });

  it("refuses a commit whose revision has moved, until it is merged again", async () => {
    const [one, two] = [await begin(1, "a"), await begin(2, "b")];
    await ledger.commitRun(one);
    const before = await dump();
    await assert.rejects(ledger.commitRun(two), codeIs("LEDGER_CONFLICT"));
    assert.equal(await dump(), before);
    const { revision } = await ledger.readStates(view, [mean]);
    const again = await ledger.commitRun({ ...two, expectedRevision: revision });
    assert.match(again.revision, /^2\./);
  });

  it("sends what is committed only to those who have another revision", async () => {
    const request = { view, fingerprint, aggregates: [mean, count] };
    const nothing = await ledger.readCommitted({ ...request, known: "0" });
    assert.equal(nothing?.revision, "0");
    const { revision } = await ledger.commitRun(await begin(1, "a"));
    const interval = formatInterval(day(1));
    assert.deepEqual(await ledger.readCommitted({ ...request, known: "0" }), {
      revision,
      coverage: new Map([[interval, { generation: 1, rows: 10, refused: 0 }]]),
      states: new Map([
        [mean, new Map([[interval, { generation: 1, state: "state of 1" }]])],
        [count, new Map()],
      ]),
    });
    assert.equal(await ledger.readCommitted({ ...request, known: revision }), null);
    // A Redis that lost this commit and went on has another first revision.
    const restored = revision.replace(/\w{4}$/, "beef");
    assert.equal((await ledger.readCommitted({ ...request, known: restored }))?.revision, revision);
  });

  it("lets exactly one of many concurrent commits through per revision", async () => {
    const commits = await Promise.all([1, 2, 3, 4, 5].map((n) => begin(n, `run ${n}`)));
    const outcomes = await Promise.allSettled(commits.map((commit) => ledger.commitRun(commit)));
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    assert.equal((await ledger.readLedger(view, fingerprint)).coverage.size, 1);
  });

  it("adds an aggregate over a covered interval without touching coverage", async () => {
    const rows = await begin(1, "rows");
    await ledger.commitRun(rows);
    const { revision, ...before } = await ledger.readLedger(view, fingerprint);
    const states = { [count]: "n" };
    const filled = { ...rows, expectedRevision: revision, coverage: undefined, states };
    await ledger.commitRun(filled);
    const { revision: later, ...after } = await ledger.readLedger(view, fingerprint);
    assert.deepEqual(after, before);
    assert.match(later, /^2\./);
    const { states: found } = await ledger.readStates(view, [count]);
    assert.deepEqual(found.get(count)?.get(formatInterval(day(1))), { generation: 1, state: "n" });
  });

  it("says STORE_LOST where it does not know the run that commits", async () => {
    const commit = await begin(1, "a");
    await client.unlink(createKeys(redis.prefix).generations(view, fingerprint));
    await assert.rejects(ledger.commitRun(commit), codeIs("STORE_LOST"));
  });

  it("forgets what is committed and published and fences runs in flight on a reset", async () => {
    await ledger.commitRun(await begin(1, "a"));
    const inFlight = await begin(2, "b");
    // Of the rows that are committed, whatever else has begun.
    const kept = { generation: 1, coverage: undefined, states: { [count]: "kept" } };
    await ledger.commitRun({ ...(await begin(1, "another build")), ...kept });
    await publish("o", "0f");
    await publish("s");
    const namespace = await store.resetNamespace(stored(), {
      buckets: 2,
      aggregates: [mean],
      aggregatesFingerprint: set,
    });
    const entry = await ledger.readLedger(view, fingerprint);
    const { revision } = entry;
    assert.match(revision, /^3\.[0-9a-f]{16}$/);
    assert.deepEqual(entry, { revision, namespace, published: null, coverage: new Map() });
    const late = { ...inFlight, expectedRevision: revision };
    await assert.rejects(ledger.commitRun(late), codeIs("FENCED"));
    assert.equal((await begin(1, "c")).generation, 4);
    const { states } = await ledger.readStates(view, [mean, count]);
    assert.deepEqual([states.get(mean)?.size, states.get(count)?.size], [0, 1]);
    assert.equal((await pointers()).latest, null);
    assert.equal(await ledger.readSnapshot(view, "s"), '{"id":"s"}');
    const [another] = await ledger.readPointers([
      { view, fingerprint, aggregatesFingerprint: "0f" },
    ]);
    assert.equal(another?.latest?.id, "o");
    // None is given out twice.
    assert.equal(await ledger.beginPublish(view, fingerprint, 1), 3);
  });

  it("takes another grid of intervals after a reset", async () => {
    const week = { ...run(1, "a"), interval: interval("2026-01-01", "2026-01-08") };
    const generation = await ledger.beginRun(week, 0);
    await ledger.commitRun({ ...(await begin(1, "a")), ...week, generation });
    await store.resetNamespace(stored(), {
      buckets: 2,
      aggregates: [mean],
      aggregatesFingerprint: set,
    });
    await ledger.commitRun(await begin(1, "b"));
    const { states } = await ledger.readStates(view, [mean]);
    assert.deepEqual([...(states.get(mean)?.keys() ?? [])], [formatInterval(day(1))]);
  });

  it("ends in the same bytes whatever the order of the same commits and their repeats", async () => {
    interface Run {
      readonly n: number;
      readonly generation: number;
    }
    const runs: Run[] = [1, 2, 3].flatMap((n) => [1, 2].map((generation) => ({ n, generation })));
    // As a worker does: read, commit; again after a conflict; a fenced run gives up.
    const commitAll = async (order: readonly Run[]) => {
      const prefix = `${redis.prefix}:${randomPrefix()}`;
      const own = createLedger(connection, { prefix });
      const of = ({ n, generation }: Run) => run(n, `run ${generation}`);
      for (const each of runs) await own.beginRun(of(each), 0);
      await Promise.all(
        order.map(async (each) => {
          for (;;) {
            const { revision } = await own.readStates(view, [mean]);
            const outcome = await own
              .commitRun({
                ...of(each),
                generation: each.generation,
                expectedRevision: revision,
                coverage: { rows: each.n },
                states: { [mean]: `s${each.n}` },
              })
              .then(() => "done")
              .catch((error: OnceflowError) => error.code);
            if (outcome !== "LEDGER_CONFLICT") return outcome;
          }
        }),
      );
      return dumpStore(client, prefix);
    };
    const golden = await commitAll(runs);
    await fc.assert(
      fc.asyncProperty(
        fc.shuffledSubarray([...runs, ...runs], { minLength: runs.length * 2 }),
        async (order) => assert.equal(await commitAll(order), golden),
      ),
      runsOf(25),
    );
  });

  it("keeps a bounded log of runs, newest first, apart from what commits store", async () => {
    const before = await dump();
    const record = (n: number) => ({
      runId: `run ${n}`,
      fingerprint,
      interval: formatInterval(day(1)),
      outcome: "committed",
      startedAtMs: n,
      finishedAtMs: n + 1,
      rows: n,
    });
    for (let n = 0; n < 1010; n++) await ledger.logRun(view, record(n));
    assert.deepEqual(await ledger.readRuns(view, 2), [record(1009), record(1008)]);
    assert.equal((await ledger.readRuns(view, 5000)).length, 1000);
    assert.deepEqual(await ledger.readRuns(view, 0), []);
    assert.equal(await dump(), before);
  });
});
