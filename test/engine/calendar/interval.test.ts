import assert from "node:assert/strict";
import fc from "fast-check";
import { OnceflowError } from "../../../engine/errors.ts";
import {
  endsOf,
  formatInterval,
  interval,
  parseInstant,
  parseInterval,
} from "../../../engine/calendar/interval.ts";
import { runsOf } from "../../support/property.ts";

function assertRefused(read: () => unknown, said: RegExp): void {
  assert.throws(
    read,
    (error) =>
      error instanceof OnceflowError &&
      error.code === "INTERVAL_INVALID" &&
      said.test(error.message),
  );
}

describe("intervals", () => {
  it("are half-open ranges of UTC milliseconds", () => {
    const { startMs, endMs } = interval("2026-01-01", "2026-01-02T12:00:00.250Z");
    assert.equal(startMs, Date.UTC(2026, 0, 1));
    assert.equal(endMs, Date.UTC(2026, 0, 2, 12, 0, 0, 250));
  });

  it("read a date as its midnight, and a time without a zone as UTC, wherever they run", () => {
    assert.equal(parseInstant("2026-03-29"), Date.UTC(2026, 2, 29));
    assert.equal(parseInstant("2026-03-29T02:30"), Date.UTC(2026, 2, 29, 2, 30));
    assert.equal(parseInstant("2026-03-29T02:30:15"), Date.UTC(2026, 2, 29, 2, 30, 15));
    assert.equal(parseInstant("2026-03-29T02:30+02:00"), Date.UTC(2026, 2, 29, 0, 30));
  });

  it("refuse what is no time", () => {
    const texts = [
      "",
      "today",
      "2026",
      "2026-1-1",
      "2026-02-30",
      "2025-02-29",
      "2026-13-01",
      "2026-01-00",
      "2026-01-01T25:00",
      "2026-01-01T10",
      "2026-01-01T10:00:00.1234Z",
      "2026-01-01Z",
      "0000-01-01",
      "10000-01-01",
      "1700000000",
      "2026-01-01T10:00 Z",
      " 2026-01-01",
    ];
    for (const text of texts)
      assertRefused(() => parseInstant(text), /is no time: write ISO 8601 in UTC, for example/);
  });

  it("refuse to be empty", () => {
    assertRefused(() => interval("2026-01-01", "2026-01-01"), /is empty: its start must be before/);
    assertRefused(() => interval("2026-01-02", "2026-01-01"), /is empty/);
  });

  it("come back exactly from their text, and have one text each", () => {
    const ms = fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_998 });
    fc.assert(
      fc.property(ms, fc.nat(), (startMs, length) => {
        const endMs = Math.min(startMs + 1 + length, 253_402_300_799_999);
        const text = formatInterval({ startMs, endMs });
        assert.deepEqual({ ...parseInterval(text) }, { startMs, endMs });
        assert.equal(formatInterval(parseInterval(text)), text);
      }),
      runsOf(100),
    );
    const day = interval("2026-01-01", "2026-01-02");
    assert.equal(formatInterval(day), "2026-01-01T00:00:00.000Z/2026-01-02T00:00:00.000Z");
    const ends = { start: "2026-01-01T00:00:00.000Z", end: "2026-01-02T00:00:00.000Z" };
    assert.deepEqual(endsOf(day), ends);
    assert.deepEqual(endsOf(formatInterval(day)), ends);
  });

  it("refuse text of another form", () => {
    for (const text of ["", "2026-01-01", "2026-01-01/", "2026-01-01/2026-01-02/2026-01-03"])
      assertRefused(() => parseInterval(text), /is no (interval|time)/);
  });
});
