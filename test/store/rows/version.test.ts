import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { Redis } from "ioredis";
import { toInt64 } from "../../../engine/language/int64.ts";
import type { Version } from "../../../store/rows/version.ts";
import {
  compareVersions,
  decodeMark,
  decodeVersion,
  earliestEndMs,
  encodeMark,
  encodeVersion,
  latestEndMs,
  markBytes,
} from "../../../store/rows/version.ts";
import { runsOf } from "../../support/property.ts";
import type { TestRedis } from "../../support/redis/server.ts";
import { testRedis } from "../../support/redis/server.ts";

const int64Edges = [0n, 1n, -1n, 255n, 256n, -256n, 2n ** 31n, 2n ** 32n, -(2n ** 32n), 2n ** 53n];
const versions: fc.Arbitrary<Version> = fc.record({
  eventTimeUs: fc
    .oneof(
      fc.constantFrom(...int64Edges, 2n ** 63n - 1n, -(2n ** 63n)),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    )
    .map((exact) => toInt64(exact) ?? 0),
  endMs: fc.oneof(
    fc.constantFrom(0, 1, -1, 255, 256, -256, 2 ** 32, -(2 ** 32), earliestEndMs, latestEndMs),
    fc.integer({ min: earliestEndMs, max: latestEndMs }),
  ),
  generation: fc.oneof(
    fc.constantFrom(0, 1, 127, 128, 255, 256, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
    fc.nat(2 ** 31 - 1),
  ),
  ordinal: fc.oneof(
    fc.constantFrom(0, 1, 255, 256, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53 - 2),
    fc.maxSafeNat(),
  ),
});

/** Versions that often agree in their first fields, so that each field gets to decide. */
const pairs = fc.tuple(versions, versions, fc.nat(4)).map(([a, b, shared]): [Version, Version] => [
  a,
  {
    generation: shared > 0 ? a.generation : b.generation,
    endMs: shared > 1 ? a.endMs : b.endMs,
    eventTimeUs: shared > 2 ? a.eventTimeUs : b.eventTimeUs,
    ordinal: shared > 3 ? a.ordinal : b.ordinal,
  },
]);

describe("version", () => {
  let redis: TestRedis;
  let client: Redis;
  before(async () => {
    redis = await testRedis();
    client = new Redis(redis.url, { protocol: 2 });
  });
  after(async () => {
    await client.quit();
    await redis.stop();
  });

  it("is read back as it was written", () => {
    fc.assert(
      fc.property(versions, (version) => {
        assert.deepEqual(decodeVersion(encodeVersion(version)), { ...version });
      }),
      runsOf(100),
    );
  });

  it("orders its bytes as its integers", () => {
    fc.assert(
      fc.property(pairs, ([a, b]) => {
        const bytes = Buffer.compare(encodeVersion(a), encodeVersion(b));
        assert.equal(bytes, Math.sign(compareVersions(a, b)));
      }),
      runsOf(2000),
    );
  });

  it("is compared by the script as the integers are", async () => {
    // The script's own function, taken out of the file that runs in production.
    const lua = readFileSync(new URL("../../../store/lua/write_rows.lua", import.meta.url), "utf8");
    const newer = /^local function newer[\s\S]*?^end$/m.exec(lua)?.[0] ?? "";
    const script = `${newer}\nreturn newer(ARGV[1], ARGV[2]) and 1 or 0`;
    await fc.assert(
      fc.asyncProperty(pairs, async ([a, b]) => {
        const answer = await client.eval(script, 0, encodeVersion(a), encodeVersion(b));
        assert.equal(answer, compareVersions(a, b) > 0 ? 1 : 0);
      }),
      runsOf(1000),
    );
  });

  it("begins with its mark", () => {
    const mark = { endMs: Date.parse("9999-12-31T23:59:59.999Z"), generation: 7 };
    assert.deepEqual(decodeMark(encodeMark(mark)), mark);
    assert.equal(new Date(earliestEndMs).getUTCFullYear(), 1080);
    const version = encodeVersion({ ...mark, eventTimeUs: -1000, ordinal: 3 });
    assert.deepEqual(version.subarray(0, markBytes), encodeMark(mark));
  });

  it("refuses a field outside its range", () => {
    const version = { generation: 0, endMs: 0, eventTimeUs: 0, ordinal: 0 };
    const wrong = [
      { eventTimeUs: 2n ** 63n },
      { eventTimeUs: 0.5 },
      { generation: 2 ** 32 },
      { generation: -1 },
      { endMs: latestEndMs + 1 },
      { endMs: earliestEndMs - 1 },
      { endMs: 0.5 },
      { endMs: NaN },
      { ordinal: 2 ** 53 },
      { ordinal: -1 },
    ];
    for (const part of wrong)
      assert.throws(() => encodeVersion({ ...version, ...part }), { code: "VALUE_INVALID" });
  });
});
