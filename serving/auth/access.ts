/** Who asks: an API key or a token, as `Authorization: Bearer …` has it. */
import { OnceflowError } from "../../engine/errors.ts";
import { apiKeyPrefix } from "../../store/api-keys.ts";
import { createKnownKeys } from "./known-keys.ts";
import type { Grants } from "./scopes.ts";
import type { AccessSettings } from "./settings.ts";
import { createTokens } from "./tokens.ts";
import type { RedisConnection } from "../../store/redis/types.ts";

/** A caller whose key or token is valid. */
export interface Caller {
  /** `key <id>` or `token <subject>`: for rate limits and logs; no secret. */
  readonly id: string;
  readonly grants: Grants;
}

/** Why nobody was recognized: for the log, never for the answer. */
export interface Unrecognized {
  readonly why: string;
  /** Of a key that is known. */
  readonly key?: string;
}

/** What tells callers apart: the keys and tokens that the settings ask for. */
export interface Access {
  readonly settings: AccessSettings;
  /**
   * Who sends a header; at once for keys.
   *
   * @throws AUTH_UNAVAILABLE, by the promise alone
   */
  readonly recognize: (
    authorization: string | undefined,
  ) => Caller | Unrecognized | Promise<Caller | Unrecognized>;
  /**
   * Reads keys now. A JWKS behind a URL may be down; all else must be there.
   *
   * @throws STORE_UNAVAILABLE, CONFIG_INVALID
   */
  readonly refresh: () => Promise<void>;
  readonly close: () => void;
}

export interface AccessOptions {
  readonly redis: RedisConnection;
  readonly prefix?: string | undefined;
  /** Between two reads of the API keys; 1000 by default. */
  readonly refreshMs?: number;
  /** Is told what ails the reading of keys. */
  readonly warn?: (message: string) => void;
}

/** Starts to read the keys that the settings ask for. Without any, nobody is asked who they are. */
export function openAccess(settings: AccessSettings, options: AccessOptions): Access {
  const keys = settings.keys ? createKnownKeys(options) : undefined;
  const { warn = () => undefined } = options;
  const tokens = settings.tokens && createTokens(settings.tokens, { warn });

  function byKey(text: string): Caller | Unrecognized | Promise<never> {
    const found = keys?.check(text);
    if (found === undefined) return { why: "API keys are not accepted" };
    if (!found.ok && found.why === "unread")
      return Promise.reject(
        new OnceflowError(
          "AUTH_UNAVAILABLE",
          "API keys cannot be checked now, since they could not be read yet; try again.",
        ),
      );
    if (found.ok) return { id: `key ${found.id}`, grants: found.grants };
    return { why: `key ${found.why}`, ...(found.id === undefined ? {} : { key: found.id }) };
  }

  async function byToken(text: string): Promise<Caller | Unrecognized> {
    const found = await tokens?.check(text);
    if (found === undefined) return { why: "no API key" };
    return found.ok
      ? { id: `token ${found.id}`, grants: found.grants }
      : { why: `token ${found.why}` };
  }

  return {
    settings,
    recognize(authorization) {
      if (authorization === undefined) return { why: "no header" };
      const [, text] = /^bearer +([^\s,]+)$/i.exec(authorization) ?? [];
      if (text === undefined) return { why: "no bearer" };
      return text.startsWith(apiKeyPrefix) || tokens === undefined ? byKey(text) : byToken(text);
    },
    async refresh() {
      const isRemote = settings.tokens !== undefined && "url" in settings.tokens.keys;
      const refreshTokens = tokens?.refresh().catch((error: unknown) => {
        if (!isRemote) throw error;
      });
      await Promise.all([keys?.refresh(), refreshTokens]);
    },
    close() {
      keys?.close();
      tokens?.close();
    },
  };
}

/** Whether callers are asked who they are. */
export function asksWho({ keys, tokens }: AccessSettings): boolean {
  return keys || tokens !== undefined;
}
