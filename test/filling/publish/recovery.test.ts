import assert from "node:assert/strict";
import fc from "fast-check";
import type { OnceflowError } from "../../../engine/errors.ts";
import { interval } from "../../../engine/calendar/interval.ts";
import { storedPlan } from "../../../filling/publish/plan.ts";
import { partitionRef } from "../../../filling/publish/partitions.ts";
import { toRowBatch } from "../../../filling/rows.ts";
import { storedTable } from "../../../filling/view-states.ts";
import { createOnlineStore } from "../../../store/online-store.ts";
import { Killed } from "../../support/filling/killable.ts";
import {
  catalogueOf,
  type Ground,
  openGround,
  smallDeployment,
} from "../../support/filling/small-deployment.ts";
import {
  busyIds,
  days,
  ids,
  type Kind,
  type SmallRow,
  writeSmallFile,
} from "../../support/filling/small-views.ts";
import { runsOf } from "../../support/property.ts";

/** Places in `times`, each within its day. */
const [inDay0, inDay1, inDay2, inDay3] = [5, 9, 13, 17] as const;
const rowOf = (id: number, at: number, x = 1): SmallRow => ({ id, at, x, note: null });
/** So many that a change of others is of a small part. */
const others = ids.slice(busyIds).map((_, i) => rowOf(busyIds + i, inDay0));

