/** Every workflow that a worker registers, by name: `export *` has lost exports in bundles. */
export { materialize } from "./materialize.ts";
export { trainingSet } from "./training-set.ts";
