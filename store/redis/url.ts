/** What a Redis URL says: one Redis, a Cluster, or a master that Sentinels know. */
import { OnceflowError } from "../../engine/errors.ts";

/** Where to connect to. URLs hold credentials, addresses (`host:port`) do not. */
export type RedisTarget =
  | { readonly kind: "one"; readonly url: string; readonly address: string }
  | ({ readonly kind: "cluster" } & ClusterTarget)
  | ({ readonly kind: "sentinel" } & SentinelTarget);

/** Where to find a Cluster. */
export interface ClusterTarget {
  /** `redis://` or `rediss://` with the credentials, to which an address is added. */
  readonly urlStart: string;
  /** `host:port` of nodes to begin with. */
  readonly seeds: readonly string[];
}

/** Where to ask for a master. */
export interface SentinelTarget {
  /** What the Sentinels call the master. */
  readonly name: string;
  /** `redis://` or `rediss://` with the credentials of the master, to which its address is added. */
  readonly urlStart: string;
  /** What comes after the address: the database number, if any. */
  readonly urlEnd: string;
  /** As `urlStart`, for the Sentinels. */
  readonly sentinelUrlStart: string;
  /** `host:port` of each. */
  readonly sentinels: readonly string[];
}

/** @throws CONFIG_INVALID, which shows no part of the URL, since it may hold a password */
export function parseRedisUrl(url: string): RedisTarget {
  const [, scheme = "", kind] = /^(rediss?)\+(cluster|sentinel):/i.exec(url) ?? [];
  const start = `${scheme.toLowerCase()}://`;
  if (kind?.toLowerCase() === "cluster") return clusterOf(url, start);
  if (kind?.toLowerCase() === "sentinel") return sentinelOf(url, start);
  return { kind: "one", url, address: addressOf(url) };
}

function clusterOf(url: string, start: string): RedisTarget {
  const [, credentials = "", hosts] = /^[^:]*:\/\/([^@/?#]*@)?([^@/?#]*)\/?$/.exec(url) ?? [];
  if (hosts === undefined)
    throw invalid(
      "is that of a Cluster, which has no database number and no options, and credentials before its first host alone (percent-encoded)",
    );
  const urlStart = start + credentials;
  return { kind: "cluster", urlStart, seeds: addressesOf(urlStart, hosts) };
}

const sentinelUrl =
  /^[^:]*:\/\/([^@/?#]*@)?([^@/?#]*)\/([^/?#@]+)(\/\d*)?(?:\?sentinel=([^@/?#&]*))?$/;

function sentinelOf(url: string, start: string): RedisTarget {
  const [, credentials = "", hosts, encodedName = "", urlEnd = "", asked] =
    sentinelUrl.exec(url) ?? [];
  if (hosts === undefined)
    throw invalid(
      "is that of Sentinels, which ends with the master's name, a database number if need be, and ?sentinel=user:password where the Sentinels ask for one, and has credentials before its first host alone (percent-encoded)",
    );
  const urlStart = start + credentials;
  const sentinelUrlStart = start + (asked === undefined ? "" : `${asked}@`);
  addressesOf(sentinelUrlStart, hosts);
  return {
    kind: "sentinel",
    name: decoded(encodedName, "a master's name"),
    urlStart,
    urlEnd,
    sentinelUrlStart,
    sentinels: addressesOf(urlStart, hosts, "26379"),
  };
}

function addressesOf(urlStart: string, hosts: string, port?: string): string[] {
  return hosts.split(",").map((host) => {
    // Each has a URL of its own, so each must be one.
    if (host === "") throw invalid("has a host that is empty");
    return addressOf(urlStart + host, port);
  });
}

/** The address in a plain URL. */
function addressOf(url: string, defaultPort = "6379"): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw invalid("cannot be parsed (percent-encode what a user or password holds of @ : / ? # %)");
  }
  const { protocol, hostname, port, pathname, search, username, password } = parsed;
  if (protocol !== "redis:" && protocol !== "rediss:") throw invalid(`begins with ${protocol}//`);
  if (!/^\/?\d*$/.test(pathname)) throw invalid("ends with a path that is no database number");
  // The client would take them for settings of its own, such as a prefix of keys or no check of TLS.
  if (search !== "") throw invalid("has options after a ?, of which there are none");
  decoded(username + password, "a user or password");
  return `${hostname || "localhost"}:${port || defaultPort}`;
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`has ${what} that is not percent-encoded (write % as %25)`);
  }
}

function invalid(why: string): OnceflowError {
  return new OnceflowError(
    "CONFIG_INVALID",
    `the Redis URL ${why}: write redis://host:port or rediss://user:password@host:port, ` +
      "redis+cluster://host:port,host:port for a Cluster, " +
      "or redis+sentinel://host:port,host:port/master-name for a master that Sentinels know.",
  );
}
