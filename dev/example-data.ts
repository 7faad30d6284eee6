/** Seeded data of the examples' shape: the same seed makes the same files. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pl from "nodejs-polars";
import { seeded } from "./seeded.ts";

/** Header of the absences file, spelled as its publishers did. */
const absenceHeader =
  "ID;Reason for absence;Month of absence;Day of the week;Seasons;Transportation expense;" +
  "Distance from Residence to Work;Service time;Age;Work load Average/day ;Hit target;" +
  "Disciplinary failure;Education;Son;Social drinker;Social smoker;Pet;Weight;Height;" +
  "Body mass index;Absenteeism time in hours";

const seasonsOfMonth = [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4];

/** Writes `absences.csv`: absences of about one employee for every twenty rows. */
export function writeAbsences(dataDir: string, rows: number, seed = 1): string {
  const random = seeded(seed);
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1));
  const employees = Array.from({ length: Math.max(1, Math.round(rows / 20)) }, (_, i) => {
    const height = between(155, 198);
    const weight = between(52, 110);
    const age = between(24, 58);
    return {
      id: i + 1,
      expense: between(118, 388),
      distance: between(5, 52),
      service: between(1, Math.min(30, age - 18)),
      age,
      education: between(1, 4),
      son: between(0, 4),
      drinker: between(0, 1),
      smoker: between(0, 1),
      pet: between(0, 3),
      weight,
      height,
      bodyMass: Math.round(weight / (height / 100) ** 2),
    };
  });
  const lines = [absenceHeader];
  for (let row = 0; row < rows; row++) {
    const who = employees[between(0, employees.length - 1)];
    if (who === undefined) continue;
    const month = between(1, 12);
    lines.push(
      [
        who.id,
        between(0, 28),
        month,
        between(2, 6),
        seasonsOfMonth[month - 1],
        who.expense,
        who.distance,
        who.service,
        who.age,
        (205 + Math.floor(random() * 174_000) / 1000).toFixed(3),
        between(81, 100),
        between(0, 19) === 0 ? 1 : 0,
        who.education,
        who.son,
        who.drinker,
        who.smoker,
        who.pet,
        who.weight,
        who.height,
        who.bodyMass,
        between(0, 120),
      ].join(";"),
    );
  }
  mkdirSync(dataDir, { recursive: true });
  const path = join(dataDir, "absences.csv");
  writeFileSync(path, `${lines.join("\n")}\n`);
  return path;
}

const msPerDay = 86_400_000;

/** Writes `badges/date=<day>.parquet`: each employee leaves the building once or twice a day. */
export function writeBadges(
  dataDir: string,
  firstDayMs: number,
  days: number,
  employees = 36,
  seed = 2,
): void {
  const random = seeded(seed);
  const folder = join(dataDir, "badges");
  mkdirSync(folder, { recursive: true });
  for (let day = 0; day < days; day++) {
    const dayMs = firstDayMs + day * msPerDay;
    const rows: { id: string; leftAtUs: bigint; minutes: number; door: number }[] = [];
    for (let id = 1; id <= employees; id++)
      for (let times = 1 + Math.floor(random() * 2); times > 0; times--)
        rows.push({
          id: String(id),
          leftAtUs: BigInt(dayMs) * 1000n + BigInt(Math.floor(random() * msPerDay * 1000)),
          minutes: Math.round(random() * 6000) / 10,
          door: 1 + Math.floor(random() * 4),
        });
    rows.sort((a, b) => Number(a.leftAtUs - b.leftAtUs));
    const frame = pl
      .DataFrame([
        pl.Series(
          "id",
          rows.map((row) => row.id),
        ),
        pl.Series("left_at", new BigInt64Array(rows.map((row) => row.leftAtUs))),
        pl.Series(
          "minutes_inside",
          rows.map((row) => row.minutes),
          pl.Float64,
        ),
        pl.Series("door", new BigInt64Array(rows.map((row) => BigInt(row.door)))),
      ])
      .withColumn(pl.col("left_at").cast(pl.Datetime("us")));
    const date = new Date(dayMs).toISOString().slice(0, 10);
    frame.writeParquet(join(folder, `date=${date}.parquet`));
  }
}
