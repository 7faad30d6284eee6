/**
 * Who may ask the HTTP service, as the environment and the command line say: the address to listen
 * on, how callers are told apart, and how much each may ask. Pure functions; `server.ts` calls them.
 */
import { isIP, isIPv4 } from "node:net";
import { OnceflowError } from "../../engine/errors.ts";
import { invocation } from "../../engine/invocation.ts";
import type { Rate } from "./rate-limit.ts";
import { tokenAlgorithms, type TokenSettings } from "./tokens.ts";

export interface AccessSettings {
  /** HOST; 127.0.0.1 by default. */
  readonly host: string;
  /** Whether API keys are accepted. */
  readonly keys: boolean;
  /** What tokens must be; undefined where none is accepted. */
  readonly tokens: TokenSettings | undefined;
  /** What each key or token may ask; undefined for no limit. */
  readonly callerRate: Rate | undefined;
  /** What each client address may ask, whoever it says it is. */
  readonly addressRate: Rate | undefined;
  /** Addresses of proxies whose X-Forwarded-For is believed. */
  readonly trustProxy: readonly string[];
}

/** Lines for `--help`, aligned as those of server.ts. */
export const accessHelp = `  HOST             127.0.0.1; another than loopback needs ONCEFLOW_AUTH or --insecure
  ONCEFLOW_AUTH    none; keys (API keys: ${invocation} keys), jwt, or keys,jwt
  ONCEFLOW_JWT_KEYS, _ISSUER, _AUDIENCE, _ALGORITHMS, _TOLERANCE, _SCOPES: see docs/security.md
  ONCEFLOW_CALLER_RATE   1000:2000; requests a second for each key or token, and at once; or none
  ONCEFLOW_ADDRESS_RATE  none; the same for each client address
  ONCEFLOW_TRUST_PROXY   none; addresses or networks (10.0.0.0/8) whose X-Forwarded-For is believed`;

/** Whether an argument of the command line is ours. */
export const insecureFlag = "--insecure";

const methods = ["keys", "jwt"] as const;

/**
 * Reads who may ask, and refuses an address that others can reach where anybody could ask.
 *
 * @throws CONFIG_INVALID naming the variable
 */
export function readAccess(env: NodeJS.ProcessEnv, argv: readonly string[]): AccessSettings {
  const { HOST: host = "127.0.0.1" } = env;
  const auth = methodsIn(env["ONCEFLOW_AUTH"] || "none");
  if (host === "") throw wrong("HOST", env, "give an address to listen on, or leave it unset");
  if (!isLoopback(host) && auth.length === 0 && !argv.includes(insecureFlag))
    throw wrong(
      "HOST",
      env,
      `others can reach that address, and nobody would ask who they are. Set ONCEFLOW_AUTH=keys (docs/security.md), listen on loopback (127.0.0.1, ::1 or localhost), or add ${insecureFlag} if all who can reach it may ask`,
    );
  return {
    host,
    keys: auth.includes("keys"),
    tokens: auth.includes("jwt") ? readTokens(env) : undefined,
    callerRate: readRate(env, "ONCEFLOW_CALLER_RATE", "1000:2000"),
    addressRate: readRate(env, "ONCEFLOW_ADDRESS_RATE", "none"),
    trustProxy: readProxies(env),
  };
}

function methodsIn(text: string): readonly (typeof methods)[number][] {
  const names = text === "none" ? [] : text.split(",").map((name) => name.trim());
  if (names.every((name) => (methods as readonly string[]).includes(name)))
    return names as (typeof methods)[number][];
  throw wrong("ONCEFLOW_AUTH", { ONCEFLOW_AUTH: text }, 'give "none", "keys", "jwt" or "keys,jwt"');
}

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function readTokens(env: NodeJS.ProcessEnv): TokenSettings {
  const needed = (name: string, what: string) => {
    const value = env[name] || undefined;
    if (value === undefined) throw wrong(name, env, `with ONCEFLOW_AUTH=jwt it must be ${what}`);
    return value;
  };
  const keys = needed("ONCEFLOW_JWT_KEYS", "the URL of a JWKS, or a file with a JWKS or PEM");
  const algorithms = (env["ONCEFLOW_JWT_ALGORITHMS"] || "RS256,ES256").split(",");
  if (!algorithms.every((name) => (tokenAlgorithms as readonly string[]).includes(name)))
    throw wrong(
      "ONCEFLOW_JWT_ALGORITHMS",
      env,
      `give some of ${tokenAlgorithms.join(", ")}, with commas between`,
    );
  const tolerance = env["ONCEFLOW_JWT_TOLERANCE"] || "5";
  if (!/^\d{1,2}$/.test(tolerance) || Number(tolerance) > 60)
    throw wrong("ONCEFLOW_JWT_TOLERANCE", env, "give seconds from 0 to 60");
  return {
    keys: /^[a-z][a-z0-9+.-]+:\/\//i.test(keys) ? { url: keyUrl(keys, env) } : { file: keys },
    issuer: needed("ONCEFLOW_JWT_ISSUER", "the issuer of tokens (iss)"),
    audience: needed("ONCEFLOW_JWT_AUDIENCE", "what tokens for this service have as aud"),
    algorithms,
    toleranceSeconds: Number(tolerance),
    scopeClaim: env["ONCEFLOW_JWT_SCOPES"] || "scope",
  };
}

function keyUrl(text: string, env: NodeJS.ProcessEnv): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe =
    url?.protocol === "https:" ||
    (url?.protocol === "http:" && isLoopback(url.hostname.replace(/^\[|\]$/g, "")));
  if (url === undefined || !isSafe || url.username !== "" || url.password !== "")
    throw wrong(
      "ONCEFLOW_JWT_KEYS",
      env,
      "give an https:// URL without a user (http:// on loopback alone), or a file",
    );
  return url.href;
}

function readRate(env: NodeJS.ProcessEnv, name: string, fallback: string): Rate | undefined {
  const text = env[name] || fallback;
  if (text === "none") return undefined;
  const [, perSecond = "", burst = perSecond] = /^(\d{1,7})(?::(\d{1,7}))?$/.exec(text) ?? [];
  const rate = { perSecond: Number(perSecond), burst: Number(burst) };
  if (rate.perSecond > 0 && rate.burst > 0) return rate;
  throw wrong(name, env, 'give requests a second, and at once, as "1000:2000", or "none"');
}

function readProxies(env: NodeJS.ProcessEnv): readonly string[] {
  const text = env["ONCEFLOW_TRUST_PROXY"] || "none";
  const proxies = text === "none" ? [] : text.split(",").map((proxy) => proxy.trim());
  const isProxy = (proxy: string) => {
    const [address = "", bits, more] = proxy.split("/");
    const version = isIP(address);
    if (version === 0 || more !== undefined) return false;
    // /0 is everybody.
    return (
      bits === undefined || (/^[1-9]\d*$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
    );
  };
  if (proxies.every(isProxy)) return proxies;
  throw wrong(
    "ONCEFLOW_TRUST_PROXY",
    env,
    "list the addresses of your proxies, or their networks such as 10.0.0.0/8, with commas between",
  );
}

function wrong(name: string, env: NodeJS.ProcessEnv, wanted: string): OnceflowError {
  const is = env[name] === undefined ? "is not set" : `is "${cut(env[name])}"`;
  return new OnceflowError("CONFIG_INVALID", `${name} ${is}; ${wanted}.`, { name });
}

/** A URL may hold a password. */
function cut(text: string): string {
  return text.replace(/\/\/[^@/]*@/, "//…@").slice(0, 100);
}
