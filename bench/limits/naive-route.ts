/**
 * How online features are served where nothing is made for it: Fastify, a hash for each entity, and
 * one HMGET for each in a pipeline. `node naive-route.js REDIS_URL`.
 */
import { fastify } from "fastify";
import { Redis } from "ioredis";

interface Body {
  readonly entities: readonly { readonly id: string }[];
}

const fields = Array.from({ length: 20 }, (_, i) => `f${i}`);
const redis = new Redis(process.argv[2] ?? "", { protocol: 2 });
const app = fastify();

app.post<{ Body: Body }>("/", async ({ body: { entities } }) => {
  const reads = entities.map(({ id }) => ["hmget", `hash:${id}`, ...fields]);
  const replies = (await redis.pipeline(reads).exec()) ?? [];
  const results = replies.map(([, values]) => toRecord(values as readonly string[]));
  return { results };
});

function toRecord(values: readonly string[]): Record<string, number> {
  const record: Record<string, number> = {};
  values.forEach((value, i) => (record[`f${i}`] = Number(value)));
  return record;
}

console.log(`listening on ${await app.listen({ host: "127.0.0.1", port: 0 })}`);
