/**
 * Who may ask the HTTP service, as the environment and the command line say: the address to listen
 * on, how callers are told apart, and how much each may ask. Pure functions; `server.ts` calls them.
 */
import { isIP } from "node:net";
import { invocation } from "../../engine/invocation.ts";
import { type Environment, environmentOf } from "../../environment.ts";
import { hostName, isLoopback } from "./addresses.ts";
import type { Rate } from "./rate-limit.ts";
import { tokenAlgorithms, type TokenSettings } from "./tokens.ts";

/** Who may ask, and how much. */
export interface AccessSettings {
  /** HOST; 127.0.0.1 by default. */
  readonly host: string;
  /** Whether API keys are accepted. */
  readonly keys: boolean;
  /** What tokens must be; undefined where none is accepted. */
  readonly tokens: TokenSettings | undefined;
  /** What each key or token may ask of each process; undefined for no limit. */
  readonly callerRate: Rate | undefined;
  /** What each client address may ask of each process, whoever it says it is. */
  readonly addressRate: Rate | undefined;
  /** Addresses of proxies whose X-Forwarded-For is believed. */
  readonly trustProxy: readonly string[];
  /**
   * Names under which callers may ask, beside addresses and localhost; undefined where any name will
   * do, since callers are asked who they are or may be anybody.
   */
  readonly hosts: readonly string[] | undefined;
}

/** Lines for `--help`, aligned as those of server.ts. */
export const accessHelp = `  HOST             127.0.0.1; another than loopback needs ONCEFLOW_AUTH or --insecure
  ONCEFLOW_AUTH    none; keys (API keys: ${invocation} keys), jwt, or keys,jwt
  ONCEFLOW_JWT_KEYS, _ISSUER, _AUDIENCE, _ALGORITHMS, _TOLERANCE, _SCOPES: see docs/security.md
  ONCEFLOW_CALLER_RATE   1000:2000; requests a second for each key or token, and at once; or none
  ONCEFLOW_ADDRESS_RATE  none; the same for each client address
  ONCEFLOW_TRUST_PROXY   none; addresses or networks (10.0.0.0/8) whose X-Forwarded-For is believed
  ONCEFLOW_HOSTS         names that callers may ask under, with commas between, or any; on loopback
                         without ONCEFLOW_AUTH addresses and localhost alone, else any`;

/** The option that lets anybody ask who can reach the address. */
export const insecureFlag = "--insecure";

const methods = ["keys", "jwt"] as const;

/**
 * Reads who may ask, and refuses an address that others can reach where anybody could ask.
 *
 * @param options - `insecure`: whether the command line says that anybody may ask
 * @throws CONFIG_INVALID naming the variable
 */
export function readAccess(
  env: NodeJS.ProcessEnv,
  { insecure }: { readonly insecure: boolean },
): AccessSettings {
  const environment = environmentOf(env);
  const { HOST: host = "127.0.0.1" } = env;
  const auth = environment.list(
    "ONCEFLOW_AUTH",
    "none",
    isMethod,
    'give "none", "keys", "jwt" or "keys,jwt"',
  );
  if (host === "")
    throw environment.refuse("HOST", "give an address to listen on, or leave it unset");
  if (!isLoopback(host) && auth.length === 0 && !insecure)
    throw environment.refuse(
      "HOST",
      `others can reach that address, and nobody would ask who they are. Set ONCEFLOW_AUTH=keys (docs/security.md), listen on loopback (127.0.0.1, ::1 or localhost), or add ${insecureFlag} if all who can reach it may ask`,
    );
  return {
    host,
    keys: auth.includes("keys"),
    tokens: auth.includes("jwt") ? readTokens(environment) : undefined,
    callerRate: readRate(environment, "ONCEFLOW_CALLER_RATE", "1000:2000"),
    addressRate: readRate(environment, "ONCEFLOW_ADDRESS_RATE", "none"),
    trustProxy: environment.list(
      "ONCEFLOW_TRUST_PROXY",
      "none",
      isProxy,
      "list the addresses of your proxies, or their networks such as 10.0.0.0/8, with commas between",
    ),
    hosts: readHosts(environment, isLoopback(host) && auth.length === 0),
  };
}

const isMethod = (word: string): word is (typeof methods)[number] =>
  (methods as readonly string[]).includes(word);

function readHosts({ text, list }: Environment, isGuarded: boolean): readonly string[] | undefined {
  const names = text("ONCEFLOW_HOSTS", undefined);
  if (names === undefined) return isGuarded ? [] : undefined;
  if (names === "any") return undefined;
  return list(
    "ONCEFLOW_HOSTS",
    "",
    (word): word is string => hostName.test(word),
    'list names of hosts without ports, with commas between, or "any"',
  );
}

function readTokens({ text, whole, list, refuse }: Environment): TokenSettings {
  const needed = (name: string, what: string) => {
    const value = text(name, undefined);
    if (value === undefined) throw refuse(name, `with ONCEFLOW_AUTH=jwt it must be ${what}`);
    return value;
  };
  const keys = needed("ONCEFLOW_JWT_KEYS", "the URL of a JWKS, or a file with a JWKS or PEM");
  return {
    keys: /^[a-z][a-z0-9+.-]+:\/\//i.test(keys) ? { url: keyUrl(keys, refuse) } : { file: keys },
    issuer: needed("ONCEFLOW_JWT_ISSUER", "the issuer of tokens (iss)"),
    audience: needed("ONCEFLOW_JWT_AUDIENCE", "what tokens for this service have as aud"),
    algorithms: list(
      "ONCEFLOW_JWT_ALGORITHMS",
      "RS256,ES256",
      isAlgorithm,
      `give some of ${tokenAlgorithms.join(", ")}, with commas between`,
    ),
    toleranceSeconds: whole("ONCEFLOW_JWT_TOLERANCE", 5, { from: 0, to: 60, what: "seconds" }),
    scopeClaim: text("ONCEFLOW_JWT_SCOPES", "scope"),
  };
}

const isAlgorithm = (word: string): word is (typeof tokenAlgorithms)[number] =>
  (tokenAlgorithms as readonly string[]).includes(word);

function keyUrl(text: string, refuse: Environment["refuse"]): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe =
    url?.protocol === "https:" ||
    (url?.protocol === "http:" && isLoopback(url.hostname.replace(/^\[|\]$/g, "")));
  if (url === undefined || !isSafe || url.username !== "" || url.password !== "")
    throw refuse(
      "ONCEFLOW_JWT_KEYS",
      "give an https:// URL without a user (http:// on loopback alone), or a file",
    );
  return url.href;
}

function readRate(environment: Environment, name: string, fallback: string): Rate | undefined {
  const text = environment.text(name, fallback);
  if (text === "none") return undefined;
  const [, perSecond = "", burst = perSecond] = /^(\d{1,7})(?::(\d{1,7}))?$/.exec(text) ?? [];
  const rate = { perSecond: Number(perSecond), burst: Number(burst) };
  if (rate.perSecond > 0 && rate.burst > 0) return rate;
  throw environment.refuse(name, 'give requests a second, and at once, as "1000:2000", or "none"');
}

function isProxy(proxy: string): proxy is string {
  const [address = "", bits, more] = proxy.split("/");
  const version = isIP(address);
  if (version === 0 || more !== undefined) return false;
  // /0 is everybody.
  return (
    bits === undefined || (/^[1-9]\d*$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
  );
}
