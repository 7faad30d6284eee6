/**
 * The public keys by which tokens are checked: a JWKS behind a URL, or a JWKS or PEM in a file. The
 * set is read in the background and swapped whole; one that cannot be read again stays in force. No
 * token has a say in where keys come from.
 */
import { createPublicKey, type JsonWebKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { CryptoKey, JSONWebKeySet, JWSHeaderParameters } from "jose";
import { createLocalJWKSet, errors } from "jose";
import { messageOf, OnceflowError, reasonOf } from "../../engine/errors.ts";
import { createPoller } from "../poller.ts";

/** Where the keys are. */
export type KeySource = { readonly url: string } | { readonly file: string };

/** The public keys of one issuer, kept up to date in the background. */
export interface PublicKeys {
  /**
   * The key that a token names. For one that is not known the set is read anew, at most every 30
   * seconds, and waited for at most a second.
   *
   * @throws AUTH_UNAVAILABLE where no set was ever read; errors of jose
   */
  readonly find: (header: JWSHeaderParameters) => Promise<CryptoKey>;
  /** Reads the set now. @throws CONFIG_INVALID, for any reason */
  readonly refresh: () => Promise<void>;
  readonly close: () => void;
}

type Find = (header: JWSHeaderParameters) => Promise<CryptoKey>;

/** Bytes of a set, and keys in it. */
const [byteLimit, keyLimit] = [256 * 1024, 100];
/** For one read of a URL. */
const fetchMs = 5_000;

export interface PublicKeysOptions {
  /** Between two reads of the set; 5 minutes by default. */
  readonly refreshMs?: number;
  /** Between two reads for the sake of keys that are not known; 30 seconds by default. */
  readonly cooldownMs?: number;
  /** How long a request waits for a read; 1 second by default. */
  readonly waitMs?: number;
  /** Is told once when reading begins to fail. */
  readonly warn?: (message: string) => void;
}

/** Starts to read keys. */
export function createPublicKeys(
  source: KeySource,
  {
    refreshMs = 300_000,
    cooldownMs = 30_000,
    waitMs = 1_000,
    warn = () => undefined,
  }: PublicKeysOptions = {},
): PublicKeys {
  let known: Find | undefined;
  let readAtMs = -Infinity;

  async function read(): Promise<void> {
    readAtMs = performance.now();
    try {
      known = finderOf("url" in source ? await fetchSet(source.url) : await readSet(source.file));
    } catch (error) {
      const from = "url" in source ? source.url : source.file;
      throw new OnceflowError(
        "CONFIG_INVALID",
        `the public keys of tokens cannot be read from ${from}: ${reasonOf(error)}.`,
        {},
        error,
      );
    }
  }
  const poller = createPoller({
    read,
    // One that was never read is what tokens wait for.
    pauseMs: () => (known === undefined ? Math.min(refreshMs, 1_000) : refreshMs),
    onFailing: (error) =>
      warn(
        `${messageOf(error)} ${
          known === undefined
            ? "Until they can, every token is answered AUTH_UNAVAILABLE."
            : "Those that were read before stay in force."
        }`,
      ),
  });
  const quietlyForAWhile = () =>
    Promise.race([
      poller.join().catch(() => undefined),
      new Promise((resolve) => setTimeout(resolve, waitMs).unref()),
    ]);

  return {
    refresh: poller.refresh,
    async find(header) {
      if (known === undefined) {
        if (performance.now() - readAtMs > cooldownMs) await quietlyForAWhile();
        if (known === undefined)
          throw new OnceflowError(
            "AUTH_UNAVAILABLE",
            "tokens cannot be checked now, since their public keys could not be read yet; try again.",
          );
      }
      try {
        return await known(header);
      } catch (error) {
        const isUnknown = error instanceof errors.JWKSNoMatchingKey;
        if (!isUnknown || (!poller.isReading() && performance.now() - readAtMs < cooldownMs))
          throw error;
        await quietlyForAWhile();
        return known(header);
      }
    },
    close: poller.close,
  };
}

async function fetchSet(url: string): Promise<string> {
  const response = await fetch(url, {
    // A redirect could lead to a place that nobody chose, without TLS.
    redirect: "error",
    headers: { accept: "application/json" },
    signal: AbortSignal.timeout(fetchMs),
  });
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    parts.push(part as Uint8Array);
    size += (part as Uint8Array).length;
    if (size > byteLimit) throw new Error(`the set has over ${byteLimit} bytes`);
  }
  return Buffer.concat(parts).toString("utf8");
}

async function readSet(file: string): Promise<string> {
  const bytes = await readFile(file);
  if (bytes.length > byteLimit) throw new Error(`the file has over ${byteLimit} bytes`);
  return bytes.toString("utf8");
}

function finderOf(text: string): Find {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text))
    throw new Error("it is a private key; give the public one");
  if (text.includes("-----BEGIN ")) {
    const jwk = createPublicKey(text).export({ format: "jwk" });
    const find = createLocalJWKSet(setOf([jwk]));
    // The one key is the key, whatever a token calls it.
    return ({ alg }) => find(alg === undefined ? {} : { alg });
  }
  const { keys } = JSON.parse(text) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error('it is no JWKS: {"keys":[…]}');
  if (keys.length > keyLimit) throw new Error(`the set has over ${keyLimit} keys`);
  const isPrivate = (key: JsonWebKey) => key.kty === "oct" || key.d !== undefined;
  if ((keys as JsonWebKey[]).some(isPrivate))
    throw new Error("the set has a secret or private key; give public keys alone");
  return createLocalJWKSet(setOf(keys as JsonWebKey[]));
}

const setOf = (keys: readonly JsonWebKey[]) => ({ keys }) as unknown as JSONWebKeySet;
