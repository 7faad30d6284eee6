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
import type { OnlineStore } from "../../store/online-store.ts";
import { createOnlineStore } from "../../store/online-store.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
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
    const generation = await ledger.beginRun(run(n, runId));
    const { revision } = await ledger.readLedger(view, fingerprint);
    return {
      ...run(n, runId),
      generation,
      expectedRevision: revision,
      coverage: { rows: 10 * n, refused: 0 },
      states: { [mean]: `state of ${n}` },
    };
  }
  const snapshot = (id: string, asOfMs: number, body = `{"id":"${id}"}`) => ({
    id,
    aggregatesFingerprint: set,
    asOfMs,
    body,
  });
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
    for (const runId of begun) generations.push(await ledger.beginRun(run(1, runId)));
    assert.deepEqual(generations, [1, 1, 2, 1, 2, 3]);
    assert.equal(await ledger.beginRun(run(2, "a")), 1);
    assert.equal(await ledger.beginRun({ ...run(1, "a"), fingerprint: "cd" }), 1);
    const attempts = Array.from({ length: 20 }, () => ledger.beginRun(run(3, "same")));
    assert.deepEqual(new Set(await Promise.all(attempts)), new Set([1]));
  });

  it("reads nothing where nothing was committed", async () => {
    assert.deepEqual(await ledger.readLedger(view, fingerprint), {
      revision: "0",
      namespace: null,
      head: null,
      coverage: new Map(),
    });
    const states = new Map([[mean, new Map()]]);
    assert.deepEqual(await ledger.readStates(view, [mean]), { revision: "0", states });
    assert.deepEqual(await pointers(), { namespace: null, head: null, latest: null });
    assert.equal(await ledger.readSnapshot(view, "none"), null);
    assert.deepEqual(await ledger.readRuns(view, 10), []);
  });

  it("commits coverage, states, snapshot and head together", async () => {
    const namespace = await store.openNamespace(
      { view, kind: "rows", fingerprint, columns: [] },
      { buckets: 2 },
    );
    const body = '{ "id" : "s1", "é": 1 }';
    const commit = { ...(await begin(1, "a")), snapshot: snapshot("s1", 5, body) };
    const states = { [mean]: "m 1", [count]: '{"n":1}' };
    const outcome = await ledger.commitRun({ ...commit, states });
    const { revision } = outcome;
    assert.match(revision, /^1\.[0-9a-f]{16}$/);
    assert.equal(outcome.repeated, false);
    const name = formatInterval(day(1));
    const head = { endMs: day(1).endMs, generation: 1 };
    assert.deepEqual(await ledger.readLedger(view, fingerprint), {
      revision,
      namespace,
      head,
      coverage: new Map([[name, { generation: 1, rows: 10, refused: 0 }]]),
    });
    assert.deepEqual(await ledger.readStates(view, [count, mean, "cc"]), {
      revision,
      states: new Map([
        [count, new Map([[name, { generation: 1, state: '{"n":1}' }]])],
        [mean, new Map([[name, { generation: 1, state: "m 1" }]])],
        ["cc", new Map()],
      ]),
    });
    const latest = { id: "s1", asOfMs: 5, body };
    assert.deepEqual(await pointers(), { namespace, head, latest });
    assert.equal(await ledger.readSnapshot(view, "s1"), latest.body);
  });

  it("answers for several views and builds at once", async () => {
    const other = `${view}_other`;
    await ledger.commitRun({ ...(await begin(1, "a")), snapshot: snapshot("s1", 5) });
    const requests = [
      { view: other, fingerprint, aggregatesFingerprint: set },
      { view, fingerprint, aggregatesFingerprint: set },
      { view, fingerprint: "cd", aggregatesFingerprint: "5f" },
    ];
    const found = await ledger.readPointers(requests);
    assert.deepEqual(
      found.map(({ head, latest }) => [head?.generation ?? null, latest?.id ?? null]),
      [
        [null, null],
        [1, "s1"],
        [null, null],
      ],
    );
    assert.deepEqual(await ledger.readPointers([]), []);
  });

  it("takes a repeated commit for the one that was done", async () => {
    const commit = { ...(await begin(1, "a")), snapshot: snapshot("s1", 5) };
    const { revision } = await ledger.commitRun(commit);
    const before = await dump();
    assert.deepEqual(await ledger.commitRun(commit), { revision, repeated: true });
    const reread = { ...commit, expectedRevision: revision };
    assert.deepEqual(await ledger.commitRun(reread), { revision, repeated: true });
    assert.equal(await dump(), before);
    // Others' commits in between change nothing about it.
    const next = { ...(await begin(2, "b")), snapshot: snapshot("s2", 6) };
    const { revision: later } = await ledger.commitRun(next);
    assert.deepEqual(await ledger.commitRun(commit), { revision: later, repeated: true });
    assert.equal((await pointers()).latest?.id, "s2");
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

  it("moves latest only to a time that is not earlier", async () => {
    const steps: [id: string, asOfMs: number, latest: string][] = [
      ["b", 20, "b"],
      ["a", 10, "b"],
      ["c", 20, "c"],
      ["d", 30, "d"],
      ["e", -5, "d"],
    ];
    for (const [i, [id, asOfMs, latest]] of steps.entries()) {
      await ledger.commitRun({ ...(await begin(1, `${i}`)), snapshot: snapshot(id, asOfMs) });
      assert.equal((await pointers()).latest?.id, latest);
    }
    const old = { ...snapshot("old build", 1), id: "o", aggregatesFingerprint: "5f" };
    await ledger.commitRun({ ...(await begin(2, "old")), snapshot: old });
    assert.equal((await pointers()).latest?.id, "d");
    const request = { view, fingerprint, aggregatesFingerprint: "5f" };
    assert.equal((await ledger.readPointers([request]))[0]?.latest?.id, "o");
  });

  it("never overwrites a snapshot", async () => {
    await ledger.commitRun({ ...(await begin(1, "a")), snapshot: snapshot("s", 1, "one") });
    const second = { ...(await begin(2, "b")), snapshot: snapshot("s", 1, "other") };
    await assert.rejects(ledger.commitRun(second), codeIs("INTERNAL"));
    assert.equal(await ledger.readSnapshot(view, "s"), "one");
    assert.match((await ledger.readLedger(view, fingerprint)).revision, /^1\./);
  });

  it("moves the head forward only, by interval end and then generation", async () => {
    const heads: string[] = [];
    for (const n of [2, 1, 1, 2, 3]) {
      await ledger.commitRun(await begin(n, `${heads.length}`));
      const { head } = await pointers();
      heads.push(`${new Date(head?.endMs ?? 0).getUTCDate()}.${head?.generation}`);
    }
    assert.deepEqual(heads, ["3.1", "3.1", "3.1", "3.2", "4.1"]);
  });

  it("adds an aggregate over a covered interval without touching coverage or head", async () => {
    await ledger.commitRun(await begin(1, "rows"));
    const before = await ledger.readLedger(view, fingerprint);
    const aggregateOnly = { coverage: undefined, states: { [count]: "n" } };
    const commit = { ...(await begin(1, "aggregate only")), ...aggregateOnly };
    await ledger.commitRun({ ...commit, snapshot: snapshot("s", 1) });
    const { coverage, head } = await ledger.readLedger(view, fingerprint);
    assert.deepEqual({ coverage, head }, { coverage: before.coverage, head: before.head });
    const { states } = await ledger.readStates(view, [count]);
    assert.deepEqual(states.get(count)?.get(formatInterval(day(1))), { generation: 2, state: "n" });
  });

  it("says STORE_LOST where it does not know the run that commits", async () => {
    const commit = await begin(1, "a");
    await client.unlink(createKeys(redis.prefix).generations(view, fingerprint));
    await assert.rejects(ledger.commitRun(commit), codeIs("STORE_LOST"));
  });

  it("forgets coverage, states and latest and fences runs in flight on a reset", async () => {
    const stored = { view, kind: "rows", fingerprint, columns: [] } as const;
    await store.openNamespace(stored, { buckets: 2 });
    await ledger.commitRun({ ...(await begin(1, "a")), snapshot: snapshot("s", 1) });
    const inFlight = await begin(2, "b");
    const other = { aggregatesFingerprint: "0f", body: "other", id: "o", asOfMs: 1 };
    const kept = { coverage: undefined, states: { [count]: "kept" }, snapshot: other };
    await ledger.commitRun({ ...(await begin(1, "another build")), ...kept });
    const namespace = await store.resetNamespace(stored, {
      buckets: 2,
      aggregates: [mean],
      aggregatesFingerprint: set,
    });
    const entry = await ledger.readLedger(view, fingerprint);
    const { revision } = entry;
    assert.match(revision, /^3\.[0-9a-f]{16}$/);
    assert.deepEqual(entry, { revision, namespace, head: null, coverage: new Map() });
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
  });

  it("takes another grid of intervals after a reset, though its snapshot is older", async () => {
    const stored = { view, kind: "rows", fingerprint, columns: [] } as const;
    const week = { ...run(1, "a"), interval: interval("2026-01-01", "2026-01-08") };
    await ledger.commitRun({
      ...(await begin(1, "a")),
      ...week,
      generation: await ledger.beginRun(week),
      snapshot: snapshot("week", week.interval.endMs),
    });
    await store.resetNamespace(stored, {
      buckets: 2,
      aggregates: [mean],
      aggregatesFingerprint: set,
    });
    await ledger.commitRun({
      ...(await begin(1, "b")),
      snapshot: snapshot("day", day(1).endMs),
    });
    const { states } = await ledger.readStates(view, [mean]);
    assert.deepEqual([...(states.get(mean)?.keys() ?? [])], [formatInterval(day(1))]);
    assert.equal((await pointers()).latest?.id, "day");
  });

  it("ends in the same bytes whatever the order of the same commits and their repeats", async () => {
    interface Run {
      readonly n: number;
      readonly generation: number;
    }
    const runs: Run[] = [1, 2, 3].flatMap((n) => [1, 2].map((generation) => ({ n, generation })));
    // As a worker does: read, merge, commit; again after a conflict; a fenced run gives up.
    const commitAll = async (order: readonly Run[]) => {
      const prefix = `${redis.prefix}:${randomPrefix()}`;
      const own = createLedger(connection, { prefix });
      const of = ({ n, generation }: Run) => run(n, `run ${generation}`);
      for (const each of runs) await own.beginRun(of(each));
      await Promise.all(
        order.map(async (each) => {
          for (;;) {
            const { revision, states } = await own.readStates(view, [mean]);
            const merged = new Map(states.get(mean));
            const name = formatInterval(day(each.n));
            merged.set(name, { generation: each.generation, state: `s${each.n}` });
            const ids = [...merged].map(([key, { generation }]) => `${key}#${generation}`).sort();
            const outcome = await own
              .commitRun({
                ...of(each),
                generation: each.generation,
                expectedRevision: revision,
                coverage: { rows: each.n },
                states: { [mean]: `s${each.n}` },
                snapshot: {
                  id: ids.join(","),
                  aggregatesFingerprint: set,
                  asOfMs: Math.max(...[...merged.keys()].map((key) => Date.parse(key.slice(25)))),
                  body: ids.join(),
                },
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
