import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pl from "nodejs-polars";
import { interval } from "../../../engine/calendar/interval.ts";
import { localObjects } from "../../../store/offline/local-objects.ts";
import { unlessMissing } from "../../../store/offline/objects.ts";
import { offlineStoreOf } from "../../../store/offline/offline-store.ts";
import { failureOf } from "../../support/fails-with.ts";
import { memoryObjects } from "../../support/files/memory-objects.ts";
import { temporaryFolder, valuesOf } from "../../support/files/source-files.ts";

const run = promisify(execFile);

const places = {
  "a local folder": (folder: string) => localObjects(path.join(folder, "root")),
  "a place without folders": memoryObjects,
};

for (const [name, open] of Object.entries(places))
  describe(`files of the offline store, in ${name}`, () => {
    const { folder, remove } = temporaryFolder();
    after(remove);
    const objects = open(folder);

    it("are read whole or by range, as far as they go", async () => {
      const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251));
      await objects.put("ranges/a.bin", bytes);
      assert.ok(bytes.equals(await objects.read("ranges/a.bin")));
      for (const [start, end] of [
        [0, 1],
        [100, 100],
        [70_000, 170_001],
        [199_999, 200_000],
        [199_990, 300_000],
        [200_000, 200_010],
        [300_000, 300_001],
      ] as const)
        assert.ok(
          bytes.subarray(start, end).equals(await objects.read("ranges/a.bin", { start, end })),
          `${start} to ${end}`,
        );
    });

    it("are told by their size, and by name below a key", async () => {
      await objects.put("told/a.json", Buffer.from("{}"));
      await objects.put("told/deep/er/b.json", (file) => fs.writeFile(file, "[1]"));
      assert.deepEqual((await objects.list("told")).sort(), ["a.json", "deep"]);
      assert.deepEqual(await objects.stat("told/a.json"), { sizeBytes: 2 });
      assert.deepEqual(await objects.stat("told/deep/er/b.json"), { sizeBytes: 3 });
      await objects.remove("told/deep");
      assert.deepEqual(await objects.list("told"), ["a.json"]);
      await objects.remove("told/a.json");
      assert.equal(await objects.stat("told/a.json"), undefined);
    });

    it("may be missing", async () => {
      assert.deepEqual(await objects.list("nowhere"), []);
      assert.equal(await objects.stat("nowhere/a"), undefined);
      await objects.remove("nowhere");
      for (const range of [undefined, { start: 0, end: 1 }]) {
        assert.equal(await unlessMissing(objects.read("nowhere/a", range)), undefined);
        const error = await failureOf(() => objects.read("nowhere/a", range));
        assert.equal(error.code, "OFFLINE_UNAVAILABLE");
        assert.equal(error.details.path, objects.locate("nowhere/a"));
      }
    });

    it("are put where there is none, and left as they are where there is one", async () => {
      assert.equal(await objects.putIfAbsent("once/a", Buffer.from("first")), true);
      assert.equal(await objects.putIfAbsent("once/a", Buffer.from("second")), false);
      const write = (file: string) => fs.writeFile(file, "third");
      assert.equal(await objects.putIfAbsent("once/a", write), false);
      assert.equal((await objects.read("once/a")).toString(), "first");
      await objects.put("once/a", write);
      assert.equal((await objects.read("once/a")).toString(), "third");
      assert.deepEqual(await objects.list("once"), ["a"]);
    });

    it("are all that parts, generations, snapshots and training sets need", async () => {
      const store = offlineStoreOf(objects);
      const january = interval("2026-01-01", "2026-02-01");
      const ref = { view: "badges", fingerprint: "0a1b", interval: january, generation: 1 };
      const part = { file: 0, chunk: 0 };
      assert.equal(await store.hasViews(), false);
      await store.writePart(ref, part, pl.DataFrame({ x: [1.5, 2.5], y: ["a", "b"] }));
      await store.writeJson({ ...ref, generation: 2 }, "a.json", { rows: 2 });
      await store.writeSnapshot("badges", "abc", "{}");
      assert.deepEqual(await store.listSnapshots("badges"), ["abc"]);
      assert.equal(await store.hasViews(), true);
      assert.deepEqual(valuesOf(await store.readPart(ref, part, ["y"])), { y: ["a", "b"] });
      assert.deepEqual(await store.listIntervals(ref), [january]);
      assert.deepEqual(await store.listGenerations(ref), [1, 2]);
      await store.cleanPartition(ref);
      await store.removePartition(ref);
      assert.deepEqual(await store.listGenerations(ref), [2]);
      assert.deepEqual(await store.readJson({ ...ref, generation: 2 }, "a.json"), { rows: 2 });
      assert.equal(await store.readSnapshot("badges", "abc"), "{}");
      assert.equal(await store.readSnapshot("badges", "abd"), undefined);
      const missing = await failureOf(() => store.readPart(ref, part));
      assert.equal(missing.code, "OFFLINE_UNAVAILABLE");
      const key = "training_sets/model_x/f00";
      const frame = pl.DataFrame({ x: [1.5] });
      assert.equal(await store.writeTrainingSet("model_x", "f00", frame, {}), objects.locate(key));
      assert.equal((await objects.list(key)).length, 3);
    });
  });