describe("A publish", function () {
  this.timeout(60_000);
  let ground: Ground;
  before(async () => {
    ground = await openGround();
  });
  after(() => ground.close());

  /** A view with some days committed and published. */
  async function published(kind: Kind, rows: readonly SmallRow[], committed = [0, 1, 2]) {
    const dataDir = await ground.folderOf(kind, [others, rows, []]);
    const all = smallDeployment(ground, kind, dataDir);
    const catalogue = catalogueOf(kind, false);
    const result = {
      ...all,
      catalogue,
      edit: (changed: readonly SmallRow[]) => writeSmallFile(dataDir, kind, 1, changed),
      commit: (day: number, options = {}) =>
        all.materialize(catalogue, kind, days[day] as (typeof days)[number], {
          reprocess: true,
          ...options,
        }),
      publishIt: async (request = {}, options = {}) => {
        const done = await all.publish(catalogue, kind, request, options);
        if (done === "halted") throw new Error("nothing halts it");
        return done;
      },
      /** What is stored is exactly what the last publish that ended says. */
      async assertExact(where = ""): Promise<void> {
        const plan = (await all.readPlans(all.view)).find(
          ({ publishedAt }) => publishedAt !== null,
        );
        assert.ok(plan);
        const stored = all.decodeEntities(all.view, await all.readEntities(all.view));
        const sorted = (each: ReadonlyMap<string, string>) => [...each].sort();
        assert.deepEqual(sorted(stored), sorted(await all.foldOffline(all.view, plan)), where);
        await all.check(false, where);
      },
    };
    for (const day of committed) await result.commit(day);
    await result.publishIt();
    await result.assertExact();
    return result;
  }

  const before3 = [rowOf(0, inDay2), rowOf(1, inDay1), rowOf(2, inDay2), rowOf(3, inDay1)];
  /** Moved to an earlier day, withdrawn, corrected, and moved to a later one. */
  const after3 = [rowOf(0, inDay1, 2), rowOf(2, inDay2, 3), rowOf(3, inDay2, 4)];

  it("rewrites the entities of a corrected interval alone, and withdraws those that are gone", async () => {
    const all = await published("timed", before3);
    await all.edit(after3);
    for (const day of [1, 2]) await all.commit(day);
    const { whole, written, withdrawn } = await all.publishIt();
    assert.deepEqual({ whole, written, withdrawn }, { whole: false, written: 3, withdrawn: 1 });
    await all.assertExact();
    await all.edit([]);
    for (const day of [1, 2]) await all.commit(day);
    assert.equal((await all.publishIt()).withdrawn, 3);
    await all.assertExact();
    all.close();
  });

  it("does not let an interval that comes late outdo those after it", async () => {
    const rows = [rowOf(0, inDay1, 1), rowOf(1, inDay1, 1), rowOf(0, inDay2, 2)];
    const all = await published("latest", rows, [0, 2]);
    await all.commit(1);
    assert.equal((await all.publishIt()).whole, false);
    await all.assertExact();
    all.close();
  });

  it("takes back what one of another generation wrote that was killed at any of its calls", async () => {
    const all = await published("timed", before3);
    for (let at = 1, isKilled = true; isKilled; at += 2) {
      const how = at % 4 === 1 ? "before" : "after";
      await all.edit(before3);
      for (const day of [1, 2]) await all.commit(day);
      await all.publishIt();
      await all.edit([...after3, rowOf(4, inDay1), rowOf(5, inDay2)]);
      for (const day of [1, 2]) await all.commit(day);
      isKilled = await all.publishIt({}, { fault: { at, how } }).then(
        () => false,
        (error: unknown) => {
          assert.ok(error instanceof Killed);
          return true;
        },
      );
      await all.edit([rowOf(0, inDay2, 5), rowOf(3, inDay1, 6)]);
      for (const day of [1, 2]) await all.commit(day);
      await all.publishIt();
      await all.assertExact(`call ${at}`);
    }
    all.close();
  });

  it("is whole where a generation that was replaced is gone", async () => {
    const all = await published("timed", before3);
    await all.edit(after3);
    for (const day of [1, 2]) await all.commit(day);
    const day1 = interval(days[1]?.start ?? "", days[1]?.end ?? "");
    await all.offline.removePartition(partitionRef(all.view, day1, 1));
    assert.equal((await all.publishIt()).whole, true);
    await all.assertExact();
    all.close();
  });

  it("is whole after a whole one that was killed, which may have left any row of an entity", async () => {
    const all = await published("timed", before3);
    const [last] = await all.readPlans(all.view);
    assert.ok(last);
    const { view } = all;
    const ref = { view: view.name, fingerprint: view.fingerprint };
    const generation = await all.ledger.beginPublish(view.name, view.fingerprint, 1);
    const begun = { ...last, generation, whole: true, publishedAt: null };
    await all.offline.journal.beginPublish(ref, generation, storedPlan(begun));
    // It came no further than to a row of another entity under the key: none that is its newest.
    const day2 = interval(days[2]?.start ?? "", days[2]?.end ?? "");
    const frame = await all.offline.readPart(partitionRef(view, day2, 1), { file: 1, chunk: 0 });
    const batch = await toRowBatch(frame, view, { generation, endMs: last.endMs });
    const online = createOnlineStore(ground.writing, { prefix: all.prefix });
    const namespace = await online.openNamespace(storedTable(view), { buckets: 16 });
    await online.writeRows(namespace, {
      ...batch,
      keys: [Array<string>(batch.count).fill("base-3")],
    });
    const [done] = [await all.publishIt()];
    assert.deepEqual([done.outcome, done.whole], ["published", true]);
    await all.assertExact();
    all.close();
  });

  it("counts in one that begins at the same time, at whatever calls both halt", async () => {
    const call = fc.integer({ min: 1, max: 30 });
    await fc.assert(
      fc.asyncProperty(call, call, async (first, second) => {
        const all = await published("timed", before3);
        try {
          await all.edit([...before3, rowOf(4, inDay3)]);
          await all.commit(3);
          const publish = (worker: number, at: number) =>
            all.publish(all.catalogue, "timed", {}, { worker, fault: { at, how: "halt" } });
          await publish(0, first);
          await all.edit([...after3, rowOf(5, inDay1)]);
          for (const day of [1, 2]) await all.commit(day);
          await publish(1, second);
          for (let place = 0; all.zombies.length > 0; place++) {
            const ended = await all.wake(0);
            assert.ok(
              !(ended instanceof Error) || (ended as OnceflowError).code === "FENCED",
              String(ended),
            );
            await all.check(false, `${first}, ${second}, woken ${place}`);
          }
          await all.publishIt();
          await all.assertExact(`${first}, ${second}`);
        } finally {
          while (all.zombies.length > 0) await all.wake(0);
          all.close();
        }
      }),
      runsOf(10),
    );
  });

  it("does not begin a table anew that a later one has put back", async () => {
    const all = await published("timed", before3);
    for (let at = 9; ; at += 2) {
      await all.edit(at % 4 === 1 ? before3 : after3);
      for (const day of [1, 2]) await all.commit(day);
      const first = await all.publish(all.catalogue, "timed", {}, { fault: { at, how: "halt" } });
      if (first !== "halted") break;
      await all.empty();
      await all.publishIt();
      const { namespace } = await all.readPointers(all.view);
      const ended = await all.wake(0);
      assert.ok(!(ended instanceof Error), String(ended));
      assert.deepEqual((await all.readPointers(all.view)).namespace, namespace, `call ${at}`);
      await all.publishIt();
      await all.assertExact(`call ${at}`);
    }
    all.close();
  });

  it("has a generation above all that there ever were, also after a loss", async () => {
    const all = await published("timed", before3);
    const whole = await all.publishIt({ whole: true });
    await all.empty();
    const restored = await all.publishIt();
    assert.ok((restored.generation ?? 0) > (whole.generation ?? 0));
    assert.equal(restored.whole, true);
    await all.assertExact();
    all.close();
  });

  it("puts back what was committed, and nothing of a run that was fenced", async () => {
    const all = await published("timed", before3);
    await all.edit(after3);
    // Halted at any of its calls, it is overtaken by one that does not come to its end.
    for (let at = 3; ; at += 4) {
      const halted = await all
        .commit(1, { worker: 0, fault: { at, how: "halt" } })
        .catch(() => null);
      if (halted !== "halted") break;
      await all.edit([...after3, rowOf(6, inDay1, at)]);
      await all.commit(1, { worker: 1, fault: { at: 14, how: "before" } }).catch(() => null);
      await all.wake(0);
      const coverage = await all.ledger.readCoverage(all.view.name, all.view.fingerprint);
      const generations = () =>
        [...coverage].map(([text, { generation }]) => [text, generation]).sort();
      await all.publishIt();
      await all.empty();
      await all.publishIt();
      const restored = await all.ledger.readCoverage(all.view.name, all.view.fingerprint);
      assert.deepEqual(
        [...restored].map(([text, { generation }]) => [text, generation]).sort(),
        generations(),
        `call ${at}`,
      );
      await all.assertExact(`call ${at}`);
    }
    all.close();
  });

  it("keeps what the publishes of 35 days name, and removes what none of them does", async () => {
    const all = await published("timed", before3);
    const ref = { view: all.view.name, fingerprint: all.view.fingerprint };
    const day1 = interval(days[1]?.start ?? "", days[1]?.end ?? "");
    const generations = () => all.offline.listGenerations({ ...ref, interval: day1 });
    const again = async () => {
      await all.edit([...before3, rowOf(6, inDay1, Math.random())]);
      await all.commit(1);
      const { generation } = await all.publishIt();
      return generation ?? 0;
    };
    const age = async (generation: number, elapsedDays: number) => {
      const plan = await all.offline.journal.readPublish<object>(ref, generation);
      const publishedAt = new Date(Date.now() - elapsedDays * 86_400_000).toISOString();
      await all.offline.journal.writePublish(ref, generation, { ...plan, publishedAt });
    };
    // One that never ended names what the publish before it is of.
    const [first] = await all.readPlans(all.view);
    assert.ok(first);
    await all.publishIt({ whole: true }, { fault: { at: 18, how: "before" } }).catch(() => null);
    const kept = await all.publishIt();
    for (let i = 0; i < 4; i++) await again();
    assert.deepEqual(await generations(), [1, 2, 3, 4, 5]);
    await age(first.generation, 40);
    await again();
    // Its generations are those of a publish of today, too.
    assert.deepEqual(await generations(), [1, 2, 3, 4, 5, 6]);
    await all.publishIt({ backTo: kept.generation });
    await all.assertExact();
    await all.publishIt({ resume: true });
    for (const { generation } of (await all.readPlans(all.view)).filter(
      (plan) => plan.publishedAt !== null,
    ))
      await age(generation, 40);
    for (let i = 0; i < 3; i++) await again();
    assert.deepEqual(await generations(), [7, 8, 9]);
    await all.assertExact();
    all.close();
  });
});
