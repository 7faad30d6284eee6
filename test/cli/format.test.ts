import assert from "node:assert/strict";
import { plainOf } from "../../cli/follow.ts";
import { chooseSpan } from "../../cli/commands/materialize.ts";
import { parseEntity, parseValue } from "../../cli/request.ts";
import { clean, fields, table } from "../../cli/table.ts";
import { paintOf, terminalOf } from "../../cli/terminal.ts";
import { showSpan, showTime } from "../../engine/calendar/interval.ts";
import { holesOf } from "../../status/view-problems.ts";
import { loadCatalogue, viewNamed } from "../../engine/catalogue.ts";
import { countOf } from "../../engine/words.ts";
import { formatSpan } from "../../engine/calendar/duration.ts";

const plain = paintOf({ colours: false });

describe("text of the CLI", () => {
  it("aligns a table by its visible text, with numbers to the right", () => {
    const paint = paintOf({ colours: true });
    assert.equal(
      table(
        ["name", "rows"],
        [
          ["a", "5"],
          ["long", "1000"],
        ],
        plain,
      ),
      "name  rows\na        5\nlong  1000",
    );
    const painted = table(["name", "x"], [[paint("red", "a"), "b"]], plain);
    assert.equal(painted, `name  x\n${paint("red", "a")}     b`);
    assert.equal(table(["name", "rows"], [], plain), "name  rows");
  });

  it("leaves out fields without a value", () => {
    assert.equal(
      fields([
        ["a", "1"],
        ["gone", undefined],
        ["bcd", "2"],
      ]),
      "  a    1\n  bcd  2",
    );
  });

  it("escapes what would steer a terminal", () => {
    assert.equal(clean("a\u001b[31mb\nc\u202e"), "a\\u001b[31mb\\u000ac\\u202e");
    assert.equal(clean("é 漢 😀"), "é 漢 😀");
  });

  it("shows spans of time in two units", () => {
    const texts = [0, 59, 60, 3661, 86_400, 90_000, 300 * 86_400, -5].map(formatSpan);
    assert.deepEqual(texts, [
      "0 s",
      "59 s",
      "1 min",
      "1 h 1 min",
      "1 d",
      "1 d 1 h",
      "300 d",
      "-5 s",
    ]);
    assert.deepEqual(
      [0, 1, 2].map((count) => countOf(count, "row")),
      ["0 rows", "1 row", "2 rows"],
    );
  });

  it("shows times as short as they can be", () => {
    assert.equal(showTime("2026-01-02T00:00:00.000Z"), "2026-01-02");
    assert.equal(showTime("2026-01-02T03:00:00.000Z"), "2026-01-02T03:00:00Z");
    assert.equal(showTime("2026-01-02T03:00:00.120Z"), "2026-01-02T03:00:00.120Z");
    assert.equal(
      showSpan({ start: "2026-01-02T00:00:00.000Z", end: "2026-01-03T00:00:00.000Z" }),
      "[2026-01-02, 2026-01-03)",
    );
  });

  it("takes no colours where NO_COLOR is set or nothing is a terminal", () => {
    const coloured = (isTTY: boolean | undefined, env: NodeJS.ProcessEnv) =>
      terminalOf({ ...process, stdout: { ...process.stdout, isTTY }, env } as NodeJS.Process)
        .colours;
    assert.equal(coloured(true, {}), true);
    assert.equal(coloured(true, { NO_COLOR: "1" }), false);
    assert.equal(coloured(true, { TERM: "dumb" }), false);
    assert.equal(coloured(undefined, {}), false);
    assert.equal(paintOf({ colours: true })("bold", "x"), "\u001b[1mx\u001b[22m");
    assert.equal(plain("bold", "x"), "x");
  });

  it("reads the words of a run's page without Markdown and tables", () => {
    assert.equal(
      plainOf("**absences** `[a, b)`\n\nPass 1, read and validate: 1 of 3 parts."),
      "Pass 1, read and validate: 1 of 3 parts.",
    );
    assert.equal(plainOf("**a** `[x)`\n\nCommitted.\n\n| rows |\n|---|\n| 3 |"), "Committed.");
    assert.equal(plainOf("Training set of **x**."), "Training set of x.");
  });

  it("finds gaps and overlaps between intervals in any order", () => {
    const at = (day: number) => `2026-01-0${day}T00:00:00.000Z`;
    const span = (start: number, end: number) => ({ start: at(start), end: at(end) });
    const text = (start: number, end: number) => `${at(start)}/${at(end)}`;
    assert.deepEqual(holesOf([]), { gaps: [], overlaps: [] });
    assert.deepEqual(holesOf([text(5, 6), text(1, 2), text(2, 3)]), {
      gaps: [span(3, 5)],
      overlaps: [],
    });
    assert.deepEqual(holesOf([text(1, 5), text(2, 3), text(5, 6)]), {
      gaps: [],
      overlaps: [span(2, 3)],
    });
  });
});

describe("options of the CLI", () => {
  it("reads values as JSON where that is exact, else as text", () => {
    const cases = new Map<string, unknown>([
      ["33", 33],
      ["1.5", 1.5],
      ["true", true],
      ["null", null],
      ['"33"', "33"],
      ["[1,2]", [1, 2]],
      ["plain text", "plain text"],
      ["", ""],
      ["NaN", "NaN"],
      ["9007199254740993", "9007199254740993"],
      ["1e999", "1e999"],
      ["-0", "-0"],
      ["-0.0", "-0"],
      ["007", "007"],
    ]);
    for (const [text, value] of cases) assert.deepEqual(parseValue(text), value, text);
  });

  it("keeps the keys of entities as text, several columns between commas", () => {
    assert.deepEqual(parseEntity("id=0011"), { id: "0011" });
    assert.deepEqual(parseEntity("id=a=b"), { id: "a=b" });
    assert.deepEqual(parseEntity("store=3,sku=a,b"), { store: "3", sku: "a,b" });
    assert.throws(() => parseEntity("11"), /write name=value/);
    assert.throws(() => parseEntity("id=1,id=2"), /twice/);
  });

  it("chooses the whole of a full refresh, and wants an interval of any other view", async () => {
    const catalogue = await loadCatalogue(() => import("../../features/index.ts"));
    const nowMs = Date.parse("2026-03-04T05:06:07.890Z");
    const absences = viewNamed(catalogue, "absences");
    assert.deepEqual(chooseSpan(absences, {}, nowMs), {
      start: "1970-01-01T00:00:00.000Z",
      end: "2026-03-04T05:06:07.000Z",
    });
    assert.equal(
      chooseSpan(absences, { end: "2026-01-01" }, nowMs).end,
      "2026-01-01T00:00:00.000Z",
    );
    assert.throws(() => chooseSpan(absences, { start: "2026-01-01" }, nowMs), {
      code: "onceflow.usage",
      message: /"absences" .* leave out --start/,
    });
    const badges = viewNamed(catalogue, "badges");
    for (const options of [{}, { start: "2026-01-01" }, { end: "2026-01-01" }])
      assert.throws(() => chooseSpan(badges, options, nowMs), {
        code: "INTERVAL_INVALID",
        message: /event time "left_at": give --start and --end, for example .* badges --start/,
      });
  });
});
