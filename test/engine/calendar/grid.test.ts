import assert from "node:assert/strict";
import {
  type CellState,
  gridOf,
  isDue,
  type Outcome,
  reprocessModes,
} from "../../../engine/calendar/grid.ts";
import { formatInterval, interval } from "../../../engine/calendar/interval.ts";

const day = (date: number) => interval(`2026-01-0${date}`, `2026-01-0${date + 1}`);
const ended = (outcome: Outcome["outcome"]): Outcome => ({
  outcome,
  reason: outcome === "committed" ? null : "why",
  rows: null,
  runId: "run",
  startedAtMs: 0,
  finishedAtMs: 1,
});

/** What is known of a day, and what its cell then is. */
const cases: readonly [
  what: string,
  known: { rows?: number; outcome?: Outcome["outcome"]; stale?: true },
  state: CellState,
  due: readonly boolean[],
][] = [
  ["nothing", {}, "missing", [true, true, true, true]],
  ["rows alone, as of an older release", { rows: 0 }, "done", [false, false, false, true]],
  ["a commit", { rows: 3, outcome: "committed" }, "done", [false, false, false, true]],
  [
    "a commit of older input",
    { rows: 3, outcome: "committed", stale: true },
    "stale",
    [false, false, true, true],
  ],
  [
    "a commit without the states of an aggregate",
    { outcome: "committed" },
    "missing",
    [true, true, true, true],
  ],
  ["a failure", { outcome: "failed" }, "failed", [false, true, true, true]],
  ["a failure after a commit", { rows: 3, outcome: "failed" }, "failed", [false, true, true, true]],
  [
    "a failure on older input",
    { rows: 3, outcome: "failed", stale: true },
    "failed",
    [false, true, true, true],
  ],
  [
    "a cancelled run after a commit",
    { rows: 3, outcome: "cancelled" },
    "done",
    [false, false, false, true],
  ],
  ["a cancellation", { outcome: "cancelled" }, "cancelled", [false, true, true, true]],
  ["a run that was blocked", { outcome: "blocked" }, "blocked", [false, true, true, true]],
];

describe("The grid", () => {
  for (const [what, { rows, outcome, stale }, state, due] of cases)
    it(`shows ${what} as ${state}`, () => {
      const own = day(2);
      const key = formatInterval(own);
      const cells = gridOf([day(1), own, day(3)], {
        committedRows: new Map(rows === undefined ? [] : [[key, rows]]),
        outcomes: new Map(outcome === undefined ? [] : [[key, ended(outcome)]]),
        isStale: (each) => stale === true && each.startMs === own.startMs,
      });
      assert.deepEqual(
        cells.map((cell) => cell.state),
        ["missing", state, "missing"],
      );
      const cell = cells[1];
      assert.ok(cell !== undefined);
      assert.equal(cell.rows, rows ?? null);
      assert.deepEqual(
        reprocessModes.map((mode) => isDue(cell, mode)),
        due,
      );
    });
});
