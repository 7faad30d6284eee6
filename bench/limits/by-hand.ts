/**
 * `model_x` by hand, with a key, a rate, metrics, and of each value a status, time and age; without
 * checks of the body, TTL, deadline or limit on load. `node by-hand.js REDIS_URL API_KEY`.
 */
import { hash, timingSafeEqual } from "node:crypto";
import { fastify } from "fastify";
import { Redis } from "ioredis";
import { modelX } from "./model-x.ts";
type Body = { entities?: { id: string }[]; inputs?: Record<string, number> };
const columns = ["month_of_absence", "pet", "son", "day_of_the_week", "age"];
const names = Array.from({ length: 9 }, (_, i) => `feature_number_${i}`);
const redis = new Redis(process.argv[2] ?? "", { protocol: 2 });
const digest = Buffer.from(hash("sha256", process.argv[3] ?? ""));
const [seen, spent] = [new Map<string, number>(), { ms: 0 }];
const app = fastify();
app.addHook("onRequest", (request, reply, done) => {
  const startedMs = performance.now();
  const [, key = ""] = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "") ?? [];
  if (!timingSafeEqual(Buffer.from(hash("sha256", key)), digest)) return done(new Error("key"));
  seen.set(key, Math.max(seen.get(key) ?? 0, startedMs) + 0.001);
  reply.headers({ "cache-control": "no-store", "x-request-id": request.id });
  reply.raw.once("close", () => (spent.ms += performance.now() - startedMs));
  done();
});
app.post<{ Body: Body }>("/", async ({ body: { entities, inputs } }, reply) => {
  const [entity] = entities ?? [];
  const read = entity && (await redis.hmget(`hash:${entity.id}`, "f1", "f2", "f3", "f4", "f5"));
  const numberOf = (name: string, i: number) => Number(read?.[i] ?? inputs?.[name]);
  const [month = 0, pet = 0, son = 0, day = 0, age = 0] = columns.map(numberOf);
  const values = modelX({ month, pet, son, day, age, mean: 36.5, std: 6.5 });
  const [features, statuses, event_times, ages] = [{}, {}, {}, {}] as Record<string, unknown>[];
  for (const [i, name] of names.entries()) {
    [features![name], statuses![name]] = [values[i], "PRESENT"];
    event_times![name] = entity ? "2026-01-01T00:00:00Z" : null;
    ages![name] = entity ? Date.now() / 1000 - 1.767e9 : null;
  }
  const text = JSON.stringify({ results: [{ entity, features, statuses, event_times, ages }] });
  return reply.type("application/json").send(text);
});
console.log(`listening on ${await app.listen({ host: "127.0.0.1", port: 0 })}`);
