/** Badge events of the same employees: daily parquet files with an event time. */
import {
  count,
  featureService,
  featureView,
  float64,
  int64,
  mean,
  source,
  string,
  timestamp,
} from "../engine/index.ts";
import { employee } from "./entities.ts";

/** One row for each time an employee leaves the building. */
export const badges = source("badges", {
  files: "badges/date={date}.parquet",
  entity: employee,
  eventTime: "left_at",
  columns: {
    id: string,
    left_at: timestamp,
    minutes_inside: float64,
    door: int64,
  },
});

const { door, left_at, minutes_inside } = badges.columns;

export const badge_events = count(door).describe("Badge events so far");

export const minutes_inside_mean = mean(minutes_inside).describe("Average stay, minutes");

export const long_stay = minutes_inside
  .gt(minutes_inside_mean)
  .cast(int64)
  .describe("1 where the last stay was longer than the average, else 0");

export const left_late = left_at
  .hour()
  .gte(20)
  .cast(int64)
  .describe("1 where the employee last left at 20:00 UTC or later, else 0");

export const badges_view = featureView("badges", {
  source: badges,
  stores: [minutes_inside, door, left_late],
  ttlSeconds: 7 * 24 * 3600,
  // Each day's file is complete two hours after midnight.
  schedule: { every: "1 day", offset: "2 hours", start: "2026-01-01" },
  // The average of the days that are there will do; by default a missing day is waited for.
  gaps: "serve",
  description: "The newest badge event of each employee.",
});

export const presence = featureService("presence", [long_stay, left_late, minutes_inside], {
  description: "How an employee last left.",
});
