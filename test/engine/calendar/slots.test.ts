import assert from "node:assert/strict";
import { Client, Connection } from "@temporalio/client";
import { msToTs } from "@temporalio/common/lib/time.js";
import fc from "fast-check";
import { resolveSchedule, type ScheduleOptions } from "../../../engine/calendar/schedule.ts";
import { scheduleProblems } from "../../../engine/calendar/schedule-problems.ts";
import {
  dependentIntervals,
  intervalsBetween,
  isSlot,
  newestInterval,
  upstreamIntervals,
} from "../../../engine/calendar/slots.ts";
import { testTemporal } from "../../support/temporal/deployment.ts";
import { runsOf } from "../../support/property.ts";
import { randomPrefix } from "../../support/redis/server.ts";

const msPerDay = 86_400_000;
const at = (time: string) => Date.parse(time);

function ends(options: Omit<ScheduleOptions, "start">, from: string, to: string): string[] {
  const schedule = resolveSchedule({ ...options, start: "1990-01-01" });
  return intervalsBetween(schedule, at(from), at(to)).map(({ startMs, endMs }) =>
    [startMs, endMs].map((ms) => new Date(ms).toISOString().slice(0, 16)).join("/"),
  );
}

describe("The slots of a schedule", () => {
  it("cut awkward dates as people expect", () => {
    const table: [Omit<ScheduleOptions, "start">, string, string, string[]][] = [
      // Leap day, and the year that has none.
      [
        { every: "1 day" },
        "2024-02-28",
        "2024-03-01",
        ["2024-02-28T00:00/2024-02-29T00:00", "2024-02-29T00:00/2024-03-01T00:00"],
      ],
      [
        { cron: "0 0 1 * *" },
        "2026-01-01",
        "2026-03-01",
        ["2026-01-01T00:00/2026-02-01T00:00", "2026-02-01T00:00/2026-03-01T00:00"],
      ],
      [
        { cron: "0 0 31 * *" },
        "2026-01-31",
        "2026-05-31",
        ["2026-01-31T00:00/2026-03-31T00:00", "2026-03-31T00:00/2026-05-31T00:00"],
      ],
      [
        { cron: "0 0 29 2 *" },
        "2020-02-29",
        "2028-02-29",
        ["2020-02-29T00:00/2024-02-29T00:00", "2024-02-29T00:00/2028-02-29T00:00"],
      ],
      [
        { cron: "0 0 * * MON" },
        "2026-01-05",
        "2026-01-19",
        ["2026-01-05T00:00/2026-01-12T00:00", "2026-01-12T00:00/2026-01-19T00:00"],
      ],
      [{ cron: "0 0 * * 7" }, "2026-01-04", "2026-01-11", ["2026-01-04T00:00/2026-01-11T00:00"]],
      [{ every: "1 day" }, "2025-12-31", "2026-01-01", ["2025-12-31T00:00/2026-01-01T00:00"]],
      // The day has 23 hours in spring and 25 in autumn.
      [
        { cron: "0 0 * * *", timeZone: "Europe/Berlin" },
        "2026-03-28T23:00Z",
        "2026-03-29T22:00Z",
        ["2026-03-28T23:00/2026-03-29T22:00"],
      ],
      [
        { cron: "0 0 * * *", timeZone: "Europe/Berlin" },
        "2026-10-24T22:00Z",
        "2026-10-25T23:00Z",
        ["2026-10-24T22:00/2026-10-25T23:00"],
      ],
      // 02:30 does not exist on March 8: that slot does not fire, and the interval has two days.
      [
        { cron: "30 2 * * *", timeZone: "America/New_York" },
        "2026-03-07T07:30Z",
        "2026-03-09T06:30Z",
        ["2026-03-07T07:30/2026-03-09T06:30"],
      ],
      // 01:30 exists twice on November 1.
      [
        { cron: "30 1 * * *", timeZone: "America/New_York" },
        "2026-11-01T05:30Z",
        "2026-11-02T06:30Z",
        ["2026-11-01T05:30/2026-11-01T06:30", "2026-11-01T06:30/2026-11-02T06:30"],
      ],
      // A shift of half an hour.
      [
        { cron: "0 12 * * *", timeZone: "Australia/Lord_Howe" },
        "2026-04-04T01:00Z",
        "2026-04-05T01:30Z",
        ["2026-04-04T01:00/2026-04-05T01:30"],
      ],
      // Midnight itself did not exist: the slot of that day does not fire.
      [
        { cron: "0 0 * * *", timeZone: "America/Sao_Paulo" },
        "2017-10-14T03:00Z",
        "2017-10-16T02:00Z",
        ["2017-10-14T03:00/2017-10-16T02:00"],
      ],
    ];
    for (const [options, from, to, wanted] of table)
      assert.deepEqual(ends(options, from, to), wanted, JSON.stringify(options));
  });

  it("run a day two hours after its end with an offset", () => {
    const schedule = resolveSchedule({ every: "1 day", offset: "2 hours", start: "2026-01-01" });
    assert.equal(newestInterval(schedule, at("2026-01-02T01:59Z")), null);
    assert.deepEqual(newestInterval(schedule, at("2026-01-02T02:00Z")), {
      startMs: at("2026-01-01"),
      endMs: at("2026-01-02"),
    });
    assert.equal(isSlot(schedule, at("2026-01-02T02:00:00.700Z")), true);
    assert.equal(isSlot(schedule, at("2026-01-02T02:01Z")), false);
  });

  it("tile time, however they are asked for", () => {
    const zones = [
      "UTC",
      "America/New_York",
      "Europe/Berlin",
      "Australia/Lord_Howe",
      "Asia/Kolkata",
    ];
    const calendar = fc.oneof(
      fc.integer({ min: 1, max: 3000 }).map((count) => ({ every: `${count} min` })),
      fc
        .record({
          minute: fc.constantFrom("0", "30", "*/20", "5,50"),
          hour: fc.constantFrom("*", "0", "1", "2", "*/6", "1-3"),
          day: fc.constantFrom("* * *", "1 * *", "31 * *", "* * MON-FRI", "29 2 *", "* 3,10 *"),
          timeZone: fc.constantFrom(...zones),
        })
        .map(({ minute, hour, day, timeZone }) => ({ cron: `${minute} ${hour} ${day}`, timeZone })),
    );
    const range = fc
      .tuple(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 1, max: 40 }), fc.nat(1000))
      .map(([day, days, cut]) => {
        const from = at("2005-01-01") + day * msPerDay;
        const to = from + days * msPerDay;
        return { from, to, cut: from + Math.floor(((to - from) * cut) / 1000) };
      });
    fc.assert(
      fc.property(
        calendar,
        range,
        fc.constantFrom("0 s", "2 hours", "45 min"),
        (own, r, offset) => {
          const schedule = resolveSchedule({ ...own, offset, start: "1990-01-01" });
          const all = intervalsBetween(schedule, r.from, r.to);
          for (const [i, { startMs, endMs }] of all.entries()) {
            assert.ok(startMs < endMs && startMs >= r.from && endMs <= r.to);
            if (i > 0) assert.equal(startMs, all[i - 1]?.endMs, "a gap or an overlap");
            const newest = newestInterval(schedule, endMs + schedule.offsetMs);
            assert.deepEqual(newest, { startMs, endMs });
          }
          const before = intervalsBetween(schedule, r.from, r.cut);
          const after = intervalsBetween(schedule, before.at(-1)?.endMs ?? r.from, r.to);
          assert.deepEqual([...before, ...after], all);
        },
      ),
      runsOf(150),
    );
  }).timeout(60_000);

  it("say what comes first for an interval of another schedule", () => {
    const first = (
      upstream: Omit<ScheduleOptions, "start">,
      [from, to]: [string, string],
      earlier = 0,
    ) =>
      upstreamIntervals(
        resolveSchedule({ ...upstream, start: "2026-01-01" }),
        { startMs: at(from), endMs: at(to) },
        earlier,
      ).map(({ startMs, endMs }) =>
        [startMs, endMs].map((ms) => new Date(ms).toISOString().slice(5, 13)).join("/"),
      );
    const day: [string, string] = ["2026-01-05", "2026-01-06"];
    assert.deepEqual(first({ every: "1 day" }, day), ["01-05T00/01-06T00"]);
    assert.deepEqual(first({ every: "1 day", offset: "2 hours" }, day), ["01-05T00/01-06T00"]);
    assert.deepEqual(first({ every: "1 day" }, day, 2), [
      "01-03T00/01-04T00",
      "01-04T00/01-05T00",
      "01-05T00/01-06T00",
    ]);
    assert.deepEqual(first({ every: "12 hours" }, day), ["01-05T00/01-05T12", "01-05T12/01-06T00"]);
    // None ends within the day: the newest before it.
    assert.deepEqual(first({ cron: "0 0 * * 6" }, day), []);
    assert.deepEqual(first({ cron: "0 0 * * 6" }, ["2026-01-12", "2026-01-13"]), [
      "01-03T00/01-10T00",
    ]);
    // Nothing before the start.
    assert.deepEqual(first({ every: "1 day" }, ["2026-01-01", "2026-01-02"], 5), [
      "01-01T00/01-02T00",
    ]);
  });

  it("answer what comes first and what comes after alike", () => {
    const calendar = fc.constantFrom<Omit<ScheduleOptions, "start">>(
      { every: "1 hour" },
      { every: "7 hours", offset: "90 min" },
      { every: "1 day", offset: "2 hours" },
      { cron: "0 3 * * *", timeZone: "Europe/Berlin" },
      { cron: "0 0 * * 6" },
      { cron: "0 0 1 * *" },
    );
    const nowMs = at("2026-04-20");
    fc.assert(
      fc.property(
        calendar,
        calendar,
        fc.integer({ min: 0, max: 3 }),
        fc.nat(),
        (own, other, earlier, n) => {
          const schedule = resolveSchedule({ ...own, start: "2026-01-01" });
          const upstream = resolveSchedule({ ...other, start: "2026-01-10" });
          const all = intervalsBetween(upstream, at("2026-03-01"), at("2026-04-01"));
          const interval = all[n % all.length];
          assert.ok(interval);
          const found = dependentIntervals(
            schedule,
            { schedule: upstream, interval, earlier },
            nowMs,
          );
          const expected = intervalsBetween(schedule, at("2026-01-01"), at("2026-04-30"))
            .filter(({ endMs }) => endMs + schedule.offsetMs <= nowMs)
            .filter((each) =>
              upstreamIntervals(upstream, each, earlier).some(
                ({ endMs }) => endMs === interval.endMs,
              ),
            );
          assert.deepEqual(found, expected);
        },
      ),
      runsOf(20),
    );
  });

  it("are those of a real Temporal server", async () => {
    const { address } = await testTemporal();
    const connection = await Connection.connect({ address });
    const client = new Client({ connection });
    const cases: Omit<ScheduleOptions, "start">[] = [
      { every: "1 day", offset: "2 hours" },
      { every: "35 min", offset: "1 min" },
      { cron: "30 2 * * *", timeZone: "America/New_York" },
      { cron: "30 1 * * *", timeZone: "America/New_York" },
      { cron: "0 0 * * *", timeZone: "Europe/Berlin" },
      // Not in a zone with daylight saving: where several slots lie in the hours that exist twice,
      // the server leaves out some of them; docs/orchestration.md says so.
      { cron: "*/15 1-3 * * SUN", timeZone: "Asia/Kolkata" },
      { cron: "0 12 29 2 *", timeZone: "UTC" },
      { cron: "@monthly" },
      { cron: "0 0 * * 1-5/2" },
    ];
    try {
      for (const [i, options] of cases.entries()) {
        const schedule = resolveSchedule({ ...options, start: "1990-01-01" });
        const { calendar, offsetMs } = schedule;
        const handle = await client.schedule.create({
          scheduleId: `${randomPrefix()}-${i}`,
          spec:
            calendar.kind === "every"
              ? { intervals: [{ every: calendar.everyMs, offset: offsetMs % calendar.everyMs }] }
              : { cronExpressions: [calendar.cron], timezone: calendar.timeZone },
          action: { type: "startWorkflow", workflowType: "none", taskQueue: "none", args: [] },
          state: { paused: true },
        });
        const spans =
          calendar.kind === "every"
            ? [["2026-03-01", "2026-03-04"]]
            : [
                ["2026-03-01", "2026-04-10"],
                ["2026-10-01", "2026-11-10"],
                ["2024-02-01", "2024-03-20"],
              ];
        for (const [from = "", to = ""] of spans) {
          const { startTime } = await connection.workflowService.listScheduleMatchingTimes({
            namespace: "default",
            scheduleId: handle.scheduleId,
            // Exclusive.
            startTime: msToTs(at(from) - 1000),
            endTime: msToTs(at(to)),
          });
          const theirs = startTime.map(({ seconds }) => Number(seconds) * 1000);
          const ours = theirs.filter((ms) => isSlot(schedule, ms));
          assert.deepEqual(ours, theirs, JSON.stringify(options));
          const between = intervalsBetween(schedule, at(from) - offsetMs, at(to) - offsetMs);
          const boundaries = new Set(between.flatMap(({ startMs, endMs }) => [startMs, endMs]));
          const wanted = theirs.length < 2 ? [] : theirs.map((ms) => ms - offsetMs);
          assert.deepEqual([...boundaries], wanted, `${JSON.stringify(options)} from ${from}`);
        }
        await handle.delete();
      }
    } finally {
      await connection.close();
    }
  }).timeout(60_000);
});

