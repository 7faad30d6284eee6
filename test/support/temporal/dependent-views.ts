/** Views that come one after the other, and one with a pipeline, for tests with a worker of their own. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pl from "nodejs-polars";
import { buildCatalogue, type Catalogue } from "../../../engine/catalogue.ts";
import type { FeatureView } from "../../../engine/language/definitions.ts";
import {
  entity,
  featureView,
  float64,
  mean,
  source,
  string,
  timestamp,
} from "../../../engine/index.ts";
import type { ScheduleOptions } from "../../../engine/calendar/schedule.ts";

const start = "2026-01-01";
const thing = entity("thing", { key: "id" });
/** A day of January 2026, as `2026-01-05`. */
export const day = (date: number) => `2026-01-${String(date).padStart(2, "0")}`;
/** The beginning of that day in UTC. */
export const iso = (date: number) => `${day(date)}T00:00:00.000Z`;

/** `orders` comes first for `totals`, unless told otherwise. */
export function buildDependent(
  options: (orders: FeatureView) => Partial<ScheduleOptions> = (orders) => ({
    dependsOn: [orders],
  }),
): Catalogue {
  const daily = { every: "1 day", start } as const;
  const orders = source("orders", {
    files: "orders/{date}.csv",
    entity: thing,
    eventTime: "at",
    columns: { id: string, at: timestamp, x: float64 },
  });
  const orders_view = featureView("orders", {
    source: orders,
    stores: [orders.columns.x],
    schedule: daily,
  });
  const totals = source("totals", {
    files: "totals.csv",
    entity: thing,
    eventTime: "at",
    columns: { id: string, at: timestamp, y: float64 },
  });
  const totals_view = featureView("totals", {
    source: totals,
    stores: [totals.columns.y],
    schedule: { ...daily, ...options(orders_view) },
  });
  return buildCatalogue({
    all: { orders, totals, orders_view, totals_view, y_mean: mean(totals.columns.y) },
  });
}

/** Badge events that are run by the example pipeline. */
export function buildPipeline(options: Partial<ScheduleOptions> = {}): Catalogue {
  const columns = { id: string, left_at: timestamp, minutes_inside: float64 };
  const badges = source("badges", {
    files: "badges/date={date}.parquet",
    entity: thing,
    eventTime: "left_at",
    columns,
  });
  const badges_view = featureView("badges", {
    source: badges,
    stores: [badges.columns.minutes_inside],
    schedule: { every: "1 day", start, workflow: "presenceDaily", ...options },
  });
  return buildCatalogue({ badges: { badges, badges_view } });
}

/** The rows of `totals`, and a folder for those of `orders`. */
export function writeTotals(dataDir: string): void {
  mkdirSync(join(dataDir, "orders"), { recursive: true });
  writeFileSync(
    join(dataDir, "totals.csv"),
    `id,at,y\n${[1, 2, 3, 4, 5].map((each) => `a,${day(each)}T10:00:00Z,${each}`).join("\n")}\n`,
  );
}

/** A day's row of `orders`. */
export function writeOrder(dataDir: string, date: number, x = 1): void {
  writeFileSync(
    join(dataDir, "orders", `${day(date)}.csv`),
    `id,at,x\na,${day(date)}T10:00:00Z,${x}\n`,
  );
}

/** A day's badge events, delivered to where the example pipeline looks for them. */
export function writeBadgesOf(dataDir: string, date: number): void {
  mkdirSync(join(dataDir, "landing"), { recursive: true });
  pl.DataFrame({
    id: ["a", "b"],
    left_at: [new Date(`${day(date)}T10:00Z`), new Date(`${day(date)}T11:00Z`)],
    minutes_inside: [10, 30],
  }).writeParquet(join(dataDir, "landing", `badges-${day(date)}.parquet`));
}
