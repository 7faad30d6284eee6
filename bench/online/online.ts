/**
 * `online`: what an answer costs by HTTP, embedded and through Temporal. Every process is a real
 * one of the build; the load generator and Redis share the machine with it.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Progress } from "../../cli/progress.ts";
import { buildCatalogue } from "../../engine/catalogue.ts";
import { buildProduct, createKey, startServer, startService } from "../built.ts";
import { writeDataSet } from "../data.ts";
import { type Environment, materializeDirectly, valueBytes } from "../own-store.ts";
import { inProcessCases } from "./in-process.ts";
import { writePlainHashes } from "../limits/plain-hashes.ts";
import { writePlainKeys } from "../limits/plain-keys.ts";
import { activityCase } from "./activity.ts";
import * as features from "./features.ts";
import { httpCases } from "./http.ts";
import { latencyOverLoad } from "./raise-load.ts";
import type { Site } from "./site.ts";
import { onlineWhileWriting } from "./while-writing.ts";
import type { BenchOptions } from "../pairs.ts";
import type { Line } from "../report.ts";

const entities = 10_000;

export async function* benchOnline(
  environment: Environment,
  options: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const { folder, settings } = environment;
  const built = await progress.step("build", () => buildProduct(folder));
  const rowBytes = await progress.step(`${entities} entities`, () => fill(environment, entities));
  const limit = (name: string, ...args: string[]) =>
    startServer(built, [`bench/limits/${name}.js`, settings.redisUrl, ...args], settings);
  const key = await createKey(built, settings);
  const service = await startService(built, settings);
  const bare = await limit("bare-route");
  const byHand = await limit("by-hand", key);
  const naive = await limit("naive-route");
  const site: Site = { built, settings, entities, rowBytes, key, service, bare, byHand, naive };
  try {
    yield* httpCases(site, options, progress);
    yield* latencyOverLoad(site, options, progress);
    yield* onlineWhileWriting(site, options, progress);
    yield* inProcessCases(site, options, progress);
    yield* activityCase(site, options, progress);
  } finally {
    await Promise.all([service, bare, byHand, naive].map(({ stop }) => stop()));
  }
}

/**
 * Writes entities "0", "1" and on as the product and the routes beside it read them.
 *
 * @returns bytes of an entity's row
 */
export async function fill(environment: Environment, count: number): Promise<number> {
  const { folder, settings } = environment;
  const pattern = await writeDataSet(folder, { kind: "a", rows: count, files: 1 });
  const catalogue = buildCatalogue(features);
  const request = { view: "absences", end: "2026-01-01T00:00:00.000Z" };
  await materializeDirectly(environment, catalogue, { absences: pattern }, request);
  const bytes = await valueBytes(environment, "absences");
  await writePlainKeys(settings.redisUrl, count, bytes);
  await writePlainHashes(settings.redisUrl, count);
  // What was written is synced once a second.
  await pause(1500);
  return bytes;
}
