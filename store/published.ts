/**
 * What is published of a view: the pointer that says which of its entities count, and as of when.
 * It moves once, at the end of a publish, together with the latest snapshot.
 */
import { OnceflowError } from "../engine/errors.ts";
import type { StoreKeys } from "./keys.ts";
import { pointerFields, requireNames } from "./keys.ts";
import { type Namespace, recordOf } from "./namespace.ts";
import { textOf } from "./redis/connection.ts";
import type { RedisArgument, RedisConnection } from "./redis/types.ts";
import type { Mark } from "./rows/version.ts";

/** What is published of a view under a storage fingerprint. */
export interface Published extends Mark {
  /** The last whole publish: what is of an older one has been withdrawn since. */
  readonly whole: Mark;
  /** Whether no interval is missing before its end. */
  readonly covered: boolean;
  /** Why nothing but a command moves it; null where runs do. */
  readonly frozen: string | null;
}

/** An immutable set of aggregate values. */
export interface SnapshotDraft {
  /** A hash of what was merged. */
  readonly id: string;
  /** Names the set of aggregates, so that an old and a new build follow their own `latest`. */
  readonly aggregatesFingerprint: string;
  readonly asOfMs: number;
  readonly body: string;
}

/** What a publish commits, all at once. */
export interface PublishCommit {
  /** The table that its entities were written to. */
  readonly namespace: Namespace;
  /** Of the processes that they were written to, by `readRunId`. */
  readonly redisRunId: string;
  readonly published: Published;
  readonly snapshot: SnapshotDraft | undefined;
}

/**
 * Allots the generation of a publish, and fences those that have begun before.
 *
 * @param least - above all that the offline store knows of
 */
export async function beginPublish(
  redis: RedisConnection,
  keys: StoreKeys,
  view: string,
  fingerprint: string,
  least: number,
): Promise<number> {
  requireNames(view, fingerprint);
  const field = pointerFields.publishing(fingerprint);
  return (await redis.send(["beginPublish", keys.pointers(view), field, least])) as number;
}

/**
 * Moves the pointers of a publish.
 *
 * @throws FENCED, STORE_LOST, STORE_RESTARTED
 */
export async function commitPublish(
  redis: RedisConnection,
  keys: StoreKeys,
  { namespace, redisRunId, published, snapshot }: PublishCommit,
): Promise<void> {
  const { view, fingerprint } = namespace;
  const outcome = await redis.send([
    "commitPublish",
    keys.pointers(view),
    keys.snapshots(view),
    pointerFields.publishing(fingerprint),
    published.generation,
    pointerFields.table(fingerprint),
    recordOf(namespace),
    redisRunId,
    pointerFields.published(fingerprint),
    encodePublished(published),
    ...snapshotArguments(snapshot),
  ]);
  const where = `view "${view}", publish ${published.generation}`;
  const details = { view, fingerprint, generation: published.generation };
  switch (textOf(outcome)) {
    case "published":
      return;
    case "fenced":
      throw new OnceflowError(
        "FENCED",
        `${where}: a later publish has begun, so this one must not move the pointers. Leave it to that one.`,
        details,
      );
    case "restarted":
      throw new OnceflowError(
        "STORE_RESTARTED",
        `${where}: Redis at ${redis.address} restarted while its entities were written; they are written again.`,
        details,
      );
    case "forgotten":
      throw new OnceflowError(
        "STORE_LOST",
        `${where}: Redis does not know of it, so it was emptied or restored from an older copy since. It is published again, whole.`,
        details,
      );
    default:
      throw new OnceflowError(
        "INTERNAL",
        `${where}: snapshot ${snapshot?.id ?? ""} exists with another body; an id must be a hash of all that its body rests on.`,
        details,
      );
  }
}

function snapshotArguments(snapshot: SnapshotDraft | undefined): RedisArgument[] {
  if (snapshot === undefined) return ["", "", "", ""];
  const { id, body, aggregatesFingerprint, asOfMs } = snapshot;
  if (!/^\S+$/.test(id))
    throw new OnceflowError("INTERNAL", `"${id}" is no snapshot id: it must have no blank.`);
  if (!Number.isSafeInteger(asOfMs))
    throw new OnceflowError("INTERNAL", `the snapshot's time ${asOfMs} ms is no integer.`);
  return [id, body, pointerFields.latest(aggregatesFingerprint), asOfMs];
}

function encodePublished({ generation, endMs, whole, covered, frozen }: Published): string {
  return JSON.stringify([generation, endMs, whole.generation, whole.endMs, covered, frozen]);
}

/** Reads what a publish has left in the pointers. @throws STORE_LOST where it is malformed */
export function decodePublished(view: string, text: string | null): Published | null {
  if (text === null) return null;
  try {
    const [generation, endMs, wholeGeneration, wholeEndMs, covered, frozen] = JSON.parse(
      text,
    ) as readonly [number, number, number, number, boolean, string | null];
    const whole = { generation: wholeGeneration, endMs: wholeEndMs };
    return { generation, endMs, whole, covered, frozen };
  } catch {
    throw new OnceflowError(
      "STORE_LOST",
      `view "${view}": what Redis says is published is malformed. It is published again by a worker, or by the command publish.`,
      { view },
    );
  }
}
