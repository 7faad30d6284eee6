/** Every workflow that a worker registers, by name: `export *` has lost exports in bundles. */
export { backfill } from "./backfill.ts";
export { materialize } from "./materialize.ts";
export { pool } from "./pools.ts";
export { presenceDaily } from "./pipelines/presence-daily.ts";
export { publish } from "./publish.ts";
export { scheduled } from "./scheduled.ts";
export { trainingSet } from "./training-set.ts";
