/** Requests that are nearly right, from a seed, and what no answer to them may be. */
import assert from "node:assert/strict";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import { seeded } from "../../../dev/seeded.ts";

const words = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "valueOf",
  "then",
  "",
  " ",
  "\0",
  "\u2028",
  "\ud800",
  "\ufeff",
  "é",
  "e\u0301",
  "😀",
  "../../etc/passwd",
  "%00",
  "${7*7}",
  "{{7*7}}",
  "<script>alert(1)</script>",
  "'; DROP TABLE x; --",
  "$(id)",
  "`id`",
  "features",
  "service",
  "entities",
  "inputs",
  "snapshots",
  "max_age",
  "form",
  "columns",
  "model_x",
  "presence",
  "absences",
  "badges",
  "has_pet",
  "age_mean",
  "absences.age",
  "age",
  "NaN",
  "Infinity",
  "-0",
  "1e999",
  "9223372036854775808",
  "2026-13-45",
  "null",
  "*",
  "{a}",
  "a".repeat(257),
  "x".repeat(513),
  "[".repeat(40),
];
const numbers = [
  0,
  -0,
  1,
  -1,
  1.5,
  11,
  1e21,
  -1e-7,
  1e308,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  2 ** 53 + 2,
  2 ** 63,
  -(2 ** 63),
  Number.MIN_VALUE,
  4096,
  65_536,
];

/** Makes mutants of requests: of their JSON, of its bytes, of what stands around it. */
function createMutator(seed: number, valid: readonly object[]) {
  const random = seeded(seed);
  const below = (count: number) => Math.floor(random() * count);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const any = (): unknown =>
    pick<() => unknown>([
      () => pick(words),
      () => pick(numbers),
      () => pick([true, false, null]),
      () => Array.from({ length: below(4) }, any),
      () => Object.fromEntries(Array.from({ length: below(3) }, () => [pick(words), any()])),
      () => Array<unknown>(below(3) === 0 ? 1001 : 33).fill(pick([1, "a", {}, null])),
    ])();

  /** A copy with one place of it changed. */
  function change(json: unknown): unknown {
    if (typeof json !== "object" || json === null || random() < 0.15) return any();
    if (Array.isArray(json)) {
      const list = [...(json as unknown[])];
      const at = below(list.length + 1);
      if (random() < 0.2) list.splice(at, 0, any());
      else if (random() < 0.2) list.splice(at, 1);
      else if (at < list.length) list[at] = change(list[at]);
      return list;
    }
    const members = Object.entries(json) as [string, unknown][];
    const at = below(members.length + 1);
    const [name, value] = members[at] ?? [pick(words), any()];
    if (random() < 0.2) members.splice(at, 1);
    else if (random() < 0.2) members.splice(at, 1, [pick(words), value]);
    else members.splice(at, 1, [name, change(value)]);
    return Object.fromEntries(members);
  }

  function changeBytes(bytes: Buffer): Buffer {
    const at = below(bytes.length + 1);
    const rest = bytes.subarray(at);
    const noise = Buffer.from(Array.from({ length: 1 + below(8) }, () => below(256)));
    return pick([
      () => Buffer.concat([bytes.subarray(0, at), noise, rest]),
      () => Buffer.concat([bytes.subarray(0, at), rest.subarray(1 + below(5))]),
      () => bytes.subarray(0, at),
      () => Buffer.concat([bytes, bytes]),
      () =>
        Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from(pick(['"', "{", "]", ",", ":", "\\", "\\u"])),
          rest,
        ]),
      () => Buffer.from(bytes.toString().replace(/"(\w+)":/, '"$1":1,"$1":')),
      () =>
        Buffer.from(
          bytes.toString().replace(/-?\d+/, pick(["1e999", "-0", "0x1", "01", "1".repeat(400)])),
        ),
    ])();
  }

  return (key: string): InjectOptions => {
    let json: unknown = pick(valid);
    for (let times = below(4); times > 0; times--) json = change(json);
    let payload: Buffer = Buffer.from(JSON.stringify(json) ?? "");
    while (random() < 0.3) payload = changeBytes(payload);
    const isOdd = random() < 0.2;
    const segment = encodeURIComponent(pick(words).replaceAll(/[\ud800-\udfff]/g, ""));
    const url = isOdd
      ? pick([
          "/v1/features",
          "/v1/services",
          `/v1/services/${segment}`,
          `/v1/${segment}`,
          `/v1/features?${segment}=${segment}`,
          "/v1/services/%",
          "//v1//features",
          "/openapi.json",
          "/readyz",
        ])
      : "/v1/features";
    const headers: Record<string, string> = {
      "content-type": isOdd
        ? pick(["application/json", "text/plain", "application/json; charset=utf-16", "a/b", "x"])
        : "application/json",
      authorization:
        random() < 0.05
          ? pick(["", "Bearer", `Bearer ${key}x`, `Basic ${key}`, "x"])
          : `Bearer ${key}`,
      ...(random() < 0.02 ? { "content-encoding": pick(["gzip", "identity", "x"]) } : {}),
      ...(random() < 0.02
        ? { "x-forwarded-for": pick(words).replaceAll(/[^\x20-\x7e]/g, "") }
        : {}),
    };
    const method = isOdd ? pick(["GET", "POST", "PUT", "DELETE", "OPTIONS"] as const) : "POST";
    return method === "GET" ? { method, url, headers } : { method, url, headers, payload };
  };
}

