/** `keys`: makes, lists, rotates and revokes the API keys of the HTTP service. */
import type { Command } from "commander";
import type { Catalogue } from "../../engine/catalogue.ts";
import { serviceNamed, viewNamed } from "../../engine/catalogue.ts";
import { parseSpan } from "../../engine/calendar/duration.ts";
import { didYouMean, OnceflowError } from "../../engine/errors.ts";
import { invocation } from "../../engine/invocation.ts";
import { parseScope, scopeForms } from "../../serving/auth/scopes.ts";
import {
  type ApiKeyChange,
  type ApiKeyRecord,
  changeApiKeys,
  endOf,
  mintApiKey,
  readApiKeyChanges,
  readApiKeys,
} from "../../store/api-keys.ts";
import { readStoreTime } from "../../store/store-time.ts";
import {
  type Context,
  finishCommand,
  type JsonOption,
  type Reply,
  usageError,
  whoRuns,
  withRedis,
} from "../context.ts";
import { clean, table } from "../table.ts";
import type { Paint } from "../terminal.ts";
import { showTime } from "../../engine/calendar/interval.ts";

const longestMs = 3_653 * 86_400_000;

interface CreateOptions extends JsonOption {
  readonly scope: readonly string[];
  readonly expires: string;
}

interface RotateOptions extends JsonOption {
  readonly overlap: string;
  readonly expires: string;
}

interface RevokeOptions extends JsonOption {
  readonly lost?: true;
}

/** Adds the group of commands. */
export function addKeys(program: Command, context: Context): void {
  const keys = program
    .command("keys")
    .summary("make, list, rotate and revoke API keys of the HTTP service")
    .description(
      "API keys of the HTTP service, which asks for them with ONCEFLOW_AUTH=keys. Of a key only a " +
        "hash is kept, in Redis; servers learn of a change within a second or two.",
    )
    .usage("COMMAND [options]");

  const expires = "how long the new key works, or never";
  finishCommand(
    keys
      .command("create")
      .argument("<name>", "whose key it is")
      .summary("make a key and show it, once")
      .description(
        "Makes a key and shows it: it cannot be shown again. A scope is one of " +
          `${scopeForms}. Repeat --scope to give several.`,
      )
      .requiredOption("--scope <scope>", "what the key allows", (each: string, all?: string[]) => [
        ...(all ?? []),
        each,
      ])
      .option("--expires <span>", expires, "90 days")
      .action((name: string, options: CreateOptions) =>
        context.answer(options, () => create(context, name, options)),
      ),
    [
      "keys create shop --scope read:service:model_x",
      "keys create dashboard --scope describe --expires never --json",
    ],
  );
  finishCommand(
    keys
      .command("list")
      .summary("list the keys")
      .description(
        "Lists the keys, the newest first; those that ended stay listed for 90 days. With --json " +
          "also the last 1000 changes: who made which key, revoked or removed it, and when.",
      )
      .action((options: JsonOption) => context.answer(options, () => list(context))),
    ["keys list", "keys list --json"],
  );
  finishCommand(
    keys
      .command("rotate")
      .argument("<id>", "id of the key to be replaced")
      .summary("replace a key; both work for a while")
      .description(
        "Makes a new key with the name and scopes of an old one and shows it, once. The old one " +
          "goes on to work for the time of --overlap, so that its users can change over.",
      )
      .option("--overlap <span>", "how long the old key still works, or 0", "1 day")
      .option("--expires <span>", expires, "90 days")
      .action((id: string, options: RotateOptions) =>
        context.answer(options, () => rotate(context, id, options)),
      ),
    ["keys rotate 0123456789abcdef", 'keys rotate 0123456789abcdef --overlap "2 hours" --json'],
  );
  finishCommand(
    keys
      .command("revoke")
      .argument("<id>", "id of the key")
      .summary("end a key at once")
      .description(
        "Ends a key: servers that reach Redis refuse it within five seconds. Servers keep a key that " +
          "Redis lost in force; with --lost that ends too.",
      )
      .option("--lost", "also where Redis no longer knows the key, as after it was emptied")
      .action((id: string, options: RevokeOptions) =>
        context.answer(options, () => revoke(context, id, options)),
      ),
    ["keys revoke 0123456789abcdef", "keys revoke 0123456789abcdef --lost"],
  );
}

