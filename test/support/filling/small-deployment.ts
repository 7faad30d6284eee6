/** A deployment of one small view, what is asserted of it at every moment, and its end. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { type Catalogue, viewNamed } from "../../../engine/catalogue.ts";
import { OnceflowError } from "../../../engine/errors.ts";
import type { PublishPlan } from "../../../filling/publish/plan.ts";
import { createLookup, type Lookup } from "../../../serving/lookup.ts";
import { connectRedis } from "../../../store/redis/connection.ts";
import { encodeEntityKey } from "../../../store/rows/entity-key.ts";
import { memoryObjects } from "../files/memory-objects.ts";
import { temporaryFolder } from "../files/source-files.ts";
import { ownRedis, patient, randomPrefix } from "../redis/server.ts";
import { createDeployment, type Entities } from "./deployment.ts";
import {
  aggregateNames,
  days,
  ids,
  keyOf,
  type Kind,
  kinds,
  smallCatalogue,
  type SmallRow,
  writeSmallFile,
} from "./small-views.ts";

/** A Redis, a folder, and deployments over them. */
export type Ground = Awaited<ReturnType<typeof openGround>>;

/** Opens both; call `close` after. */
export async function openGround() {
  const { folder, remove } = temporaryFolder();
  const redis = await ownRedis();
  const client = new Redis(redis.url, { protocol: 2 });
  const writing = connectRedis(redis.url, "writing");
  const serving = connectRedis(redis.url, "serving", patient);
  await serving.ready();
  return {
    client,
    writing,
    serving,
    prefix: () => `${redis.prefix}:${randomPrefix()}`,
    /** A folder with the files of a view. */
    async folderOf(kind: Kind, files: readonly (readonly SmallRow[])[]): Promise<string> {
      const dataDir = join(folder, randomPrefix());
      mkdirSync(dataDir);
      for (const [file, rows] of files.entries()) await writeSmallFile(dataDir, kind, file, rows);
      return dataDir;
    },
    async close(): Promise<void> {
      await Promise.all([writing.close(), serving.close()]);
      await client.quit();
      await redis.stop();
      remove();
    },
  };
}

const catalogues = new Map(
  kinds.flatMap((kind) =>
    [false, true].map((more): [string, Catalogue] => [
      `${kind} ${more}`,
      smallCatalogue(kind, more),
    ]),
  ),
);

/** The definitions of a view, made once. @param more - with one more aggregate */
export function catalogueOf(kind: Kind, more: boolean): Catalogue {
  const catalogue = catalogues.get(`${kind} ${more}`);
  if (catalogue === undefined) throw new Error("every kind has two");
  return catalogue;
}

/** Each entity is as one of some publishes says. */
function assertServed(served: Entities, plans: readonly Entities[], where: string): void {
  for (const key of new Set([...served.keys(), ...plans.flatMap((plan) => [...plan.keys()])])) {
    const may = plans.map((plan) => plan.get(key));
    assert.ok(
      may.includes(served.get(key)),
      `${where}: entity ${Buffer.from(key, "hex").toString()} is ${served.get(key)}, and may be ${may.join(" or ")}`,
    );
  }
}

/** Those up to the first that ended: the newest come first. */
function currentOf(plans: readonly PublishPlan[]): {
  plans: readonly PublishPlan[];
  hasEnded: boolean;
} {
  const ended = plans.findIndex(({ publishedAt }) => publishedAt !== null);
  return { plans: ended < 0 ? plans : plans.slice(0, ended + 1), hasEnded: ended >= 0 };
}

