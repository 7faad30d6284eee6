/** The limit of pass 1: the same checks, aggregates and parquet file, by hand in nodejs-polars. */
import pl from "nodejs-polars";

const int = (expression: pl.Expr) => expression.cast(pl.Int64);
const age = pl.col("age").cast(pl.Float64);

/** Reads the files, checks rows, takes count, mean and variance, and writes rows as parquet. */
export async function passOneByHand(pattern: string, into: string) {
  const rows = pl.scanParquet(pattern);
  const child = int(pl.col("son").gt(pl.lit(0)));
  const pet = int(pl.col("pet").gt(pl.lit(0)));
  const summer = int(pl.col("month_of_absence").isIn([1, 2, 12]));
  const wrong = [
    ...rows.columns.map((name) => int(pl.col(name).nullCount())),
    ...[child, pet, summer].map((flag) => int(flag.isIn([0, 1]).not()).sum()),
  ].map((each, i) => each.alias(`wrong_${i}`));
  const states = [age.count().cast(pl.Float64), age.mean().alias("mean"), age.var().alias("var")];
  const found = await rows.select(...states, ...wrong).collect();
  const [count = 0, mean = 0, variance = 0, ...counts] = found.row(0) as number[];
  const stamp = pl.lit("1767225600000000").cast(pl.Int64).cast(pl.Datetime("us"));
  await rows
    .withColumns(child.alias("has_children"), pet.alias("has_pet"))
    .withColumns(stamp.alias("__event_time"), stamp.alias("__known_at"))
    .withRowCount()
    .sinkParquet(into, { compression: "zstd" })
    .collect();
  const distance = age.sub(pl.lit(mean));
  const far = distance
    .div(pl.lit(Math.sqrt(variance)))
    .abs()
    .gt(4);
  const late = rows.select(int(far).sum(), int(distance.abs().gt(120)).sum().alias("off"));
  counts.push(...((await late.collect()).row(0) as number[]));
  return { rows: count, violations: counts.reduce((sum, each) => sum + Number(each), 0) };
}