describe("What is wrong with a schedule", () => {
  const problem = (options: Partial<ScheduleOptions>) =>
    scheduleProblems({ start: "2026-01-01", ...options }).join(" ");

  it("is said by the option, what it holds, and the fix", () => {
    assert.equal(problem({ every: "1 day" }), "");
    assert.match(problem({}), /either every or cron/);
    assert.match(problem({ every: "1 day", cron: "0 0 * * *" }), /either every or cron/);
    assert.match(problem({ every: "daily" }), /every is "daily".*"1 day"/);
    assert.match(problem({ every: "10 s" }), /at least 1 min/);
    assert.match(problem({ every: "1 day", jitter: "2 days" }), /jitter "2 days" is not shorter/);
    assert.match(problem({ every: "1 day", timeZone: "Europe/Berlin" }), /counted in UTC/);
    assert.match(problem({ cron: "0 0 * *" }), /has 4 fields; give five/);
    assert.match(problem({ cron: "61 0 * * *" }), /minute "61"/);
    assert.match(problem({ cron: "0 0 13 * FRI" }), /both the day of month and the day of week/);
    assert.match(problem({ cron: "0 0 30 2 *" }), /never matches/);
    assert.match(problem({ cron: "0 0 * * *", timeZone: "Berlin" }), /no IANA time zone/);
    assert.match(
      problem({ every: "1 day", start: "2026-01-01T05:00Z" }),
      /boundary.*2026-01-02T00:00/,
    );
    assert.match(problem({ every: "1 day", start: "yesterday" }), /start: "yesterday" is no time/);
    assert.match(problem({ every: "1 day", allowedLateness: -1 }), /allowedLateness is -1/);
    assert.match(
      problem({ every: "1 day", retry: { attempts: 0, initial: "soon" } }),
      /retry.initial is "soon".*retry.attempts is 0; give a whole number 1-1000/,
    );
    assert.match(problem({ every: "1 day", maxActiveRuns: 1.5 }), /maxActiveRuns is 1.5/);
    assert.match(
      problem({ every: "1 day", pool: { name: "a b", slots: 2000 } }),
      /pool.slots is 2000.*pool.name is "a b"/,
    );
    assert.match(problem({ every: "1 day", onLate: ["oncall"] }), /onLate and no deadline/);
    const waitFor = [{ file: "../marks", every: "1 day" }] as const;
    assert.match(problem({ every: "1 day", waitFor }), /"\.\.\/marks" leaves the data folder/);
    assert.match(
      problem({ every: "1 day", waitFor: [{ task: "isReady", every: "often" }] }),
      /waitFor "isReady": every is "often".*at least 1 s/,
    );
  });
});
