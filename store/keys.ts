/**
 * Every Redis key name of onceflow.
 *
 * A key has one hash tag, and the tag is ours alone: user text never reaches a key name. All keys
 * of a view's ledger share the tag `{<view>}`; each shard of rows has a tag of its own, so that a
 * Cluster spreads them, and one script call may write many buckets of a shard.
 */
import { OnceflowError } from "../engine/errors.ts";

const defaultPrefix = "onceflow";

/**
 * What keeps an entry of Redis, so that `sweep` leaves it: a build with the storage fingerprint,
 * the aggregate or the set of aggregates that it is named after, any build of the view, or
 * `always`. What is of an older layout is kept as `storage` is, until the fingerprint is published.
 */
export type KeepRule = "storage" | "aggregate" | "aggregateSet" | "view" | "always" | "olderLayout";

/** How a kind of entries is spelled, and what keeps one. */
interface Kind {
  /** Whether a fingerprint follows the kind in the name: `coverage:ab12`; else `runs`. */
  readonly hasFingerprint: boolean;
  readonly keptBy: KeepRule;
}

/** Kinds of keys in the ledger of a view. */
const ledgerKinds = {
  pointers: { hasFingerprint: false, keptBy: "always" },
  // A request may pin a snapshot.
  snapshots: { hasFingerprint: false, keptBy: "view" },
  runs: { hasFingerprint: false, keptBy: "view" },
  coverage: { hasFingerprint: true, keptBy: "storage" },
  // None is ever given out twice.
  generations: { hasFingerprint: true, keptBy: "always" },
  begun: { hasFingerprint: true, keptBy: "storage" },
  outcomes: { hasFingerprint: true, keptBy: "storage" },
  states: { hasFingerprint: true, keptBy: "aggregate" },
} as const satisfies Readonly<Record<string, Kind>>;

/** Kinds of fields in the pointers hash. */
const pointerKinds = {
  revision: { hasFingerprint: false, keptBy: "always" },
  table: { hasFingerprint: true, keptBy: "storage" },
  published: { hasFingerprint: true, keptBy: "storage" },
  // None is ever given out twice.
  publishing: { hasFingerprint: true, keptBy: "always" },
  latest: { hasFingerprint: true, keptBy: "aggregateSet" },
  // Of the layout before publishes, which processes of older releases still read.
  namespace: { hasFingerprint: true, keptBy: "olderLayout" },
  head: { hasFingerprint: true, keptBy: "olderLayout" },
} as const satisfies Readonly<Record<string, Kind>>;

/** Kinds of tables of stored rows. */
const tableKinds = {
  /** What is published of each entity of a view. */
  entities: { keptBy: "storage" },
  /** The rows of a view in the layout before publishes. */
  rows: { keptBy: "olderLayout" },
} as const satisfies Readonly<Record<string, Pick<Kind, "keptBy">>>;

/** A kind of key in the ledger of a view. */
export type LedgerKind = keyof typeof ledgerKinds;
/** A kind of field in the pointers of a view. */
export type PointerKind = keyof typeof pointerKinds;
/** A kind of table of stored rows. */
export type TableKind = keyof typeof tableKinds;

const everyTableKind = Object.keys(tableKinds) as readonly TableKind[];

/** What a name says, read back. */
export interface Named<K extends string> {
  readonly kind: K;
  readonly keptBy: KeepRule;
  /** "" where the kind has none. */
  readonly fingerprint: string;
}

/** The key names under one prefix. */
export interface StoreKeys {
  readonly prefix: string;
  /** Hash: "" → epoch and mark of the shard. */
  readonly shard: (view: string, fingerprint: string, shard: number) => string;
  /** Hash: "" → epoch, entity key → version and row. */
  readonly bucket: (view: string, fingerprint: string, shard: number, bucket: number) => string;
  /** Hash: revision, and per fingerprint the table, what is published and the latest snapshot. */
  readonly pointers: (view: string) => string;
  /** Hash: snapshot id → body. */
  readonly snapshots: (view: string) => string;
  /** Hash: interval → coverage, JSON. */
  readonly coverage: (view: string, fingerprint: string) => string;
  /** Hash: interval → generation of its newest run. */
  readonly generations: (view: string, fingerprint: string) => string;
  /** Hash: interval → recent runs with their generations, JSON. */
  readonly begun: (view: string, fingerprint: string) => string;
  /** Hash: interval → generation and partial state of one aggregate. */
  readonly states: (view: string, aggregateFingerprint: string) => string;
  /** Hash: interval → how its last run ended, JSON with wall-clock facts. */
  readonly outcomes: (view: string, fingerprint: string) => string;
  /** List: the newest runs first, JSON with wall-clock facts. */
  readonly runs: (view: string) => string;
  /** Hash: `applied` → views and services as they were applied last, JSON. */
  readonly registry: string;
  /** Hash: `revision`, and id → record of an API key, JSON. No view has a hyphen in its name. */
  readonly apiKeys: string;
  /** List: changes of API keys, the newest first, JSON. */
  readonly apiKeyChanges: string;
  /** Globs: the pointers of every view, and every key of a view but its rows. */
  readonly everyPointers: string;
  readonly everyKey: (view: string) => string;
  /** Globs: the shards and buckets of a view, of each kind of table. */
  readonly everyTableKey: (view: string) => readonly string[];
  /** The view of a name that `pointers` spelled; undefined for any other name. */
  readonly viewOfPointers: (key: string) => string | undefined;
  /** Reads back a key of a view's ledger; undefined where no kind is spelled so. */
  readonly parseLedgerKey: (view: string, key: string) => Named<LedgerKind> | undefined;
  /** Reads back a shard or bucket of a view; undefined where no kind is spelled so. */
  readonly parseTableKey: (view: string, key: string) => Named<TableKind> | undefined;
}

