/** Parts of timestamps, in UTC. */
import * as scalar from "./scalar.ts";
import { type BatchContext, type Operation, type PolarsExpr, rule } from "./operation.ts";

const ofTimestamp = {
  arity: 1,
  promotes: "none",
  dtype: rule("timestamp", "int64"),
  propagates: true,
  nulls: "null if the input is, and outside the years 1 to 9999",
  nan: "does not apply",
} as const;

/** The timestamps of the years 1 to 9999, null for the others: far off polars aborts the process. */
export function known({ pl, literal }: BatchContext, a: PolarsExpr): PolarsExpr {
  const [first, last] = [scalar.timestampMin, scalar.timestampMax];
  const isKnown = a.gtEq(literal("timestamp", first)).and(a.ltEq(literal("timestamp", last)));
  return pl.when(isKnown).then(a).otherwise(literal("timestamp", null));
}

export const timeOperations = {
  year: {
    ...ofTimestamp,
    spelling: "a.year()",
    summary: "Calendar year in UTC.",
    row: () => scalar.yearOf,
    batch: (c, a) => known(c, a).date.year().cast(c.pl.Int64),
  },
  month: {
    ...ofTimestamp,
    spelling: "a.month()",
    summary: "Month in UTC, 1 to 12.",
    row: () => scalar.monthOf,
    batch: (c, a) => known(c, a).date.month().cast(c.pl.Int64),
  },
  day: {
    ...ofTimestamp,
    spelling: "a.day()",
    summary: "Day of the month in UTC, 1 to 31.",
    row: () => scalar.dayOf,
    batch: (c, a) => known(c, a).date.day().cast(c.pl.Int64),
  },
  hour: {
    ...ofTimestamp,
    spelling: "a.hour()",
    summary: "Hour in UTC, 0 to 23.",
    row: () => scalar.hourOf,
    batch: (c, a) => known(c, a).date.hour().cast(c.pl.Int64),
  },
  day_of_week: {
    ...ofTimestamp,
    spelling: "a.dayOfWeek()",
    summary: "Day of the week in UTC, 1 for Monday to 7 for Sunday.",
    row: () => scalar.dayOfWeekOf,
    batch: (c, a) => known(c, a).date.weekday().cast(c.pl.Int64),
  },
} as const satisfies Record<string, Operation>;
