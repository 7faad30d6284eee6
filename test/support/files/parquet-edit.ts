/** Parquet files whose footer says something else. */
import {
  readInteger,
  readList,
  readStruct,
  type ThriftValue,
  writeInteger,
  writeList,
  writeStruct,
} from "../../../sources/thrift.ts";

/** Where a value is in a footer: ids of fields, and places in lists. */
export type FooterPath = readonly number[];

/** A file with a value of its footer replaced, or removed where `change` gives undefined. */
export function editFooter(
  file: Buffer,
  path: FooterPath,
  change: (value: ThriftValue) => ThriftValue | undefined,
): Buffer {
  const { data, footer } = partsOf(file);
  const { bytes } = edit(footer, path, change) ?? { bytes: Buffer.of(0) };
  if (bytes.equals(footer.bytes)) throw new Error(`nothing changed at ${path.join(".")}`);
  return joinParts(data, bytes);
}

/** A file whose data begins `shift` bytes further on: its bytes up to there are to be put before it. */
export function shiftData(file: Buffer, shift: number): Buffer {
  const { data, footer } = partsOf(file);
  const move = (value: ThriftValue) => writeInteger(readInteger(value) + shift);
  let moved = footer;
  const groups = readList(readStruct(footer.bytes).get(4));
  for (const [g, group] of groups.entries())
    for (const c of readList(readStruct(group.bytes).get(1)).keys())
      for (const field of [9, 11]) moved = edit(moved, [4, g, 1, c, 3, field], move) ?? moved;
  return joinParts(data, moved.bytes);
}

function partsOf(file: Buffer): { data: Buffer; footer: ThriftValue } {
  const end = file.length - 8;
  const start = end - file.readUInt32LE(end);
  return { data: file.subarray(0, start), footer: { type: 12, bytes: file.subarray(start, end) } };
}

function joinParts(data: Buffer, footer: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  return Buffer.concat([data, footer, length, Buffer.from("PAR1")]);
}

function edit(
  value: ThriftValue,
  [first, ...rest]: FooterPath,
  change: (value: ThriftValue) => ThriftValue | undefined,
): ThriftValue | undefined {
  if (first === undefined) return change(value);
  if (value.type === 9) {
    const elements = readList(value);
    return writeList(elements.flatMap((e, i) => (i === first ? (edit(e, rest, change) ?? []) : e)));
  }
  const fields = new Map(readStruct(value.bytes));
  const field = fields.get(first);
  if (field === undefined) return value;
  const changed = edit(field, rest, change);
  if (changed === undefined) fields.delete(first);
  else fields.set(first, changed);
  return writeStruct(fields);
}
