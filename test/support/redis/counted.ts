/** Connections that tell of their round trips. */
import type { RedisConnection } from "../../../store/redis/types.ts";

/** The same connection; tells of each round trip. */
export function counted(redis: RedisConnection, onTrip: () => void): RedisConnection {
  return {
    ...redis,
    send: (command) => {
      onTrip();
      return redis.send(command);
    },
    pipeline: (commands) => {
      if (commands.length > 0) onTrip();
      return redis.pipeline(commands);
    },
  };
}
