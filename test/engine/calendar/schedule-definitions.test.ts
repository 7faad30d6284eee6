import assert from "node:assert/strict";
import { buildCatalogue } from "../../../engine/catalogue.ts";
import type { FeatureView } from "../../../engine/language/definitions.ts";
import { entity, featureView, int64, source, string } from "../../../engine/index.ts";
import { resolveSchedule, type ScheduleOptions } from "../../../engine/calendar/schedule.ts";
import { intervalsBetween } from "../../../engine/calendar/slots.ts";

const rows = ["one", "two"].map((name) =>
  source(name, {
    files: `${name}.csv`,
    entity: entity("item", { key: "id" }),
    columns: { id: string, n: int64 },
  }),
);

/** A view over one of two sources. */
function viewOf(name: string, over: 0 | 1, schedule?: Partial<ScheduleOptions>): FeatureView {
  const from = rows[over];
  assert.ok(from);
  return featureView(name, {
    source: from,
    stores: [],
    ...(schedule && { schedule: { every: "1 day", start: "2026-01-01", ...schedule } }),
  });
}

function problemsOf(views: Readonly<Record<string, FeatureView>>): string {
  try {
    buildCatalogue({ views });
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("The schedules of several views", () => {
  it("may depend on each other's intervals", () => {
    const one = viewOf("one", 0, {});
    assert.equal(problemsOf({ one, two: viewOf("two", 1, { dependsOn: [one] }) }), "");
  });

  it("are refused where a view depends on what has no intervals, or is not exported", () => {
    const bare = viewOf("bare", 0);
    const two = viewOf("two", 1, { dependsOn: [bare] });
    assert.match(
      problemsOf({ bare, two }),
      /"two".* schedule: dependsOn "bare", which has no schedule/,
    );
    assert.match(
      problemsOf({ two: viewOf("two", 1, { dependsOn: [viewOf("lost", 0, {})] }) }),
      /"two".*dependsOn "lost", which features\/index.ts does not export/,
    );
  });

  it("are refused where views depend on each other in a circle", () => {
    const depends: FeatureView[] = [];
    const one = viewOf("one", 0, { dependsOn: depends });
    const two = viewOf("two", 1, { dependsOn: [one] });
    depends.push(two);
    assert.match(
      problemsOf({ one, two }),
      /dependsOn goes in a circle: one → two → one\. Take one of them out\./,
    );
  });

  it("are refused where they do not agree on the size of a pool", () => {
    const pool = { name: "warehouse", slots: 2 };
    const one = viewOf("one", 0, { pool });
    assert.equal(problemsOf({ one, two: viewOf("two", 1, { pool }) }), "");
    assert.match(
      problemsOf({ one, two: viewOf("two", 1, { pool: { ...pool, slots: 3 } }) }),
      /pool "warehouse" has 2 slots here and 3 in view "two"/,
    );
  });

  const wrong: readonly (readonly [options: Partial<ScheduleOptions>, said: RegExp])[] = [
    [{ cron: "*/1e1 * * * *" }, /has the minute "\*\/1e1"/],
    [{ cron: "0 0x1 * * *" }, /has the hour "0x1"/],
    [{ cron: "0 0 * * *", timeZone: "europe/berlin" }, /no IANA time zone/],
    [{ every: "999999999 weeks" }, /give at most "3294 days"/],
    [{ every: "1 day", offset: "99999 days" }, /give at most "3294 days"/],
    [{ every: "1 min", start: "0001-01-01" }, /is more than 5,000,000 intervals ago/],
  ];
  for (const [options, said] of wrong)
    it(`are refused with ${JSON.stringify(options)}`, () => {
      const schedule = { start: "2026-01-01", ...options };
      const [from] = rows;
      assert.ok(from);
      const one = featureView("one", { source: from, stores: [], schedule });
      assert.match(problemsOf({ one }), said);
    });

  it("fire in order where a zone went back across midnight", () => {
    const schedule = resolveSchedule({
      cron: "*/30 * * * *",
      timeZone: "America/St_Johns",
      start: "2006-01-01",
    });
    // Clocks went from 00:01 back to 23:01 of the day before.
    const from = Date.parse("2006-10-28T00:00:00Z");
    const found = intervalsBetween(schedule, from, from + 3 * 86_400_000);
    assert.equal(found.length, 144);
    for (const [i, { startMs, endMs }] of found.entries()) {
      assert.equal(endMs - startMs, 1_800_000);
      if (i > 0) assert.equal(startMs, found[i - 1]?.endMs);
    }
  });
});
