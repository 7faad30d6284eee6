import assert from "node:assert/strict";
import fc from "fast-check";
import pl from "nodejs-polars";
import {
  readInteger,
  readList,
  readStruct,
  thriftType,
  type ThriftValue,
  writeInteger,
  writeList,
  writeStruct,
} from "../../sources/thrift.ts";
import { runsOf } from "../support/property.ts";

const bytesOf = (min: number, max = min) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((bytes) => Buffer.from(bytes));

/** Values of every type, nested; those that are only skipped are encoded here, by the spec. */
const { value } = fc.letrec<{ value: ThriftValue; struct: ThriftValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(1, 2).map((type) => ({ type, bytes: Buffer.of() })),
    bytesOf(1).map((bytes) => ({ type: 3, bytes })),
    fc.integer().map(writeInteger),
    bytesOf(8).map((bytes) => ({ type: 7, bytes })),
    bytesOf(0, 100).map((text) => ({ type: 8, bytes: Buffer.from([text.length, ...text]) })),
    // A map of bytes to booleans, and a set of uuids.
    bytesOf(0, 5).map((keys) => ({
      type: 11,
      bytes: Buffer.from(
        keys.length === 0 ? [0] : [keys.length, 0x31, ...[...keys].flatMap((key) => [key, 1])],
      ),
    })),
    bytesOf(32).map((uuids) => ({ type: 10, bytes: Buffer.from([0x2d, ...uuids]) })),
    fc.array(tie("struct"), { maxLength: 20 }).map(writeList),
    tie("struct"),
  ),
  struct: fc
    .array(fc.tuple(fc.integer({ min: -32_768, max: 32_767 }), tie("value")), { maxLength: 8 })
    .map((fields) => writeStruct(new Map(fields))),
}));

const fieldsOf = fc
  .array(fc.tuple(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer()), value))
  .map((fields) => new Map(fields.map(([id, each]) => [id % 32_768, each] as const)));

describe("Thrift's compact protocol", () => {
  it("reads a struct as it was written", () => {
    fc.assert(
      fc.property(fieldsOf, bytesOf(0, 9), (fields, behind) => {
        const { type, bytes } = writeStruct(fields);
        assert.equal(type, thriftType.struct);
        assert.deepEqual(readStruct(Buffer.concat([bytes, behind])), fields);
      }),
      runsOf(100),
    );
  });

  it("reads a list of structs as it was written", () => {
    fc.assert(
      fc.property(fc.array(fieldsOf, { maxLength: 40 }), (structs) => {
        const read = readList(writeList(structs.map(writeStruct)));
        assert.deepEqual(
          read.map(({ bytes }) => readStruct(bytes)),
          structs,
        );
      }),
      runsOf(100),
    );
  });

  it("reads lists around the length from which it is written apart", () => {
    for (const length of [0, 14, 15, 16, 127, 128]) {
      const list = writeList(Array.from({ length }, () => writeStruct(new Map())));
      assert.equal(readList(list).length, length);
      assert.equal(list.bytes.length, length + (length < 15 ? 1 : length < 128 ? 2 : 3));
    }
  });

  it("reads integers exactly, and none that a double would round", () => {
    const limit = 2 ** 52 - 1;
    fc.assert(
      fc.property(fc.integer({ min: -limit, max: limit }), (n) => {
        assert.equal(readInteger(writeInteger(n)), n);
      }),
      runsOf(100),
    );
    assert.deepEqual([...writeInteger(-65).bytes], [0x81, 0x01]);
    const large = { type: thriftType.i64, bytes: Buffer.from([...Array<number>(9).fill(255), 1]) };
    assert.throws(() => readInteger(large), /too large/);
    assert.throws(() => readInteger({ type: 8, bytes: Buffer.of(0) }), /lacks a number/);
  });

  it("writes a footer back byte for byte", () => {
    const file = pl.DataFrame({ id: ["a", "b"], v: [[1], [2]] }).writeParquet();
    const footer = file.subarray(-8 - file.readUInt32LE(file.length - 8), -8);
    const fields = new Map(readStruct(footer));
    assert.deepEqual(writeStruct(fields).bytes, footer);
    fields.set(
      2,
      writeList(readList(fields.get(2)).map(({ bytes }) => writeStruct(readStruct(bytes)))),
    );
    assert.deepEqual(writeStruct(fields).bytes, footer);
  });

  it("refuses damaged bytes with an error, whatever they are", () => {
    const deep = Buffer.alloc(1_000_000, 0x1c);
    const sizes = [0xfc, 0xff, 0xff, 0xff, 0xff, 0x7f];
    const damaged: [Buffer, RegExp][] = [
      [deep, /nests too deep/],
      [Buffer.from([0x19, ...sizes]), /ends early/],
      [Buffer.from([0x19, 0xf3, ...sizes.slice(1)]), /ends early/],
      [Buffer.from([0x18, ...sizes.slice(1)]), /ends early/],
      [Buffer.from([0x16, ...Array<number>(11).fill(255)]), /more than 64 bits/],
      [Buffer.from([0x1e]), /unknown type/],
      [Buffer.of(), /ends early/],
    ];
    for (const [bytes, problem] of damaged) assert.throws(() => readStruct(bytes), problem);
    fc.assert(
      fc.property(fieldsOf, fc.nat(), fc.nat(255), (fields, at, byte) => {
        const { bytes } = writeStruct(fields);
        bytes[at % bytes.length] = byte;
        try {
          for (const each of readStruct(bytes).values())
            if (each.type === thriftType.list) readList(each);
        } catch (error) {
          assert.match((error as Error).message, /^its metadata/);
        }
      }),
      runsOf(100),
    );
  });
});