async function create(
  context: Context,
  name: string,
  { scope, expires }: CreateOptions,
): Promise<Reply> {
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._@:/-]{0,63}$/u.test(name))
    throw usageError(`"${clean(name)}" is no name of a key; give up to 64 letters and digits.`);
  const scopes = [...new Set(scope)];
  const catalogue = await context.catalogue();
  for (const each of scopes) checkScope(catalogue, each);
  const lifeMs = lifeOfKey(expires);
  const settings = context.settings();
  const { made, nowMs } = await withRedis(settings, "writing", (redis) =>
    changeApiKeys(
      redis,
      (_, nowMs) => {
        const made = newRecord(name, scopes, lifeMs, nowMs);
        return { made, nowMs, put: [made.kept], change: changeOf("create", made.kept, nowMs) };
      },
      settings,
    ),
  );
  return shown(made, nowMs);
}

async function list(context: Context): Promise<Reply> {
  const settings = context.settings();
  const { records, changes, nowMs } = await withRedis(settings, "writing", async (redis) => ({
    records: (await readApiKeys(redis, settings))?.records ?? new Map<string, ApiKeyRecord>(),
    changes: await readApiKeyChanges(redis, settings),
    nowMs: await readStoreTime(redis),
  }));
  const keys = [...records.values()]
    .sort((a, b) => (a.created_at < b.created_at ? 1 : -1))
    .map((record) => publicOf(record, nowMs));
  return {
    data: { keys, changes },
    text: () => (keys.length === 0 ? "There is no API key yet." : keyTable(keys, context.paint)),
  };
}

async function rotate(
  context: Context,
  id: string,
  { overlap, expires }: RotateOptions,
): Promise<Reply> {
  const overlapMs = lifeOf("--overlap", overlap, { leastMs: 0, or: "0" });
  const lifeMs = lifeOfKey(expires);
  const settings = context.settings();
  const { made, nowMs } = await withRedis(settings, "writing", (redis) =>
    changeApiKeys(
      redis,
      (records, nowMs) => {
        const old = liveKey(records, id, nowMs);
        const made = newRecord(old.name, old.scopes, lifeMs, nowMs, id);
        const until = new Date(nowMs + overlapMs).toISOString();
        const ends = old.expires_at !== null && old.expires_at < until ? old.expires_at : until;
        const replaced = { ...old, expires_at: ends, replaced_by: made.kept.id };
        const change = changeOf("rotate", made.kept, nowMs);
        return { made, nowMs, put: [replaced, made.kept], change };
      },
      settings,
    ),
  );
  return shown(made, nowMs);
}

async function revoke(context: Context, id: string, { lost }: RevokeOptions): Promise<Reply> {
  if (lost === true && !/^[0-9a-f]{16}$/.test(id))
    throw usageError("the id of a key has 16 hexadecimal digits, the part of it after onceflow_.");
  const settings = context.settings();
  const { put, nowMs } = await withRedis(settings, "writing", (redis) =>
    changeApiKeys(
      redis,
      (records, nowMs) => {
        const isLost = lost === true && !records.has(id);
        const old = isLost ? lostRecord(id) : liveKey(records, id, nowMs);
        const revoked = { ...old, revoked_at: new Date(nowMs).toISOString() };
        return { nowMs, put: [revoked], change: changeOf("revoke", revoked, nowMs) };
      },
      settings,
    ),
  );
  return {
    data: put.map((record) => publicOf(record, nowMs))[0],
    text: () => `revoked ${id}; servers that reach Redis refuse it within five seconds`,
  };
}

/** Stands for a key that Redis lost: servers end what they know by its id. It is no key's hash. */
function lostRecord(id: string): ApiKeyRecord {
  return {
    id,
    name: "lost",
    scopes: [],
    digest: "0".repeat(64),
    created_at: new Date().toISOString(),
    expires_at: null,
    revoked_at: null,
    replaces: null,
    replaced_by: null,
  };
}

/** @throws UNKNOWN_SERVICE, UNKNOWN_VIEW, for names that this build does not have */
function checkScope(catalogue: Catalogue, text: string): void {
  const scope = parseScope(text);
  if (scope === undefined)
    throw usageError(
      `"${clean(text)}" is no scope.${didYouMean(text, scopeForms.split(", "))} There are: ${scopeForms}.`,
    );
  if (scope.kind === "service") serviceNamed(catalogue, scope.name);
  if (scope.kind === "view") viewNamed(catalogue, scope.name);
}

