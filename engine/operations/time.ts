/** Parts of timestamps, in UTC. */
import * as scalar from "./scalar.ts";
import { type Operation, rule } from "./operation.ts";

const ofTimestamp = {
  arity: 1,
  promotes: "none",
  dtype: rule("timestamp", "int64"),
  propagates: true,
  nulls: "null if the input is",
  nan: "does not apply",
  ulps: 0,
} as const;

export const timeOperations = {
  year: {
    ...ofTimestamp,
    spelling: "a.year()",
    summary: "Calendar year in UTC.",
    row: () => scalar.yearOf,
    batch: ({ pl }, a) => a.date.year().cast(pl.Int64),
  },
  month: {
    ...ofTimestamp,
    spelling: "a.month()",
    summary: "Month in UTC, 1 to 12.",
    row: () => scalar.monthOf,
    batch: ({ pl }, a) => a.date.month().cast(pl.Int64),
  },
  day: {
    ...ofTimestamp,
    spelling: "a.day()",
    summary: "Day of the month in UTC, 1 to 31.",
    row: () => scalar.dayOf,
    batch: ({ pl }, a) => a.date.day().cast(pl.Int64),
  },
  hour: {
    ...ofTimestamp,
    spelling: "a.hour()",
    summary: "Hour in UTC, 0 to 23.",
    row: () => scalar.hourOf,
    batch: ({ pl }, a) => a.date.hour().cast(pl.Int64),
  },
  day_of_week: {
    ...ofTimestamp,
    spelling: "a.dayOfWeek()",
    summary: "Day of the week in UTC, 1 for Monday to 7 for Sunday.",
    row: () => scalar.dayOfWeekOf,
    batch: ({ pl }, a) => a.date.weekday().cast(pl.Int64),
  },
} as const satisfies Record<string, Operation>;
