/** The workflows of the benchmarks' worker: the product's own, and those of the limits. */
export { backfill, materialize, publish, scheduled, trainingSet } from "../../workflows/index.ts";
export { emptyChild, emptyChildren } from "../limits/child-workflows.ts";
