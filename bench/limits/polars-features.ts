/** The limit of batch: the features of the example, written by hand for nodejs-polars. */
import pl from "nodejs-polars";

const int64 = (expression: pl.Expr) => expression.cast(pl.Int64);
const isOneOf = (name: string, values: readonly number[]) =>
  values.map((value) => int64(pl.col(name).eq(pl.lit(value))).alias(`${name}_${value}`));

/** Reads the files that a pattern names and computes the features; aggregates are given. */
export function featuresByHand(
  pattern: string,
  age: { readonly mean: number; readonly std: number },
): Promise<pl.DataFrame> {
  const zeroMean = pl.col("age").cast(pl.Float64).sub(pl.lit(age.mean));
  return pl
    .scanParquet(pattern)
    .select(
      pl.lit(age.mean).alias("age_mean"),
      pl.lit(age.std).alias("age_std_dev"),
      zeroMean.alias("age_zero_mean"),
      zeroMean.div(pl.lit(age.std)).alias("age_zero_mean_unit_variance"),
      ...isOneOf("seasons", [1, 2, 3, 4]),
      ...isOneOf("day_of_the_week", [2, 3, 4, 5, 6]),
      int64(pl.col("son").gt(pl.lit(0))).alias("has_children"),
      int64(pl.col("pet").gt(pl.lit(0))).alias("has_pet"),
      int64(pl.col("month_of_absence").isIn([1, 2, 12])).alias("is_summer"),
    )
    .collect();
}
