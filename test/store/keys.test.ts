import assert from "node:assert/strict";
import { createRequire } from "node:module";
import fc from "fast-check";
import { OnceflowError } from "../../engine/errors.ts";
import {
  bucketOf,
  decodeEntityKey,
  encodeEntityKey,
  hashKey,
} from "../../store/rows/entity-key.ts";
import { createKeys, parsePointerField, pointerFields } from "../../store/keys.ts";
import { runsOf } from "../support/property.ts";

// The hash slot function of the Redis client; the package has no types.
const hashSlotOf = createRequire(import.meta.url)("cluster-key-slot") as (key: string) => number;

const awkward = fc.constantFrom("", ":", "{", "}", "{}", "{a}", "\0", "a", "b:c", "a:b", "😀", "é");
const parts = fc.array(
  fc.oneof(awkward, fc.string({ unit: "binary", maxLength: 12 }), fc.constant("x".repeat(130))),
  { minLength: 1, maxLength: 3 },
);
const codeIs = (code: string) => (error: unknown) =>
  error instanceof OnceflowError && error.code === code;

describe("entity keys", () => {
  it("have one encoding per tuple, which no other tuple shares", () => {
    fc.assert(
      fc.property(parts, parts, (a, b) => {
        const same = a.length === b.length && a.every((text, i) => text === b[i]);
        assert.equal(encodeEntityKey(a).equals(encodeEntityKey(b)), same);
        assert.deepEqual(decodeEntityKey(encodeEntityKey(a)), a);
      }),
      runsOf(5000),
    );
    const split = (...texts: string[]) => encodeEntityKey(texts).toString("hex");
    const tuples = [
      ["a:b", "c"],
      ["a", "b:c"],
      ["a", "b", "c"],
      ["", "a:bc"],
      ["a:bc", ""],
    ];
    assert.equal(new Set(tuples.map((tuple) => split(...tuple))).size, tuples.length);
  });

  it("distinguish composed from decomposed text", () => {
    assert.ok(!encodeEntityKey(["é"]).equals(encodeEntityKey(["e\u0301"])));
  });

  it("are refused where ill-formed, empty or over 512 bytes", () => {
    assert.throws(() => encodeEntityKey(["\ud800"]), codeIs("VALUE_INVALID"));
    assert.throws(() => encodeEntityKey([]), codeIs("VALUE_INVALID"));
    assert.equal(encodeEntityKey(["a".repeat(512)]).length, 514);
    assert.throws(() => encodeEntityKey(["a".repeat(513)]), codeIs("ROW_TOO_LARGE"));
    assert.throws(() => encodeEntityKey(["é".repeat(257)]), codeIs("ROW_TOO_LARGE"));
    assert.throws(() => encodeEntityKey(["a".repeat(512), "b"]), codeIs("ROW_TOO_LARGE"));
  });

  it("fall for ever into the same buckets", () => {
    const vectors: [string[], number][] = [
      [[""], 0x0578ab1b],
      [["a"], 0x0b9608bd],
      [["1"], 0x0db7331d],
      [["a", "b"], 0xcdfb4e35],
      [["é😀"], 0x142067be],
    ];
    for (const [tuple, hash] of vectors) {
      assert.equal(hashKey(encodeEntityKey(tuple)), hash, JSON.stringify(tuple));
      assert.equal(bucketOf(encodeEntityKey(tuple), 1000), hash % 1000);
    }
  });

  it("spread evenly over buckets, counted numbers too", () => {
    const counts = new Uint32Array(1024);
    for (let i = 0; i < 102_400; i++) {
      const bucket = bucketOf(encodeEntityKey([`${i}`]), counts.length);
      counts[bucket] = (counts[bucket] as number) + 1;
    }
    // 100 on average; the chance of a bucket beyond ±60 is below one in a million.
    assert.ok(Math.max(...counts) < 160 && Math.min(...counts) > 40);
  });
});

