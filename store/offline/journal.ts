/**
 * What the offline store keeps of a view beside the rows of its intervals, so that a Redis that was
 * lost can be made again: what each publish was made of, how far the ledger had come, and which
 * generations a reset has made void.
 */
import { countOfRevision } from "../revision.ts";
import { decode, isUnfinished, type ObjectStore, unlessMissing } from "./objects.ts";
import { publishesKey, publishKey, resetsKey, revisionsKey, type ViewRef } from "./keys.ts";

/** The journal of views; every method fails as those of the offline store do. */
export interface Journal {
  /** Generations of the publishes of a view, ascending, whether they ended or not. */
  readonly listPublishes: (ref: ViewRef) => Promise<number[]>;
  /** Undefined where it is not there. */
  readonly readPublish: <T>(ref: ViewRef, generation: number) => Promise<T | undefined>;
  /** Writes what a publish is to be made of; false where one has taken the generation. */
  readonly beginPublish: (ref: ViewRef, generation: number, plan: unknown) => Promise<boolean>;
  /** Writes the same in place of what it said before. */
  readonly writePublish: (ref: ViewRef, generation: number, plan: unknown) => Promise<void>;
  readonly removePublish: (ref: ViewRef, generation: number) => Promise<void>;
  /** The greatest revision that the ledger of a view was seen at; undefined where none was. */
  readonly readRevision: (view: string) => Promise<string | undefined>;
  /** Notes a revision of the ledger; a lesser one than is known changes nothing. */
  readonly noteRevision: (view: string, revision: string) => Promise<void>;
  /** Generations by interval, up to which resets have made them void. */
  readonly readVoided: (ref: ViewRef) => Promise<ReadonlyMap<string, number>>;
  /** Makes generations void, by interval. */
  readonly makeVoid: (ref: ViewRef, generations: ReadonlyMap<string, number>) => Promise<void>;
}

/** The journal in any place for files. */
export function journalOf(objects: ObjectStore): Journal {
  const readJson = async <T>(key: string): Promise<T | undefined> => {
    const bytes = await unlessMissing(objects.read(key));
    return bytes && decode(objects, key, () => JSON.parse(bytes.toString()) as T);
  };
  /** The names of notes, as revisions; the greatest last. */
  const listRevisions = async (view: string): Promise<string[]> =>
    (await objects.list(revisionsKey(view)))
      .filter((name) => /^\d+(\.[0-9a-f]+)?$/.test(name))
      .sort((a, b) => countOfRevision(a) - countOfRevision(b));

  return {
    listPublishes: async (ref) =>
      (await objects.list(publishesKey(ref)))
        .flatMap((name) => /^(\d+)\.json$/.exec(name)?.[1] ?? [])
        .map(Number)
        .sort((a, b) => a - b),
    readPublish: (ref, generation) => readJson(publishKey(ref, generation)),
    beginPublish: (ref, generation, plan) =>
      objects.putIfAbsent(publishKey(ref, generation), Buffer.from(JSON.stringify(plan))),
    writePublish: (ref, generation, plan) =>
      objects.put(publishKey(ref, generation), Buffer.from(JSON.stringify(plan))),
    removePublish: (ref, generation) => objects.remove(publishKey(ref, generation)),
    readRevision: async (view) => (await listRevisions(view)).at(-1),
    async noteRevision(view, revision) {
      const known = await listRevisions(view);
      const newest = known.at(-1);
      if (newest !== undefined && countOfRevision(newest) >= countOfRevision(revision)) return;
      await objects.put(`${revisionsKey(view)}/${revision}`, Buffer.alloc(0));
      for (const older of known) await objects.remove(`${revisionsKey(view)}/${older}`);
    },
    async readVoided(ref) {
      const voided = new Map<string, number>();
      for (const name of await objects.list(resetsKey(ref))) {
        if (isUnfinished(name)) continue;
        const each = await readJson<Readonly<Record<string, number>>>(`${resetsKey(ref)}/${name}`);
        for (const [interval, generation] of Object.entries(each ?? {}))
          voided.set(interval, Math.max(generation, voided.get(interval) ?? 0));
      }
      return voided;
    },
    async makeVoid(ref, generations) {
      const content = Buffer.from(JSON.stringify(Object.fromEntries(generations)));
      let number = (await objects.list(resetsKey(ref))).length + 1;
      while (!(await objects.putIfAbsent(`${resetsKey(ref)}/${number}.json`, content))) number++;
    },
  };
}
