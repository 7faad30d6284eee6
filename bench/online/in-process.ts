/** The cases of `online` within one process: an embedded lookup, and the planned function alone. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Detail, Progress } from "../../cli/progress.ts";
import type { Site } from "./site.ts";
import type { BenchOptions } from "../pairs.ts";
import { type Line, lineOf, type Pair } from "../report.ts";

/** What a process of embedded-once.ts measures. */
interface Facts {
  readonly embeddedUs: Pair;
  readonly computeNs: Pair;
}

/** A process for each pair, in which figure and limit take turns in blocks. */
export async function* inProcessCases(
  { built, settings, entities }: Site,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const blocks = Math.max(4, Math.floor(40 / scale));
  const once = async (): Promise<Facts> => {
    const { redisUrl, prefix } = settings;
    const args = ["bench/online/embedded-once.js", redisUrl, prefix, entities, blocks].map(String);
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: built });
    return JSON.parse(stdout) as Facts;
  };
  const facts = await progress.step("in one process", async (detail: Detail) => {
    const found: Facts[] = [];
    for (let pair = 0; pair < pairs; pair++) {
      detail(`pair ${pair + 1} of ${pairs}`);
      found.push(await once());
    }
    return found;
  });
  const common = { bench: "online", rows: entities } as const;
  yield lineOf(
    {
      ...common,
      case: "embedded, 1 entity × 34 features, p50",
      unit: "µs",
      target: { max: 1.25 },
      config: { calls: blocks * 500, limit: "one GET of as many bytes by ioredis" },
    },
    facts.map(({ embeddedUs }) => embeddedUs),
  );
  const compute = facts.map(({ computeNs }) => computeNs);
  const limit = "the same by hand in JavaScript, expectations included, nulls left out";
  const config = { features: 9, limit };
  const name = "compute, model_x of one row, planned function";
  yield lineOf({ ...common, case: name, unit: "ns", target: { max: 1.5 }, config }, compute);
  yield lineOf(
    { ...common, case: `${name}, at most 1 µs`, unit: "ns", target: { budget: 1000 }, config },
    compute,
  );
}
