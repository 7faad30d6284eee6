/** What feature authors import: everything needed to define features, and nothing that does I/O. */
export { bool, float64, int64, listFloat64, nullable, string, timestamp } from "./dtypes.ts";
export { entity, featureService, featureView, source, valueColumns } from "./definitions.ts";
export { between, notNull, oneOf } from "./expectations.ts";
export { count, map, max, mean, min, oneHot, std, sum, variance, when } from "./functions.ts";
export type { Column, Expr } from "./expression.ts";