/** How long a key works, in milliseconds. */
function lifeOf(
  option: string,
  text: string,
  { leastMs, or }: { readonly leastMs: number; readonly or: string },
): number {
  const lifeMs = parseSpan(text);
  if (lifeMs !== undefined && lifeMs >= leastMs && lifeMs <= longestMs) return lifeMs;
  throw usageError(
    `${option} is "${clean(text)}"; give a whole number and a unit, as "90 days" and at most ten years, or ${or}.`,
  );
}

interface NewKey {
  /** The key itself. */
  readonly key: string;
  readonly kept: ApiKeyRecord;
}

/** How long a new key works, in milliseconds; null for ever. */
function lifeOfKey(expires: string): number | null {
  return expires === "never" ? null : lifeOf("--expires", expires, { leastMs: 1, or: "never" });
}

function newRecord(
  name: string,
  scopes: readonly string[],
  lifeMs: number | null,
  nowMs: number,
  replaces: string | null = null,
): NewKey {
  const { id, key, digest } = mintApiKey();
  const kept: ApiKeyRecord = {
    id,
    name,
    scopes,
    digest,
    created_at: new Date(nowMs).toISOString(),
    expires_at: lifeMs === null ? null : new Date(nowMs + lifeMs).toISOString(),
    revoked_at: null,
    replaces,
    replaced_by: null,
  };
  return { key, kept };
}

/** @throws UNKNOWN_KEY, REQUEST_INVALID for one that has ended */
function liveKey(
  records: ReadonlyMap<string, ApiKeyRecord>,
  id: string,
  nowMs: number,
): ApiKeyRecord {
  const record = records.get(id);
  if (record === undefined)
    throw new OnceflowError(
      "UNKNOWN_KEY",
      // It may be a whole key, which must not be shown.
      `there is no API key of that id; \`keys list\` shows those there are. If Redis lost it, servers that run since before keep it in force until they end: ${invocation} keys revoke ID --lost ends it there within five seconds.`,
    );
  const state = stateOf(record, nowMs);
  if (state === "revoked" || state === "expired")
    throw new OnceflowError("REQUEST_INVALID", `the API key ${id} is ${state} already.`, { id });
  return record;
}

function changeOf(
  change: ApiKeyChange["change"],
  record: ApiKeyRecord,
  nowMs: number,
): ApiKeyChange {
  const { id, name, scopes, replaces } = record;
  const at = new Date(nowMs).toISOString();
  return { at, by: whoRuns(), change, id, name, scopes, replaces };
}

type State = "active" | "replaced" | "expired" | "revoked";

function stateOf(record: ApiKeyRecord, nowMs: number): State {
  if (!(nowMs < endOf(record))) return record.revoked_at === null ? "expired" : "revoked";
  return record.replaced_by === null ? "active" : "replaced";
}

/** A record without its hash, which nobody needs. */
function publicOf(record: ApiKeyRecord, nowMs: number) {
  return { ...record, digest: undefined, state: stateOf(record, nowMs) };
}

function shown({ key, kept }: NewKey, nowMs: number): Reply {
  const { id, name, scopes, expires_at, replaces } = kept;
  const until = expires_at === null ? "never expires" : `expires ${showTime(expires_at)}`;
  const instead = replaces === null ? "" : ` in place of ${replaces}`;
  return {
    data: { key, ...publicOf(kept, nowMs) },
    text: () =>
      `key ${id} of ${clean(name)}${instead}: ${scopes.map(clean).join(", ")}; ${until}\nIt is shown this once:\n\n${key}`,
  };
}

const stateStyles = {
  active: "green",
  replaced: "yellow",
  expired: "dim",
  revoked: "red",
} as const satisfies Record<State, string>;

function keyTable(keys: readonly ReturnType<typeof publicOf>[], paint: Paint): string {
  return table(
    ["id", "name", "scopes", "state", "created", "expires"],
    keys.map(({ id, name, scopes, state, created_at, expires_at }) => [
      id,
      clean(name),
      clean(scopes.join(", ")),
      paint(stateStyles[state], state),
      created_at.slice(0, 10),
      expires_at === null ? "never" : expires_at.slice(0, 16),
    ]),
    paint,
  );
}
