import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { formatInterval, interval } from "../../engine/calendar/interval.ts";
import { createKeys } from "../../store/keys.ts";
import type { RestoredInterval } from "../../store/commits.ts";
import { createLedger, type Ledger } from "../../store/ledger.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import type { RedisConnection } from "../../store/redis/types.ts";
import { isBehind } from "../../store/revision.ts";
import { dumpStore } from "../support/redis/dump-store.ts";
import { testRedis, type TestRedis } from "../support/redis/server.ts";

const fingerprint = "ab12";
const [mean, count] = ["aa", "bb"];
const dayMs = 86_400_000;
const day = (n: number) => {
  const startMs = Date.UTC(2026, 0, n);
  const text = (ms: number) => new Date(ms).toISOString();
  return interval(text(startMs), text(startMs + dayMs));
};
const nameOf = (n: number) => formatInterval(day(n));

describe("a ledger that was lost", () => {
  let redis: TestRedis;
  let client: Redis;
  let connection: RedisConnection;
  let ledger: Ledger;
  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url, { protocol: 2 });
    connection = connectRedis(redis.url, "writing");
    ledger = createLedger(connection, { prefix: redis.prefix });
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

  const runOf = (n: number, runId: string) => ({ view, fingerprint, interval: day(n), runId });
  /** Commits a day under a generation of its own; all its facts follow from these. */
  async function commit(n: number, runId = "run"): Promise<number> {
    const run = runOf(n, runId);
    const generation = await ledger.beginRun(run, 0);
    const { revision: expectedRevision } = await ledger.readLedger(view, fingerprint);
    const states = { [mean]: `mean ${n} ${generation}`, [count]: `count ${n} ${generation}` };
    const coverage = { rows: n, facts: { b: 1, a: 2 } };
    await ledger.commitRun({ ...run, generation, expectedRevision, coverage, states });
    return generation;
  }
  /** What the offline store has of such a commit. */
  const restored = (
    n: number,
    generation = 1,
    newestGeneration = generation,
  ): RestoredInterval => ({
    interval: nameOf(n),
    newestGeneration,
    coverage: { rows: n, facts: { a: 2, b: 1 }, generation },
    states: { [mean]: `mean ${n} ${generation}`, [count]: `count ${n} ${generation}` },
  });
  const restore = (intervals: readonly RestoredInterval[], leastCount = 0) =>
    ledger.restoreView(view, fingerprint, [mean, count], intervals, leastCount);
  const dump = () => dumpStore(client, `${redis.prefix}:{${view}}`);
  const committed = async () => {
    const entry = await ledger.readCommitted({ view, fingerprint, aggregates: [mean, count] });
    assert.ok(entry);
    return entry;
  };
  const forget = () => {
    const keys = createKeys(redis.prefix);
    return client.unlink(
      keys.pointers(view),
      keys.generations(view, fingerprint),
      keys.begun(view, fingerprint),
      keys.coverage(view, fingerprint),
      keys.states(view, mean),
      keys.states(view, count),
    );
  };

  it("is put back to the bytes that it had", async () => {
    for (const n of [1, 2, 3]) await commit(n);
    assert.equal(await commit(2, "again"), 2);
    const before = await dump();
    await forget();
    assert.equal(await dump(), "");
    await restore([restored(1), restored(2, 2), restored(3)], 4);
    assert.equal(await dump(), before);
    assert.equal(await ledger.beginRun(runOf(2, "later"), 0), 3);
  });

  it("keeps what is of a newer generation, states too", async () => {
    await commit(1);
    assert.equal(await commit(1, "newer"), 2);
    await ledger.beginRun(runOf(1, "under way"), 0);
    const before = await dump();
    await restore([restored(1)]);
    assert.equal(await dump(), before);
    // A newer one that it has lost replaces what it has.
    await restore([restored(1, 3)]);
    const { coverage, states } = await committed();
    assert.equal(coverage.get(nameOf(1))?.generation, 3);
    assert.deepEqual(states.get(mean)?.get(nameOf(1)), { generation: 3, state: "mean 1 3" });
    assert.equal(await ledger.beginRun(runOf(1, "later"), 0), 4);
  });

  it("gets the states back that it has lost of what is committed", async () => {
    await commit(1);
    const before = await dump();
    await client.unlink(createKeys(redis.prefix).states(view, count));
    await restore([restored(1)]);
    assert.equal(await dump(), before);
  });

  it("has no state where the offline store has none", async () => {
    await restore([{ ...restored(1), states: { [mean]: "m" } }, restored(2)]);
    const { states } = await committed();
    assert.deepEqual([...(states.get(mean)?.keys() ?? [])], [nameOf(1), nameOf(2)]);
    assert.deepEqual([...(states.get(count)?.keys() ?? [])], [nameOf(2)]);
  });

  it("never gives out a generation again, also of runs that did not commit", async () => {
    await restore([restored(1, 2, 5)]);
    assert.equal(await ledger.beginRun(runOf(1, "later"), 0), 6);
    await restore([restored(1, 2, 5)]);
    assert.equal(await ledger.beginRun(runOf(1, "later still"), 0), 7);
  });

  it("is at a revision that is as great as it must be, and a new one each time", async () => {
    const first = await restore([], 41);
    assert.match(first, /^41\.[0-9a-f]{16}$/);
    assert.equal((await committed()).revision, first);
    const second = await restore([], 3);
    assert.match(second, /^42\.[0-9a-f]{16}$/);
    assert.match(await restore([restored(1)], 41), /^43\./);
    // Whoever read before shows as a conflict.
    const run = runOf(2, "run");
    const generation = await ledger.beginRun(run, 0);
    const late = {
      ...run,
      generation,
      expectedRevision: second,
      coverage: { rows: 1 },
      states: {},
    };
    await assert.rejects(ledger.commitRun(late), { code: "LEDGER_CONFLICT" });
  });

  it("is put back whole, however many intervals there are", async () => {
    const all = Array.from({ length: 1201 }, (_, i) => restored(i + 1));
    const revision = await restore(all, 5000);
    assert.ok(Number.parseInt(revision, 10) >= 5000, revision);
    const { coverage, states, revision: read } = await committed();
    assert.equal(read, revision);
    assert.equal(coverage.size, all.length);
    for (const { interval: name, coverage: facts, states: own } of all) {
      assert.deepEqual(coverage.get(name), facts);
      for (const aggregate of [mean, count])
        assert.equal(states.get(aggregate)?.get(name)?.state, own[aggregate]);
    }
  });

  it("shows as lost until all of it is put back", async () => {
    let calls = 0;
    const dying: RedisConnection = {
      ...connection,
      send: async (command) => {
        if (command[0] === "restoreView" && ++calls === 3) throw new Error("the worker was killed");
        return connection.send(command);
      },
    };
    const all = Array.from({ length: 1201 }, (_, i) => restored(i + 1));
    const cutOff = createLedger(dying, { prefix: redis.prefix });
    await assert.rejects(
      cutOff.restoreView(view, fingerprint, [mean, count], all, 2),
      /the worker was killed/,
    );
    assert.ok(isBehind((await committed()).revision, "1.ab"));
    assert.match(await restore(all, 2), /^2\./);
    assert.equal((await committed()).coverage.size, all.length);
  });

  it("gets the bodies of snapshots back, and keeps those that it has", async () => {
    await ledger.restoreSnapshot(view, "s", "one");
    await ledger.restoreSnapshot(view, "s", "other");
    assert.equal(await ledger.readSnapshot(view, "s"), "one");
  });
});
