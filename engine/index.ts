/** What feature authors import: everything needed to define features, and nothing that does I/O. */
export {
  bool,
  column,
  float64,
  int64,
  listFloat64,
  nullable,
  string,
  timestamp,
} from "./language/dtypes.ts";
export {
  entity,
  featureService,
  featureView,
  source,
  valueColumns,
} from "./language/definitions.ts";
export { between, notNull, oneOf } from "./language/expectations.ts";
export {
  count,
  map,
  max,
  mean,
  min,
  oneHot,
  std,
  sum,
  variance,
  when,
} from "./language/functions.ts";
export type { Column, Expr } from "./language/expression.ts";