describe("key names", () => {
  it("have a hash slot that our tag alone decides", () => {
    const keys = createKeys("p:a-b_1");
    const ledger = [
      keys.pointers("users"),
      keys.snapshots("users"),
      keys.coverage("users", "ab"),
      keys.generations("users", "cd"),
      keys.begun("users", "cd"),
      keys.states("users", "ef"),
      keys.runs("users"),
    ];
    assert.deepEqual(new Set(ledger.map(hashSlotOf)), new Set([hashSlotOf("users")]));
    const shard = hashSlotOf("users/ab:7");
    assert.equal(hashSlotOf(keys.bucket("users", "ab", 7, 900)), shard);
    assert.equal(hashSlotOf(keys.shard("users", "ab", 7)), shard);
    assert.equal(new Set(ledger).size, ledger.length);
  });

  it("are read back as they were made, and as nothing where they were not", () => {
    const keys = createKeys("p:a-b_1");
    const ledger = (key: string) => keys.parseLedgerKey("users", key);
    assert.deepEqual(
      [keys.coverage, keys.generations, keys.begun, keys.states, keys.outcomes].map((of) =>
        ledger(of("users", "ab")),
      ),
      [
        { kind: "coverage", keptBy: "storage", fingerprint: "ab" },
        { kind: "generations", keptBy: "always", fingerprint: "ab" },
        { kind: "begun", keptBy: "storage", fingerprint: "ab" },
        { kind: "states", keptBy: "aggregate", fingerprint: "ab" },
        { kind: "outcomes", keptBy: "storage", fingerprint: "ab" },
      ],
    );
    assert.deepEqual(
      [keys.pointers, keys.snapshots, keys.runs].map((of) => ledger(of("users"))),
      [
        { kind: "pointers", keptBy: "always", fingerprint: "" },
        { kind: "snapshots", keptBy: "view", fingerprint: "" },
        { kind: "runs", keptBy: "view", fingerprint: "" },
      ],
    );
    const { revision, table, published, publishing, latest } = pointerFields;
    const fields = [revision, table("ab"), published("ab"), publishing("ab"), latest("cd")];
    assert.deepEqual(fields.map(parsePointerField), [
      { kind: "revision", keptBy: "always", fingerprint: "" },
      { kind: "table", keptBy: "storage", fingerprint: "ab" },
      { kind: "published", keptBy: "storage", fingerprint: "ab" },
      { kind: "publishing", keptBy: "always", fingerprint: "ab" },
      { kind: "latest", keptBy: "aggregateSet", fingerprint: "cd" },
    ]);
    const entities = { kind: "entities", keptBy: "storage", fingerprint: "ab" };
    const [shard, bucket] = [keys.shard("users", "ab", 3), keys.bucket("users", "ab", 3, 7)];
    assert.deepEqual(
      [shard, bucket].map((key) => keys.parseTableKey("users", key)),
      [entities, entities],
    );
    assert.equal(keys.viewOfPointers(keys.pointers("users")), "users");

    for (const kind of ["tiles:ab", "coverage", "coverage:xy", "coverage:ab:1", "runs:ab", ""])
      assert.equal(ledger(`p:a-b_1:{users}:${kind}`), undefined, kind);
    assert.equal(ledger(keys.coverage("others", "ab")), undefined);
    for (const field of ["tiles:ab", "table", "table:ab:1", "revision:ab", "constructor"])
      assert.equal(parsePointerField(field), undefined, field);
    for (const key of [
      shard.replace("entities", "tiles"),
      `${bucket}x`,
      keys.shard("others", "ab", 3),
    ])
      assert.equal(keys.parseTableKey("users", key), undefined, key);
    assert.equal(keys.viewOfPointers(keys.runs("users")), undefined);
  });

  it("of the layout before publishes are read back, so that a sweep finds them", () => {
    const keys = createKeys("p");
    const older = { keptBy: "olderLayout", fingerprint: "ab" };
    assert.deepEqual(["namespace:ab", "head:ab"].map(parsePointerField), [
      { kind: "namespace", ...older },
      { kind: "head", ...older },
    ]);
    const rows = ["p:rows:{users/ab:3}", "p:rows:{users/ab:3}:7"];
    for (const key of rows)
      assert.deepEqual(keys.parseTableKey("users", key), { kind: "rows", ...older }, key);
    assert.deepEqual(keys.everyTableKey("users"), ["p:entities:{users/*", "p:rows:{users/*"]);
  });

  it("refuse a prefix that could move a slot or match other keys", () => {
    for (const prefix of ["", "a{b", "A", "a*", "a b", "a\n"])
      assert.throws(() => createKeys(prefix), codeIs("CONFIG_INVALID"), prefix);
  });
});
