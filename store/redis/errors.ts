/** What each failure of Redis means: a table from its text to an error code and a fix. */
import type { ErrorCode } from "../../engine/errors.ts";
import { messageOf, OnceflowError } from "../../engine/errors.ts";

interface Meaning {
  readonly pattern: RegExp;
  readonly code: ErrorCode;
  readonly fix: string;
}

const unavailable = (pattern: RegExp, fix: string): Meaning => ({
  pattern,
  code: "STORE_UNAVAILABLE",
  fix,
});
const misconfigured = (pattern: RegExp, fix: string): Meaning => ({
  pattern,
  code: "CONFIG_INVALID",
  fix,
});

/**
 * Read from the top; the first row that matches holds. An error that a script raises carries the
 * error of its command inside, so patterns look anywhere in the text.
 */
const redisErrorTable: readonly Meaning[] = [
  {
    pattern: /\bOOM\b/,
    code: "STORE_FULL",
    fix: "Raise maxmemory, or free memory; then the write may be repeated.",
  },
  misconfigured(/\bNOAUTH\b/, "Give the password in REDIS_URL, as redis://user:password@host."),
  misconfigured(/\bWRONGPASS\b|invalid password/, "Correct the user or password in REDIS_URL."),
  misconfigured(/\bNOPERM\b/, "Grant the Redis user the commands and keys that onceflow uses."),
  misconfigured(/DB index is out of range/, "Correct the database number that ends REDIS_URL."),
  misconfigured(/unknown command.*sentinel/i, "It is no Sentinel: write redis://host:port."),
  misconfigured(/No such master/, "Correct the name of the master that ends REDIS_URL."),
  misconfigured(/unknown command/i, "Use Redis 6.2 or later, and rename none of its commands."),
  misconfigured(
    /^(CROSSSLOT|MOVED|ASK)\b|in cluster mode/,
    "It is a node of a Cluster: write REDIS_URL as redis+cluster://host:port,host:port.",
  ),
  misconfigured(
    /cluster support disabled/,
    "It is no Cluster: write REDIS_URL as redis://host:port.",
  ),
  unavailable(/\bLOADING\b/, "It reads its data set; wait until it has."),
  unavailable(/\bREADONLY\b/, "It is a replica; give the URL of the master."),
  unavailable(/\bMASTERDOWN\b/, "It is a replica without its master; start the master."),
  unavailable(/\bCLUSTERDOWN\b|\bTRYAGAIN\b/, "The Cluster is moving or down; wait for it."),
  unavailable(/\bMISCONF\b/, "It cannot save to disk and refuses writes; free disk space."),
  unavailable(/\bNOREPLICAS\b/, "It has too few replicas for writes; start them."),
  unavailable(/\bBUSY\b/, "A script blocks it; wait, or stop that script with SCRIPT KILL."),
  unavailable(/max number of clients/, "It has no connection left; raise maxclients."),
  unavailable(
    /Command timed out|Socket timeout|ETIMEDOUT|ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|max retries per request|Connection is closed|isn't writeable|aborted due to connection close/,
    "Start it, or correct REDIS_URL.",
  ),
];

/** A thrown thing as an `OnceflowError`; `address` is host and port, never a URL with a password. */
export function mapRedisError(
  thrown: unknown,
  address: string,
  command: string,
  connectionFailure?: Error,
): OnceflowError {
  if (thrown instanceof OnceflowError) return thrown;
  const text = messageOf(thrown);
  let { code, fix } = meaningOf(text);
  let reason = text;
  // A command that found no connection says nothing of why; the connection's own failure does.
  if (code === "STORE_UNAVAILABLE" && connectionFailure !== undefined) {
    reason = connectionFailure.message;
    const meaning = meaningOf(reason);
    if (meaning.code !== "INTERNAL") ({ code, fix } = meaning);
  }
  return new OnceflowError(
    code,
    `Redis at ${address} failed at ${command}: ${reason.trim().replace(/\.$/, "")}. ${fix}`,
    { address, command },
    // Only the text: the client's own errors carry the command's arguments, a password among them.
    new Error(text),
  );
}

function meaningOf(text: string): Pick<Meaning, "code" | "fix"> {
  return (
    redisErrorTable.find(({ pattern }) => pattern.test(text)) ?? {
      code: "INTERNAL",
      fix: "Look for this text in the manual of Redis.",
    }
  );
}