describe("files of the offline store", () => {
  const { folder, remove } = temporaryFolder();
  after(remove);

  it("are put once by 64 writers of two processes, and whole", async () => {
    const at = fileURLToPath(new URL("../../../store/offline/local-objects.ts", import.meta.url));
    // A writer's number fills what it writes; all begin when both processes are ready.
    const program = `
      const { promises: fs } = await import("node:fs");
      const { localObjects } = await import(${JSON.stringify(at)});
      const [folder, first] = process.argv.slice(1);
      const objects = localObjects(folder);
      await objects.put("ready/" + first, Buffer.of());
      while ((await objects.list("ready")).length < 2);
      const content = (writer) => Buffer.alloc(100_000, writer);
      const puts = Array.from({ length: 32 }, (_, i) => Number(first) + i).map(async (writer) => {
        const bytes = content(writer);
        const isFirst = await objects.putIfAbsent(
          "once/file",
          writer % 2 === 0 ? bytes : (file) => fs.writeFile(file, bytes),
        );
        const whole = await objects.read("once/file");
        if (whole.length !== bytes.length || !whole.equals(content(whole[0])))
          throw new Error("writer " + writer + " found it in part");
        return isFirst ? [writer] : [];
      });
      console.log(JSON.stringify((await Promise.all(puts)).flat()));`;
    const start = (first: number) =>
      run(process.execPath, [
        "--import",
        "tsx",
        "--input-type=module",
        "-e",
        program,
        folder,
        String(first),
      ]);
    const ended = await Promise.all([start(1), start(101)]);
    const winners = ended.flatMap(({ stdout }) => JSON.parse(stdout) as number[]);
    assert.equal(winners.length, 1, `writers ${winners.join(", ")} were told to be first`);
    const objects = localObjects(folder);
    assert.ok((await objects.read("once/file")).equals(Buffer.alloc(100_000, winners[0])));
    assert.deepEqual(await objects.list("once"), ["file"]);
  });

  it("leave nothing behind where they cannot be put, and keep what was there", async () => {
    const objects = localObjects(folder);
    const put = { put: objects.put, putIfAbsent: objects.putIfAbsent };
    for (const [name, call] of Object.entries(put)) {
      const error = await failureOf(() =>
        call(`refused/${name}`, async (file) => {
          await fs.writeFile(file, "half");
          throw new Error("no more");
        }),
      );
      assert.equal(error.code, "OFFLINE_UNAVAILABLE");
      assert.equal(
        error.message,
        `the offline store cannot write ${folder}/refused/${name}: no more. See to that disk, or correct ONCEFLOW_OFFLINE.`,
      );
    }
    assert.deepEqual(await objects.list("refused"), []);
  });
});