/** The names of what every object and list inherits. */
const inherited = () =>
  [Object.prototype, Array.prototype, Function.prototype]
    .flatMap((prototype) => Reflect.ownKeys(prototype).map(String))
    .join();

/**
 * Sends mutants one after another, and asserts of each answer that it is planned: no 5xx, within 2
 * seconds, a problem document where it is none, without stack, path or secret.
 *
 * @returns how many answers had each status
 */
export async function fuzz(
  app: FastifyInstance,
  options: {
    readonly seed: number;
    readonly count: number;
    readonly valid: readonly object[];
    /** Keys with which requests are sent, in turn. */
    readonly keys: readonly string[];
    /** What no answer may hold. */
    readonly secrets: readonly string[];
  },
): Promise<ReadonlyMap<number, number>> {
  const { seed, count, valid, keys, secrets } = options;
  const mutate = createMutator(seed, valid);
  const before = inherited();
  const counts = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const request = mutate(keys[i % keys.length] ?? "");
    const shown = () => `seed ${seed}, mutant ${i}: ${describe(request)}`;
    const { response, tookMs } = await send(app, request);
    const { statusCode, body, headers } = response;
    assert.ok(tookMs < 2_000, `${shown()} took ${tookMs} ms`);
    assert.ok(statusCode < 500, `${shown()} → ${statusCode} ${body.slice(0, 500)}`);
    assert.doesNotMatch(
      body,
      /\n\s+at |\.ts:\d|node_modules|file:\/\/|\/(?:home|root|tmp|work)\//,
      shown(),
    );
    for (const secret of secrets) assert.ok(!body.includes(secret), shown());
    if (statusCode >= 400) {
      assert.equal(headers["content-type"], "application/problem+json; charset=utf-8", shown());
      assert.equal(response.json<{ status: number }>().status, statusCode, shown());
    }
    counts.set(statusCode, (counts.get(statusCode) ?? 0) + 1);
  }
  assert.equal(inherited(), before, `seed ${seed}: a prototype is another than before`);
  assert.equal(Object.keys(Object.prototype).length, 0);
  return counts;
}

/** Sends a request; once more where the machine, or Redis on it, paused for a while. */
async function send(
  app: FastifyInstance,
  request: InjectOptions,
  again = true,
): Promise<{ readonly response: LightMyRequestResponse; readonly tookMs: number }> {
  const startMs = performance.now();
  const response = await app.inject(request);
  const tookMs = performance.now() - startMs;
  const paused = tookMs >= 2_000 || response.body.includes('"code":"STORE_UNAVAILABLE"');
  return paused && again ? send(app, request, false) : { response, tookMs };
}

function describe({ method, url, payload }: InjectOptions): string {
  const text = Buffer.isBuffer(payload) ? payload.toString("latin1") : "";
  return `${method} ${JSON.stringify(url)} ${JSON.stringify(text.slice(0, 2_000))}`;
}