/** An empty deployment over the files of a folder, with a lookup of either build. */
export function smallDeployment(
  { writing, client, serving, prefix: newPrefix }: Ground,
  kind: Kind,
  dataDir: string,
) {
  const prefix = newPrefix();
  const objects = memoryObjects(dataDir);
  const deployment = createDeployment({ redis: writing, client, prefix, dataDir, objects });
  const lookups = [false, true].map((more) => {
    const catalogue = catalogueOf(kind, more);
    // They are told to refresh.
    return createLookup({ catalogue, redis: serving, prefix, refreshMs: 1e8, clock: () => 2e12 });
  });
  const builds = [false, true].map((more) => viewNamed(catalogueOf(kind, more), kind));
  const [view] = builds as [(typeof builds)[number]];
  const columns = view.stores.map(({ name }) => `${kind}.${name}`);
  const entities = ids.map((_, id) => keyOf(kind, id));

  /** What a lookup answers for every entity, as `foldOffline` gives it. */
  async function answerOf(lookup: Lookup): Promise<Entities> {
    const { results } = await lookup.answer({ features: columns, entities });
    return new Map(
      results.flatMap(({ features, statuses }, i): [string, string][] => {
        if (statuses[columns[0] ?? ""] === "NOT_FOUND") return [];
        const key = encodeEntityKey(view.rows.key.map((name) => entities[i]?.[name] ?? ""));
        return [[key.toString("hex"), JSON.stringify(columns.map((name) => features[name]))]];
      }),
    );
  }

  /** Aggregates are of the last publish of their set that ended, or of one that began after it. */
  async function checkAggregates(
    more: number,
    all: readonly PublishPlan[],
    isLost: boolean,
    where: string,
  ): Promise<void> {
    const { aggregates, aggregatesFingerprint } = builds[more] as (typeof builds)[number];
    if (aggregates.length === 0) return;
    const { plans, hasEnded } = currentOf(
      all.filter(({ snapshot }) => snapshot?.aggregates === aggregatesFingerprint),
    );
    const may = plans.map(({ snapshot }) => snapshot?.id);
    const features = aggregateNames(kind, more === 1);
    try {
      const { snapshot } = await (lookups[more] as Lookup).answer({
        features,
        entities: entities.slice(0, 1),
      });
      assert.ok(
        may.includes(snapshot[kind]),
        `${where}: snapshot ${snapshot[kind]} is none of ${may.join(", ")}`,
      );
    } catch (error) {
      if (!(error instanceof OnceflowError)) throw error;
      if (error.code === "NO_SNAPSHOT" && (!hasEnded || isLost)) return;
      if (error.code === "STORE_LOST" && isLost) return;
      throw error;
    }
  }

  return {
    ...deployment,
    prefix,
    view,
    dataDir,
    objects,
    close: () => {
      lookups.forEach(({ close }) => close());
    },

    /**
     * Asserts that what is served is of the last publish that ended, or of one that began after it.
     *
     * @param isLost - whether Redis has lost something that no publish has put right yet
     */
    async check(isLost: boolean, where: string): Promise<void> {
      const all = await deployment.readPlans(view);
      const { plans, hasEnded } = currentOf(all);
      const may = await Promise.all(plans.map((plan) => deployment.foldOffline(view, plan)));
      if (!hasEnded) may.push(new Map());
      if (!isLost) {
        const stored = await deployment.readEntities(view);
        assertServed(deployment.decodeEntities(view, stored), may, `${where}, stored`);
      }
      for (const [more, lookup] of lookups.entries()) {
        await lookup.refresh();
        const answer = await answerOf(lookup).catch((error: unknown) => {
          if (isLost && error instanceof OnceflowError && error.code === "STORE_LOST") return null;
          throw error;
        });
        if (answer !== null) assertServed(answer, may, `${where}, lookup ${more}`);
        await checkAggregates(more, all, isLost, where);
      }
    },

    /** All that must be the same in the end, whatever happened before. */
    async state() {
      for (const lookup of lookups) await lookup.refresh();
      const { published } = await deployment.readPointers(view);
      const { endMs, covered, frozen } = published ?? {};
      const found = await deployment.readEntities(view);
      return {
        published: { endMs, covered, frozen },
        entities: [...found].sort(([a], [b]) => (a < b ? -1 : 1)),
        latest: await Promise.all(
          builds.map(async (build) => {
            const { latest } = await deployment.readPointers(build);
            if (latest === null) return null;
            const online = await deployment.ledger.readSnapshot(kind, latest.id);
            return {
              ...latest,
              online,
              offline: await deployment.offline.readSnapshot(kind, latest.id),
            };
          }),
        ),
        answers: await Promise.all(
          lookups.map(async (lookup, more) => {
            const features = [...columns, ...aggregateNames(kind, more === 1)];
            const { results, snapshot, as_of, uncovered } = await lookup.answer({
              features,
              entities,
            });
            return { results, snapshot, as_of, uncovered };
          }),
        ),
      };
    },

    /** Materializes every interval that is not of the files that there are, and publishes both builds. */
    async finish(): Promise<void> {
      const [build, older] = [true, false].map((more) => catalogueOf(kind, more)) as [
        Catalogue,
        Catalogue,
      ];
      await deployment.publish(build, kind, { resume: true });
      for (const bounds of days) {
        const reprocess = !(await deployment.isUpToDate(viewNamed(build, kind), bounds));
        await deployment.materialize(build, kind, bounds, { reprocess });
      }
      for (const each of [build, older]) await deployment.publish(each, kind);
    },
  };
}
