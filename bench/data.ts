/**
 * The rows that the benchmarks read, drawn by a seeded generator.
 *
 * (a) has the twenty columns of the example, each value drawn on its own within the range of the
 * real data, so that hardly two rows are equal. (b) has twenty random doubles. Each row is an
 * entity of its own unless `entities` says otherwise.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import pl from "nodejs-polars";
import { createRandom, type Random } from "./random.ts";

/** What to draw. */
export interface DataSet {
  readonly kind: "a" | "b" | "wide";
  readonly rows: number;
  /** Files that the rows are spread over evenly. */
  readonly files: number;
  /** Distinct entity keys; as many as rows by default. */
  readonly entities?: number;
  /** Columns of `wide`; 500 by default. */
  readonly columns?: number;
  /** Draws other values; the count of rows by default. */
  readonly seed?: number;
}

/** Rows that are drawn at once. */
const rowsPerPiece = 1_000_000;

/** The columns of (a), without the id: least and greatest value, and how many decimals. */
const absences: Readonly<
  Record<string, readonly [least: number, most: number, decimals?: number]>
> = {
  reason_for_absence: [0, 28],
  month_of_absence: [0, 12],
  day_of_the_week: [2, 6],
  seasons: [1, 4],
  transportation_expense: [118, 388],
  distance_from_residence_to_work: [5, 52],
  service_time: [1, 29],
  age: [27, 58],
  work_load_average_per_day: [205, 379, 3],
  hit_target: [81, 100],
  disciplinary_failure: [0, 1],
  education: [1, 4],
  son: [0, 4],
  social_drinker: [0, 1],
  social_smoker: [0, 1],
  pet: [0, 8],
  weight: [56, 108],
  height: [163, 196],
  body_mass_index: [19, 38],
  absenteeism_time_in_hours: [0, 120],
};

/** Names of the value columns of (b) and `wide`. */
export function floatColumns(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `f${i}`);
}

/** Writes the files where they are not there yet, and returns the pattern that names them. */
export async function writeDataSet(folder: string, data: DataSet): Promise<string> {
  const name = Object.entries(data).flat().join("-");
  const place = join(folder, name);
  if (!existsSync(place)) {
    mkdirSync(place, { recursive: true });
    const random = createRandom(data.seed ?? data.rows);
    for (let file = 0; file < data.files; file++) {
      const from = Math.floor((data.rows * file) / data.files);
      const to = Math.floor((data.rows * (file + 1)) / data.files);
      await writeFile(
        join(place, `${String(file).padStart(5, "0")}.parquet`),
        data,
        from,
        to,
        random,
      );
    }
  }
  return join(place, "*.parquet");
}

async function writeFile(
  path: string,
  data: DataSet,
  from: number,
  to: number,
  random: Random,
): Promise<void> {
  const pieces: pl.DataFrame[] = [];
  for (let first = from; first < to || pieces.length === 0; first += rowsPerPiece)
    pieces.push(draw(data, first, Math.min(to, first + rowsPerPiece), random));
  await pl
    .concat(pieces, { rechunk: false, how: "vertical" })
    .lazy()
    .sinkParquet(path, { compression: "zstd" })
    .collect();
}

function draw(data: DataSet, from: number, to: number, random: Random): pl.DataFrame {
  const count = to - from;
  const ids = new BigInt64Array(count);
  for (let i = 0; i < count; i++) ids[i] = BigInt((from + i) % (data.entities ?? data.rows));
  const id = pl.Series(ids).cast(pl.Utf8).alias("id");
  return pl.DataFrame([id, ...valuesOf(data, count, random)]);
}

function valuesOf(data: DataSet, count: number, random: Random): pl.Series[] {
  if (data.kind !== "a")
    return floatColumns(data.kind === "b" ? 20 : (data.columns ?? 500)).map((name) => {
      const values = new Float64Array(count);
      for (let i = 0; i < count; i++) values[i] = random.float64();
      return pl.Series(values).alias(name);
    });
  return Object.entries(absences).map(([name, [least, most, decimals]]) => {
    const values = new Float64Array(count);
    const scale = 10 ** (decimals ?? 0);
    const span = (most - least) * scale + 1;
    for (let i = 0; i < count; i++)
      values[i] = (least * scale + Math.floor(random.uniform() * span)) / scale;
    const series = pl.Series(values).alias(name);
    return decimals === undefined ? series.cast(pl.Int64) : series;
  });
}
