/** Tokens: JWTs that an issuer signed for this service (RFC 7519, by the rules of RFC 8725). */
import { errors, jwtVerify } from "jose";
import { OnceflowError } from "../../engine/errors.ts";
import { createLru } from "../../engine/lru.ts";
import { createPublicKeys, type KeySource, type PublicKeysOptions } from "./public-keys.ts";
import { type Grants, grantsOf } from "./scopes.ts";

/** Signatures that tokens may have: asymmetric ones alone, so that no public key is a secret. */
export const tokenAlgorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
] as const;

/** What a token must be. */
export interface TokenSettings {
  readonly keys: KeySource;
  readonly issuer: string;
  readonly audience: string;
  /** Of `tokenAlgorithms`. */
  readonly algorithms: readonly string[];
  /** How far apart the issuer's clock and ours may be; at most 60. */
  readonly toleranceSeconds: number;
  /** The claim that has the scopes: text with spaces between, or a list. */
  readonly scopeClaim: string;
}

/** What became of a text that says it is a token. */
export type TokenOutcome =
  | { readonly ok: true; readonly id: string; readonly grants: Grants }
  | { readonly ok: false; readonly why: string };

/** The check of tokens. */
export interface Tokens {
  /** @throws AUTH_UNAVAILABLE where their public keys were never read */
  readonly check: (text: string) => Promise<TokenOutcome>;
  /** Reads the public keys now. @throws CONFIG_INVALID, for any reason */
  readonly refresh: () => Promise<void>;
  readonly close: () => void;
}

/** Characters of a token. */
const lengthLimit = 8_192;
const compact = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** Tokens whose signature was checked are not checked again for a while. */
const [keptTokens, keptMs] = [1_000, 60_000];

interface KeptOutcome {
  readonly outcome: TokenOutcome;
  /** Milliseconds since the epoch. */
  readonly untilMs: number;
}

/** Makes the check of tokens, and starts to read their public keys. */
export function createTokens(settings: TokenSettings, options: PublicKeysOptions = {}): Tokens {
  const { issuer, audience, algorithms, toleranceSeconds, scopeClaim } = settings;
  const publicKeys = createPublicKeys(settings.keys, options);
  const kept = createLru<string, KeptOutcome>(keptTokens);

  async function verify(text: string): Promise<TokenOutcome> {
    if (text.length > lengthLimit) return { ok: false, why: "too long" };
    // A decoder may forgive padding and the like, and one token would have many spellings.
    if (!compact.test(text)) return { ok: false, why: "malformed" };
    try {
      const { payload } = await jwtVerify(text, publicKeys.find, {
        issuer,
        audience,
        algorithms: [...algorithms],
        clockTolerance: toleranceSeconds,
        requiredClaims: ["exp", "sub"],
      });
      const { exp = 0, sub } = payload;
      if (typeof sub !== "string" || sub === "") return { ok: false, why: "sub" };
      const outcome: TokenOutcome = {
        ok: true,
        id: sub,
        grants: grantsOf(scopesIn(Object.hasOwn(payload, scopeClaim) ? payload[scopeClaim] : "")),
      };
      const untilMs = Math.min(Date.now() + keptMs, (exp + toleranceSeconds) * 1000);
      kept.set(text, { outcome, untilMs });
      return outcome;
    } catch (error) {
      if (error instanceof OnceflowError) throw error;
      // Of errors of jose the code is enough: messages may hold parts of the token.
      return { ok: false, why: error instanceof errors.JOSEError ? error.code : "malformed" };
    }
  }

  return {
    async check(text) {
      const known = kept.get(text);
      if (known !== undefined && Date.now() < known.untilMs) return known.outcome;
      kept.delete(text);
      return verify(text);
    },
    refresh: publicKeys.refresh,
    close: publicKeys.close,
  };
}

function scopesIn(claim: unknown): readonly string[] {
  const list: unknown = typeof claim === "string" ? claim.split(" ") : claim;
  return Array.isArray(list) ? list.filter((each) => typeof each === "string") : [];
}
