/** The example catalogue over a store that holds a few rows of the test's own choosing. */
import type { Catalogue, View } from "../../../engine/catalogue.ts";
import { loadCatalogue, viewNamed } from "../../../engine/catalogue.ts";
import type { Value } from "../../../engine/language/dtypes.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { fillView } from "../redis/fill.ts";
import type { TestRedis } from "../redis/server.ts";
import { patient, testRedis } from "../redis/server.ts";

/** A filled store, the connections to it, and the definitions that it was filled by. */
export interface ExampleStore {
  readonly redis: TestRedis;
  readonly catalogue: Catalogue;
  readonly absences: View;
  readonly badges: View;
  readonly writing: RedisConnection;
  readonly serving: RedisConnection;
  /** Ids of the snapshots of both views. */
  readonly snapshots: Readonly<Record<"absences" | "badges", string>>;
  readonly stop: () => Promise<void>;
}

/** The values of aggregates by kind, such as `mean`. */
export function aggregateValues(
  view: View,
  values: Readonly<Record<string, Value>>,
): ReadonlyMap<string, Value> {
  return new Map(
    view.aggregates.map(({ fingerprint, node }) => [fingerprint, values[node.aggregate] ?? null]),
  );
}

/** When the example's badge rows were written; their TTL of 7 days ends a week later. */
export const badgeTimeUs = Date.parse("2026-03-02T21:30:00Z") * 1000;

const employee11 = {
  absenteeism_time_in_hours: 4,
  age: 33,
  body_mass_index: 30,
  day_of_the_week: 3,
  disciplinary_failure: 0,
  distance_from_residence_to_work: 36,
  education: 1,
  has_children: 1,
  has_pet: 1,
  height: 172,
  hit_target: 97,
  month_of_absence: 7,
  pet: 1,
  reason_for_absence: 26,
  seasons: 1,
  service_time: 13,
  social_drinker: 1,
  social_smoker: 0,
  son: 2,
  transportation_expense: 289,
  weight: 90,
  work_load_average_per_day: 239.554,
};

/** A store with employees 11 and `__proto__` in absences, 11 and 12 in badges. */
export async function fillExampleStore(
  open: () => Promise<TestRedis> = testRedis,
): Promise<ExampleStore> {
  const redis = await open();
  const writing = connectRedis(redis.url, "writing");
  const serving = connectRedis(redis.url, "serving", patient);
  const stop = async () => {
    await Promise.all([writing.close(), serving.close()]);
    await redis.stop();
  };
  try {
    const catalogue = await loadCatalogue(() => import("../../../features/index.ts"));
    const [absences, badges] = [viewNamed(catalogue, "absences"), viewNamed(catalogue, "badges")];
    await serving.ready();
    const snapshots = await fillViews(writing, redis.prefix, absences, badges);
    return { redis, catalogue, absences, badges, writing, serving, snapshots, stop };
  } catch (error) {
    // What is left running would keep the test process from ending.
    await stop();
    throw error;
  }
}

async function fillViews(
  writing: RedisConnection,
  prefix: string,
  absences: View,
  badges: View,
): Promise<ExampleStore["snapshots"]> {
  return {
    absences: await fillView(writing, absences, {
      prefix,
      start: "2026-03-01",
      end: "2026-03-02",
      rows: [
        { key: ["11"], values: employee11 },
        { key: ["__proto__"], values: { ...employee11, age: 20, son: 0, has_children: 0 } },
      ],
      aggregates: aggregateValues(absences, { mean: 36.5, std: 7 }),
    }),
    badges: await fillView(writing, badges, {
      prefix,
      start: "2026-03-02",
      end: "2026-03-03",
      rows: [
        {
          key: ["11"],
          values: { minutes_inside: 500, door: 2, left_late: 1 },
          eventTimeUs: badgeTimeUs,
        },
        {
          key: ["12"],
          values: { minutes_inside: null, door: 1, left_late: 0 },
          eventTimeUs: badgeTimeUs - 8 * 86_400_000_000,
        },
      ],
      aggregates: aggregateValues(badges, { count: 10, mean: 400 }),
    }),
  };
}
