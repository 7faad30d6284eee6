/** Rows whose event time lies on another day, or in another hour, than their file. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatInterval, interval, type Interval } from "../../engine/calendar/interval.ts";
import { entity, type OnOutside, source } from "../../engine/language/definitions.ts";
import { string, timestamp } from "../../engine/language/dtypes.ts";
import type { OutsideRows } from "../../sources/outside.ts";
import { listSourceFiles } from "../../sources/files.ts";
import { failureOf } from "../support/fails-with.ts";
import { readAll, temporaryFolder } from "../support/files/source-files.ts";
import { writeParquet } from "../support/files/tables.ts";
import { runsOf } from "../support/property.ts";

const msPerHour = 3_600_000;
const person = entity("person", { key: "id" });

interface Options {
  readonly allowedLateness?: string;
  readonly allowedEarliness?: string;
  readonly onOutside?: OnOutside;
}

function eventsOf(files: string, options: Options = {}) {
  const columns = { id: string, at: timestamp };
  return source("events", { files, entity: person, columns, eventTime: "at", ...options });
}

describe("rows outside the day or hour of their file", () => {
  const { folder, write, remove } = temporaryFolder();
  after(remove);

  /** The ids that an interval takes, in their order, and what it says of rows that none takes. */
  async function take(events: ReturnType<typeof eventsOf>, selected: Interval, options = {}) {
    const ids: unknown[] = [];
    const left: OutsideRows[] = [];
    for (const file of await listSourceFiles(events, selected, { dataDir: folder })) {
      const rows = await readAll(events, file, selected, {
        leftOut: (found) => left.push(found),
        ...options,
      });
      ids.push(...(rows["id"] ?? []));
    }
    return { ids, left };
  }

  const csv = (...rows: readonly (readonly [id: string, at: string])[]) =>
    `id,at\n${rows.map(([id, at]) => `${id},${at}\n`).join("")}`;
  const day = (date: number) => interval(`2026-01-0${date}`, `2026-01-0${date + 1}`);

  describe("on the bounds of a day", () => {
    const files = "bounds/{date}.csv";
    before(async () => {
      for (const date of [1, 2, 3])
        await write(
          `bounds/2026-01-0${date}.csv`,
          csv(
            [`first-${date}`, `2026-01-0${date}T00:00:00Z`],
            [`last-${date}`, `2026-01-0${date}T23:59:59.999999Z`],
            [`next-${date}`, `2026-01-0${date + 1}T00:00:00Z`],
            [`before-${date}`, new Date(Date.UTC(2026, 0, date) - 1).toISOString()],
          ),
        );
    });

    it("fail, with file, row, event time and the options that would take them", async () => {
      const error = await failureOf(() => take(eventsOf(files), day(2)));
      assert.equal(error.code, "EVENT_TIME_OUTSIDE");
      assert.equal(error.retryable, false);
      assert.equal(
        error.message,
        `source "events", file ${folder}/bounds/2026-01-02.csv: row 3 (line 4): "at" is 2026-01-03T00:00:00Z, outside [2026-01-02, 2026-01-03), which is all that the file may hold, so that no interval takes this row and 1 other. If that is by design, set allowedLateness: "1 hour" and allowedEarliness: "1 hour" in the source; else mend the file, or leave such rows out, counted, with onOutside: "warn".`,
      );
      assert.deepEqual(error.details["rows"], 2);
    });

    it("are taken by the interval of their event time where that is allowed", async () => {
      const events = eventsOf(files, { allowedLateness: "1 s", allowedEarliness: "1 s" });
      const { ids, left } = await take(events, day(2));
      assert.deepEqual(ids, ["next-1", "first-2", "last-2", "before-3"]);
      assert.deepEqual(left, []);
    });

    it("are told apart: late ones by lateness, early ones by earliness", async () => {
      const late = await failureOf(() =>
        take(eventsOf(files, { allowedEarliness: "1 s" }), day(2)),
      );
      assert.match(late.message, /set allowedLateness: "1 hour" in the source;/);
      const early = await failureOf(() =>
        take(eventsOf(files, { allowedLateness: "2 days" }), day(2)),
      );
      assert.match(early.message, /set allowedEarliness: "1 hour" in the source;/);
    });

    it("are left out and counted where the source says so, whatever columns are read", async () => {
      const events = eventsOf(files, { onOutside: "warn" });
      for (const options of [{}, { columns: ["id"] }, { chunkBytes: 1 }]) {
        const { ids, left } = await take(events, day(2), options);
        assert.deepEqual(ids, ["first-2", "last-2"]);
        assert.deepEqual(left, [
          {
            count: 2,
            warning: `source "events", file ${folder}/bounds/2026-01-02.csv: 2 rows left out, outside [2026-01-02, 2026-01-03), which is all that the file may hold; the first is row 3 (line 4), whose "at" is 2026-01-03T00:00:00Z`,
          },
        ]);
      }
      const both = await take(events, interval("2026-01-01", "2026-01-03"));
      assert.deepEqual(both.ids, ["first-1", "last-1", "first-2", "last-2"]);
    });
  });

  it("ask for no file beside that is not there, and for each that is", async () => {
    await write("few/2026-01-02.csv", csv(["a", "2026-01-02T12:00:00Z"]));
    const events = eventsOf("few/*{date}.csv", {
      allowedLateness: "2 days",
      allowedEarliness: "1 day",
    });
    assert.deepEqual((await take(events, day(2))).ids, ["a"]);
    await write("few/2026-01-03.csv", csv());
    await write("few/2026-01-04.csv", csv(["b", "2026-01-02T00:00:00Z"]));
    await write("few/2026-01-05.csv", "of no use");
    assert.deepEqual((await take(events, day(2))).ids, ["a", "b"]);
    const error = await failureOf(() => take(events, day(1)));
    assert.equal(error.code, "SOURCE_MISSING");
  });

  it("lie in days of a zone: each UTC day is whole by the hours that the zone is ahead", async () => {
    const tokyo = (date: number, time: string) => `2026-01-0${date}T${time}+09:00`;
    for (const date of [2, 3])
      await write(
        `tokyo/2026-01-0${date}.csv`,
        csv(
          [`${date}-morning`, tokyo(date, "00:00:00")],
          [`${date}-noon`, tokyo(date, "12:00:00")],
          [`${date}-night`, tokyo(date, "23:59:59.999")],
        ),
      );
    const events = eventsOf("tokyo/{date}.csv", { allowedLateness: "9 hours" });
    const { ids } = await take(events, day(2));
    assert.deepEqual(ids, ["2-noon", "2-night", "3-morning"]);
    const error = await failureOf(() => take(eventsOf("tokyo/{date}.csv"), day(2)));
    assert.match(error.message, /allowedLateness: "9 hours" in the source;/);
  });

  it("are a mistake rather than late where they lie beyond what can be allowed", async () => {
    await write("zero/2026-01-02.csv", csv(["a", "1970-01-01T00:00:00Z"]));
    const error = await failureOf(() => take(eventsOf("zero/{date}.csv"), day(2)));
    assert.match(error.message, /this row\. Mend the file, or leave such rows out, counted, with/);
  });

  it("are no matter of files without a day or hour, and of an override without one", async () => {
    await write("all.csv", csv(["a", "2026-01-02T12:00:00Z"], ["b", "2026-01-05T12:00:00Z"]));
    assert.deepEqual(await take(eventsOf("all.csv"), day(2)), { ids: ["a"], left: [] });
    const overrides = { events: `${folder}/all.csv` };
    const [file] = await listSourceFiles(eventsOf("{date}.csv"), day(2), {
      dataDir: folder,
      overrides,
    });
    assert.equal(file?.reach, undefined);
  });

  it("are found in parquet by row", async () => {
    const at = [1, 2, 3].map((date) => Date.UTC(2026, 0, date, 12) * 1000);
    await write("parquet/2026-01-02.parquet", "");
    await writeParquet(
      `${folder}/parquet/2026-01-02.parquet`,
      [
        { name: "id", dtype: "string", values: ["a", "b", "c"] },
        { name: "at", dtype: "timestamp", values: at },
      ],
      2,
    );
    const error = await failureOf(() => take(eventsOf("parquet/{date}.parquet"), day(2)));
    assert.match(
      error.message,
      /row 1: "at" is 2026-01-01T12.*this row and 1 other\. .*"12 hours" and .*"13 hours"/,
    );
  });

  /** Rows by event time and file; the first slot of all begins at 0. */
  const scenario = fc
    .record({
      unit: fc.constantFrom("day", "hour"),
      late: fc.integer({ min: 0, max: 60 }),
      early: fc.integer({ min: 0, max: 60 }),
    })
    .chain(({ unit, late, early }) => {
      const lengthMs = unit === "day" ? 24 * msPerHour : msPerHour;
      const slots = 4;
      const rows = fc.array(
        fc.record({
          slot: fc.integer({ min: 0, max: slots - 1 }),
          // Within the reach, its first and last instant often, and one outside on either side.
          atUs: fc.oneof(
            fc
              .integer({ min: -late * msPerHour, max: lengthMs + early * msPerHour - 1 })
              .map((ms) => ms * 1000),
            fc.constantFrom(-late * msPerHour * 1000, (lengthMs + early * msPerHour) * 1000 - 1),
            fc.constantFrom(-late * msPerHour * 1000 - 1, (lengthMs + early * msPerHour) * 1000),
            fc.constantFrom(0, lengthMs * 1000 - 1, lengthMs * 1000, -1),
          ),
        }),
        { maxLength: 20 },
      );
      const cuts = fc.array(
        fc.oneof(
          fc.integer({ min: 1, max: slots - 1 }).map((slot) => slot * lengthMs),
          fc.integer({ min: 1, max: slots * lengthMs - 1 }),
        ),
        { maxLength: 3 },
      );
      return fc.record({
        unit: fc.constant(unit),
        late: fc.constant(late),
        early: fc.constant(early),
        lengthMs: fc.constant(lengthMs),
        slots: fc.constant(slots),
        rows,
        cuts,
      });
    });

  it("come to the same, however time is cut into intervals", async () => {
    const baseMs = Date.parse("2026-01-10T00:00:00Z");
    let counter = 0;
    await fc.assert(
      fc.asyncProperty(scenario, async ({ unit, late, early, lengthMs, slots, rows, cuts }) => {
        const place = `property/${counter++}`;
        const events = eventsOf(`${place}/${unit === "day" ? "{date}" : "{hour}"}.csv`, {
          allowedLateness: `${late} hours`,
          allowedEarliness: `${early} hours`,
          onOutside: "warn",
        });
        const placed = rows.map(({ slot, atUs }, i) => ({
          id: `r${i}`,
          slot,
          us: (BigInt(baseMs) + BigInt(slot * lengthMs)) * 1000n + BigInt(atUs),
          isIn: atUs >= -late * msPerHour * 1000 && atUs < (lengthMs + early * msPerHour) * 1000,
        }));
        for (let slot = 0; slot < slots; slot++) {
          const iso = new Date(baseMs + slot * lengthMs).toISOString();
          const own = placed.filter((row) => row.slot === slot);
          await write(
            `${place}/${iso.slice(0, unit === "day" ? 10 : 13)}.csv`,
            csv(...own.map(({ id, us }) => [id, isoOf(us)] as const)),
          );
        }
        const endMs = slots * lengthMs;
        const bounds = [...new Set([0, ...cuts, endMs])].sort((a, b) => a - b);
        const isAligned = bounds.every((bound) => bound % lengthMs === 0);
        let counted = 0;
        for (const [i, from] of bounds.slice(0, -1).entries()) {
          const selected = { startMs: baseMs + from, endMs: baseMs + (bounds[i + 1] ?? 0) };
          const { ids, left } = await take(events, selected);
          const [start, end] = [BigInt(selected.startMs) * 1000n, BigInt(selected.endMs) * 1000n];
          const expected = placed.filter(({ us, isIn }) => isIn && us >= start && us < end);
          assert.deepEqual(
            ids.sort(),
            expected.map(({ id }) => id).sort(),
            formatInterval(selected),
          );
          counted += left.reduce((sum, { count }) => sum + count, 0);
        }
        const outside = placed.filter(({ isIn }) => !isIn).length;
        // A file of which several intervals read a part is counted by each of them.
        if (isAligned) assert.equal(counted, outside);
        else assert.ok(counted >= outside);
      }),
      runsOf(60),
    );
  });
});

function isoOf(us: bigint): string {
  const micros = ((us % 1000n) + 1000n) % 1000n;
  const ms = new Date(Number((us - micros) / 1000n)).toISOString();
  return ms.replace("Z", `${micros.toString().padStart(3, "0")}Z`);
}
