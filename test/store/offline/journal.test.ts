import assert from "node:assert/strict";
import path from "node:path";
import fc from "fast-check";
import { journalOf } from "../../../store/offline/journal.ts";
import { localObjects } from "../../../store/offline/local-objects.ts";
import { unfinishedName } from "../../../store/offline/objects.ts";
import { countOfRevision } from "../../../store/revision.ts";
import { failsWith } from "../../support/fails-with.ts";
import { memoryObjects } from "../../support/files/memory-objects.ts";
import { temporaryFolder } from "../../support/files/source-files.ts";
import { runsOf } from "../../support/property.ts";

const places = {
  "a local folder": (folder: string) => localObjects(path.join(folder, "root")),
  "a place without folders": memoryObjects,
};

for (const [name, open] of Object.entries(places))
  describe(`journal of a view, in ${name}`, () => {
    const { folder, remove } = temporaryFolder();
    after(remove);
    const objects = open(folder);
    const journal = journalOf(objects);
    let views = 0;
    let ref = { view: "", fingerprint: "ab12" };
    beforeEach(() => {
      ref = { ...ref, view: `view_${++views}` };
    });

    it("has nothing of a view that was never written", async () => {
      assert.deepEqual(await journal.listPublishes(ref), []);
      assert.equal(await journal.readPublish(ref, 1), undefined);
      assert.equal(await journal.readRevision(ref.view), undefined);
      assert.deepEqual(await journal.readVoided(ref), new Map());
      await journal.removePublish(ref, 1);
    });

    it("keeps publishes of each definition apart, ascending", async () => {
      const other = { ...ref, fingerprint: "cd34" };
      for (const generation of [10, 2, 4_294_967_295, 1])
        await journal.beginPublish(ref, generation, { generation });
      await journal.beginPublish(other, 3, "other");
      assert.deepEqual(await journal.listPublishes(ref), [1, 2, 10, 4_294_967_295]);
      await journal.writePublish(ref, 2, { publishedAt: "é" });
      assert.deepEqual(await journal.readPublish(ref, 2), { publishedAt: "é" });
      assert.deepEqual(await journal.readPublish(ref, 10), { generation: 10 });
      await journal.removePublish(ref, 2);
      assert.deepEqual(await journal.listPublishes(ref), [1, 10, 4_294_967_295]);
      assert.equal(await journal.readPublish(ref, 2), undefined);
      assert.deepEqual(await journal.listPublishes(other), [3]);
    });

    it("gives a generation to one of all publishes that take it at once", async () => {
      const writers = Array.from({ length: 20 }, (_, i) => i);
      const taken = await Promise.all(
        writers.map((writer) => journal.beginPublish(ref, 7, { writer })),
      );
      const winners = writers.filter((writer) => taken[writer]);
      assert.equal(winners.length, 1);
      assert.deepEqual(await journal.readPublish(ref, 7), { writer: winners[0] });
    });

    it("takes a publish that cannot be read for lost, not for absent", async () => {
      await journal.beginPublish(ref, 1, {});
      const key = `views/${ref.view}/fingerprint=ab12/publishes/0000000001.json`;
      await objects.put(key, Buffer.from("{"));
      await failsWith(journal.readPublish(ref, 1), "OFFLINE_UNAVAILABLE", /0000000001\.json/);
    });

    it("keeps the greatest revision, which no later note moves back", async () => {
      for (const [noted, greatest] of [
        ["0", "0"],
        ["9.ab", "9.ab"],
        ["10.cd", "10.cd"],
        ["9.ff", "10.cd"],
        // A ledger that lost something and went on: what was noted first stays, and shows it.
        ["10.ee", "10.cd"],
        ["100.ab", "100.ab"],
      ] as const) {
        await journal.noteRevision(ref.view, noted);
        assert.equal(await journal.readRevision(ref.view), greatest, noted);
      }
      assert.deepEqual(await objects.list(`views/${ref.view}/revisions`), ["100.ab"]);
    });

    it("never shows a reader an older revision than before, whatever is noted at once", async () => {
      const counts = fc.uniqueArray(fc.integer({ min: 1, max: 30 }), { minLength: 1 });
      await fc.assert(
        fc.asyncProperty(counts, async (noted) => {
          const view = `view_${++views}`;
          const control = { isWriting: true };
          const reader = async () => {
            let seen = 0;
            while (control.isWriting) {
              const revision = await journal.readRevision(view);
              const now = revision === undefined ? 0 : countOfRevision(revision);
              assert.ok(now >= seen, `${now} after ${seen}`);
              seen = now;
            }
          };
          const reading = reader();
          await Promise.all(noted.map((count) => journal.noteRevision(view, `${count}.ab`)));
          control.isWriting = false;
          await reading;
          assert.equal(await journal.readRevision(view), `${Math.max(...noted)}.ab`);
        }),
        runsOf(20),
      );
    });

    it("merges resets, also those that were written at once", async () => {
      await journal.makeVoid(ref, new Map([["a", 1]]));
      await journal.makeVoid(
        ref,
        new Map([
          ["a", 3],
          ["b", 2],
        ]),
      );
      await journal.makeVoid(ref, new Map([["a", 2]]));
      assert.deepEqual(
        await journal.readVoided(ref),
        new Map([
          ["a", 3],
          ["b", 2],
        ]),
      );
      await Promise.all(
        Array.from({ length: 10 }, (_, i) => journal.makeVoid(ref, new Map([[`c${i}`, i]]))),
      );
      const voided = await journal.readVoided(ref);
      assert.equal(voided.size, 12);
      assert.equal(voided.get("c9"), 9);
      assert.deepEqual(await journal.readVoided({ ...ref, fingerprint: "cd34" }), new Map());
    });

    it("reads nothing of what a process that was killed has left half written", async () => {
      await journal.beginPublish(ref, 1, {});
      await journal.noteRevision(ref.view, "1.ab");
      await journal.makeVoid(ref, new Map([["a", 1]]));
      const of = `views/${ref.view}`;
      for (const [at, file] of [
        [`${of}/fingerprint=ab12/publishes`, "0000000002.json"],
        [`${of}/fingerprint=ab12/resets`, "2.json"],
        [`${of}/revisions`, "2.ab"],
      ] as const)
        await objects.put(`${at}/${unfinishedName(file, "killed")}`, Buffer.from("{"));
      assert.deepEqual(await journal.listPublishes(ref), [1]);
      assert.equal(await journal.readRevision(ref.view), "1.ab");
      assert.deepEqual(await journal.readVoided(ref), new Map([["a", 1]]));
    });
  });
