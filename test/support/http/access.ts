/** Access to the HTTP application for tests: settings, and keys that are in the store. */
import { readAccess, type AccessSettings } from "../../../serving/auth/settings.ts";
import {
  type ApiKeyRecord,
  changeApiKeys,
  mintApiKey,
  readApiKeys,
} from "../../../store/api-keys.ts";
import type { RedisConnection } from "../../../store/redis/types.ts";

/** API keys, and no limit of rates unless one is given. */
export function accessSettings(overrides: Partial<AccessSettings> = {}): AccessSettings {
  const settings = readAccess(
    { ONCEFLOW_AUTH: "keys", ONCEFLOW_CALLER_RATE: "none" },
    { insecure: false },
  );
  return { ...settings, ...overrides };
}

/** Puts a key into the store, with what is given of its record; answers the key and its id. */
export async function addKey(
  redis: RedisConnection,
  prefix: string,
  scopes: readonly string[],
  given: Partial<ApiKeyRecord> = {},
): Promise<{ readonly key: string; readonly id: string }> {
  const { id, key, digest } = mintApiKey();
  const at = new Date().toISOString();
  const record: ApiKeyRecord = {
    id,
    name: "test",
    scopes,
    digest,
    created_at: at,
    expires_at: null,
    revoked_at: null,
    replaces: null,
    replaced_by: null,
    ...given,
  };
  await putKey(redis, prefix, record);
  return { key, id };
}

/** Writes a record, as a change of it. */
export async function putKey(
  redis: RedisConnection,
  prefix: string,
  record: ApiKeyRecord,
): Promise<void> {
  const { id, name, scopes, replaces } = record;
  const change = { change: "create", id, name, scopes, replaces } as const;
  const at = new Date().toISOString();
  await changeApiKeys(redis, () => ({ put: [record], change: { at, by: "test", ...change } }), {
    prefix,
  });
}

/** Revokes a key. */
export async function revokeKey(redis: RedisConnection, prefix: string, id: string): Promise<void> {
  const record = (await readApiKeys(redis, { prefix }))?.records.get(id);
  if (record === undefined) throw new Error(`there is no key ${id}`);
  await putKey(redis, prefix, { ...record, revoked_at: new Date().toISOString() });
}

/** The header of a key or token. */
export const bearer = (text: string) => ({ authorization: `Bearer ${text}` });