/** Names of the fields in the pointers hash. */
export const pointerFields = {
  /** Count of the commits and resets, ".", and a token that is its alone. */
  revision: spell<PointerKind>("revision"),
  table: (fingerprint: string) => spell<PointerKind>("table", fingerprint),
  published: (fingerprint: string) => spell<PointerKind>("published", fingerprint),
  publishing: (fingerprint: string) => spell<PointerKind>("publishing", fingerprint),
  latest: (aggregatesFingerprint: string) => spell<PointerKind>("latest", aggregatesFingerprint),
} as const;

/** Reads back a field of the pointers hash; undefined where no kind is spelled so. */
export function parsePointerField(field: string): Named<PointerKind> | undefined {
  return parse(pointerKinds, field);
}

/** The name of an entry of a kind. */
function spell<K extends string>(kind: K, fingerprint?: string): string {
  return fingerprint === undefined ? kind : `${kind}:${fingerprint}`;
}

/** Reads back what `spell` spelled. */
function parse<K extends string>(
  kinds: Readonly<Record<K, Kind>>,
  name: string,
): Named<K> | undefined {
  const [, kind = "", fingerprint] = /^([a-z]+)(?::([0-9a-f]+))?$/.exec(name) ?? [];
  if (!isKind(kinds, kind)) return undefined;
  const { hasFingerprint, keptBy } = kinds[kind];
  if (hasFingerprint !== (fingerprint !== undefined)) return undefined;
  return { kind, keptBy, fingerprint: fingerprint ?? "" };
}

function isKind<K extends string>(kinds: Readonly<Record<K, Kind>>, kind: string): kind is K {
  return Object.hasOwn(kinds, kind);
}

/** The field of a bucket or shard that holds its epoch; no entity key encodes to nothing. */
export const epochField = "";

/**
 * The key names under a prefix.
 *
 * @throws CONFIG_INVALID where the prefix could hold a hash tag or a glob
 */
export function createKeys(prefix: string = defaultPrefix): StoreKeys {
  if (!/^[a-z0-9_:-]+$/.test(prefix))
    throw new OnceflowError(
      "CONFIG_INVALID",
      `the Redis key prefix "${prefix}" is invalid: use a-z, 0-9, "_", ":" and "-" only.`,
    );
  const ledgerKey = (kind: LedgerKind, view: string, fingerprint?: string) =>
    `${prefix}:{${view}}:${spell(kind, fingerprint)}`;
  const tableKey = (kind: TableKind, view: string, rest: string) =>
    `${prefix}:${kind}:{${view}/${rest}`;
  return {
    prefix,
    shard: (view, fingerprint, shard) => tableKey("entities", view, `${fingerprint}:${shard}}`),
    bucket: (view, fingerprint, shard, bucket) =>
      tableKey("entities", view, `${fingerprint}:${shard}}:${bucket}`),
    pointers: (view) => ledgerKey("pointers", view),
    snapshots: (view) => ledgerKey("snapshots", view),
    coverage: (view, fingerprint) => ledgerKey("coverage", view, fingerprint),
    generations: (view, fingerprint) => ledgerKey("generations", view, fingerprint),
    begun: (view, fingerprint) => ledgerKey("begun", view, fingerprint),
    states: (view, aggregateFingerprint) => ledgerKey("states", view, aggregateFingerprint),
    outcomes: (view, fingerprint) => ledgerKey("outcomes", view, fingerprint),
    runs: (view) => ledgerKey("runs", view),
    registry: `${prefix}:registry`,
    apiKeys: `${prefix}:{api-keys}:records`,
    apiKeyChanges: `${prefix}:{api-keys}:changes`,
    everyPointers: ledgerKey("pointers", "*"),
    everyKey: (view) => `${prefix}:{${view}}:*`,
    everyTableKey: (view) => everyTableKind.map((kind) => tableKey(kind, view, "*")),
    viewOfPointers(key) {
      const view = /\{([^{}]*)\}/.exec(key)?.[1] ?? "";
      return key === ledgerKey("pointers", view) ? view : undefined;
    },
    parseLedgerKey(view, key) {
      const start = `${prefix}:{${view}}:`;
      return key.startsWith(start) ? parse(ledgerKinds, key.slice(start.length)) : undefined;
    },
    parseTableKey(view, key) {
      const kind = everyTableKind.find((each) => key.startsWith(tableKey(each, view, "")));
      if (kind === undefined) return undefined;
      const rest = key.slice(tableKey(kind, view, "").length);
      const fingerprint = /^([0-9a-f]+):\d+\}(?::\d+)?$/.exec(rest)?.[1];
      if (fingerprint === undefined) return undefined;
      return { kind, keptBy: tableKinds[kind].keptBy, fingerprint };
    },
  };
}

/** Refuses a view name or fingerprint that must not become part of a key. @throws INTERNAL */
export function requireNames(view: string, ...fingerprints: readonly string[]): void {
  if (!/^[a-z][a-z0-9_]{0,127}$/.test(view))
    throw new OnceflowError("INTERNAL", `"${view}" is no snake_case view name.`);
  for (const fingerprint of fingerprints)
    if (!/^[0-9a-f]{1,128}$/.test(fingerprint))
      throw new OnceflowError("INTERNAL", `"${fingerprint}" is no hexadecimal fingerprint.`);
}
