/** The limit of pass 1: the same checks, aggregates and parquet file, by hand in nodejs-polars. */
import pl from "nodejs-polars";

const count = (expression: pl.Expr, name: string) => expression.cast(pl.Int64).sum().alias(name);

/** Reads the files, checks rows, takes count, mean and variance, and writes rows as parquet. */
export async function passOneByHand(
  pattern: string,
  into: string,
): Promise<{ readonly rows: number; readonly mean: number; readonly violations: number }> {
  const rows = pl.scanParquet(pattern);
  const names = rows.columns;
  const [child, pet] = ["son", "pet"].map((name) => pl.col(name).gt(pl.lit(0)).cast(pl.Int64));
  const summer = pl.col("month_of_absence").isIn([1, 2, 12]).cast(pl.Int64);
  const isFlag = (flag: pl.Expr | undefined) => (flag as pl.Expr).isIn([0, 1]).not();
  const found = await rows
    .select(
      ...names.map((name) => pl.col(name).nullCount().alias(`nulls_${name}`)),
      count(isFlag(child), "child"),
      count(isFlag(pet), "pet"),
      count(isFlag(summer), "summer"),
      pl.col("age").count().cast(pl.Float64).alias("rows"),
      pl.col("age").mean().alias("mean"),
      pl.col("age").cast(pl.Float64).var().alias("var"),
    )
    .collect();
  const [{ rows: n = 0, mean = 0, var: variance = 0 } = {}] = found.toRecords() as never[];
  const stamp = pl.lit("1767225600000000").cast(pl.Int64).cast(pl.Datetime("us"));
  await rows
    .withColumns((child as pl.Expr).alias("has_children"), (pet as pl.Expr).alias("has_pet"))
    .withColumns(stamp.alias("__event_time"), stamp.alias("__known_at"))
    .withRowCount()
    .sinkParquet(into, { compression: "zstd" })
    .collect();
  const distance = pl.col("age").cast(pl.Float64).sub(pl.lit(mean));
  const far = distance
    .div(pl.lit(Math.sqrt(variance)))
    .abs()
    .gt(pl.lit(4));
  const late = await rows.select(count(far, "far"), count(distance.abs().gt(120), "off")).collect();
  const [{ far: a = 0, off: b = 0 } = {}] = late.toRecords() as never[];
  return { rows: n, mean, violations: Number(a) + Number(b) };
}
