/**
 * The limit of the HTTP service: a route that parses the same body, reads a value of the same size
 * for each entity (one GET, or one pipeline) and sends a fixed answer of as many bytes as the path
 * says. `node bare-route.js REDIS_URL`.
 */
import { fastify } from "fastify";
import { Redis } from "ioredis";

interface Body {
  readonly entities?: readonly { readonly id: string }[];
}

const redis = new Redis(process.argv[2] ?? "", { protocol: 2 });
const app = fastify();
const answers = new Map<string, string>();

app.post<{ Body: Body; Params: { bytes: string } }>("/:bytes", async (request, reply) => {
  const { entities = [] } = request.body;
  const [first] = entities;
  if (entities.length === 1 && first !== undefined) await redis.getBuffer(first.id);
  else if (entities.length > 1)
    await redis.pipeline(entities.map(({ id }) => ["getBuffer", id])).exec();
  return reply.type("application/json").send(answerOf(request.params.bytes));
});

function answerOf(bytes: string): string {
  let answer = answers.get(bytes);
  if (answer === undefined) {
    answer = JSON.stringify({ x: "x".repeat(Number(bytes) - '{"x":""}'.length) });
    answers.set(bytes, answer);
  }
  return answer;
}

console.log(`listening on ${await app.listen({ host: "127.0.0.1", port: 0 })}`);
