import assert from "node:assert/strict";
import { buildCatalogue } from "../../../engine/catalogue.ts";
import type { FeatureView } from "../../../engine/language/definitions.ts";
import { entity, featureView, int64, source, string } from "../../../engine/index.ts";
import type { ScheduleOptions } from "../../../engine/calendar/schedule.ts";

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
});
