/** Replies that are lists of fields and values. */
import type { RedisCommand, RedisReply } from "./types.ts";

/** Asks for a whole hash as such a list: of `hgetall` in lower case the client makes an object. */
export function wholeHash(key: string): RedisCommand {
  return ["HGETALL", key];
}

/** The fields and values of a hash that arrived as a flat list. */
export function pairsOf(reply: RedisReply | undefined): [field: string, value: Buffer][] {
  const flat = Array.isArray(reply) ? (reply as readonly Buffer[]) : [];
  const pairs: [string, Buffer][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2)
    pairs.push([(flat[i] as Buffer).toString("utf8"), flat[i + 1] as Buffer]);
  return pairs;
}
