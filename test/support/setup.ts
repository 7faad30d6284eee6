/** Runs once around all test files: finds or installs what they start, and ends what is left. */
import { DefaultLogger, Runtime } from "@temporalio/worker";
import { releaseAll } from "../../dev/owned.ts";
import { openProgress } from "../../cli/progress.ts";
import { findRedisServer } from "../../dev/redis.ts";
import { findTemporal } from "../../dev/temporal.ts";
import { stopTestTemporal } from "./temporal/deployment.ts";
import { propertyScale } from "./property.ts";

/**
 * What somebody has exported for a product of their own, which every process that a test starts
 * would inherit. REDIS_URL and TEMPORAL_ADDRESS stay: by them the tests are told what to use.
 */
const settings = /^(ONCEFLOW_.*|OTEL_.*|HOST|PORT|TEMPORAL_NAMESPACE)$/;
for (const name of Object.keys(process.env)) if (settings.test(name)) delete process.env[name];

/** Installing takes minutes on a new machine, so it happens before any test's time limit. */
export async function mochaGlobalSetup(): Promise<void> {
  // Activities that fail, and histories that do not replay, on purpose would fill the report.
  Runtime.install({
    logger: new DefaultLogger("ERROR"),
    telemetryOptions: { logging: { filter: { core: "ERROR", other: "ERROR" } } },
  });
  // The tests work in the namespace "default", whatever this shell is for otherwise.
  delete process.env["TEMPORAL_NAMESPACE"];
  const progress = openProgress();
  await findRedisServer(progress);
  await findTemporal(progress);
}

/** Tests that look for longer have longer. */
export const mochaHooks: Mocha.RootHookObject = {
  beforeEach(this: Mocha.Context) {
    const test = this.currentTest;
    test?.timeout(test.timeout() * Math.max(1, propertyScale));
  },
};

/** Ends what test files share. */
export async function mochaGlobalTeardown(): Promise<void> {
  await stopTestTemporal();
  await releaseAll();
}
