/**
 * The columns that the footer of a parquet file describes, and their types as we name them.
 *
 * A decoder sees only columns whose type it decodes as a dtype of ours: it refuses a whole file, or
 * panics, over a type that it does not know.
 *
 * Spec: https://github.com/apache/parquet-format/blob/master/LogicalTypes.md
 */
import {
  readInteger,
  readList,
  readStruct,
  readText,
  type ThriftStruct,
  type ThriftValue,
  thriftType,
  writeInt32,
  writeStruct,
  writeText,
} from "./thrift.ts";

/** A top-level column: the part of the schema below it, in preorder. */
export interface ParquetColumn {
  readonly name: string;
  /** Its own element, then those below it. */
  readonly elements: readonly ThriftValue[];
  /** The places of its column chunks in a row group. */
  readonly leaves: readonly number[];
}

/** A schema: what its root says, and the columns below it. */
export interface ParquetSchema {
  readonly root: ThriftStruct;
  readonly columns: readonly ParquetColumn[];
  /** Column chunks of a row group. */
  readonly leafCount: number;
}

/** Ids of the fields of a schema element. */
const field = {
  type: 1,
  length: 2,
  repetition: 3,
  name: 4,
  children: 5,
  converted: 6,
  scale: 7,
  precision: 8,
  logical: 10,
} as const;

/** How the format numbers what it stores values as. */
const physicalTypes = [
  "BOOLEAN",
  "INT32",
  "INT64",
  "INT96",
  "FLOAT",
  "DOUBLE",
  "BYTE_ARRAY",
  "FIXED_LEN_BYTE_ARRAY",
];

const required = 0;
const repeated = 2;

/** How older writers number what is written here. */
const convertedType = { text: 0, list: 3 } as const;

/** What integers of fewer than 32 bits hold, by the type that their column says. */
export const smallIntegers: ReadonlyMap<string, { readonly min: number; readonly max: number }> =
  new Map([
    ["Int8", { min: -128, max: 127 }],
    ["Int16", { min: -32_768, max: 32_767 }],
    ["UInt8", { min: 0, max: 255 }],
    ["UInt16", { min: 0, max: 65_535 }],
  ]);

/** What INT96 is described as: a time of day in ns and a day, far beyond the ns of 64 bits. */
export const int96 = "Datetime(INT96)";

/**
 * Reads the schema: a tree in preorder, whose leaves below each child of its root are that column's.
 *
 * @throws Error where it is no tree
 */
export function readSchema(schema: ThriftValue | undefined): ParquetSchema {
  const [root, ...elements] = readList(schema);
  const columns: ParquetColumn[] = [];
  let leafCount = 0;
  for (let at = 0; at < elements.length;) {
    const start = at;
    const leaves: number[] = [];
    // Elements that the column still has to come.
    for (let pending = 1; pending > 0; at++) {
      const element = elements[at];
      if (element === undefined) throw new Error("its schema is no tree");
      const children = readNumber(readStruct(element.bytes), field.children) ?? 0;
      if (children < 0) throw new Error("its metadata holds a negative size");
      pending += children - 1;
      if (children === 0) leaves.push(leafCount++);
    }
    const name = readText(readStruct(elements[start]?.bytes ?? Buffer.of()).get(field.name)) ?? "";
    columns.push({ name, elements: elements.slice(start, at), leaves });
  }
  if (root === undefined) throw new Error("its schema is no tree");
  return { root: readStruct(root.bytes), columns, leafCount };
}

/** Some columns of a schema, by names of ours: the place of each in it. */
export function selectColumns(
  schema: ParquetSchema,
  places: ReadonlyMap<string, number>,
): ParquetSchema {
  const inOrder = [...places].sort(([, a], [, b]) => a - b);
  const columns = inOrder.flatMap(([name, place]) => {
    const column = schema.columns[place];
    return column === undefined ? [] : [rename(column, name)];
  });
  return { ...schema, columns };
}

function rename({ elements, leaves }: ParquetColumn, name: string): ParquetColumn {
  const [first, ...below] = elements;
  const element = new Map(readStruct(first?.bytes ?? Buffer.of()));
  element.set(field.name, writeText(name));
  return { name, elements: [writeStruct(element), ...below], leaves };
}

/** The elements of a schema of some of the columns, as a decoder is to see them. */
export function writeSchema(
  { root }: ParquetSchema,
  columns: readonly ParquetColumn[],
): ThriftValue[] {
  const name = root.get(field.name);
  const counted = new Map<number, ThriftValue>([[field.children, writeInt32(columns.length)]]);
  if (name !== undefined) counted.set(field.name, name);
  return [writeStruct(counted), ...columns.flatMap(plainElements)];
}

/**
 * An ENUM is its text, an instant is a count, and a small integer is one of 32 bits: a decoder that
 * knows neither ENUM nor a column's zone reads them, and cuts no integer that has more bits than its
 * column says. A repeated value is written as the list that it is.
 */
function plainElements({ elements }: ParquetColumn): readonly ThriftValue[] {
  const [first] = elements;
  if (first === undefined || elements.length > 1) return elements;
  const element = readStruct(first.bytes);
  if (isRepeated(element)) return listElements(element);
  const { kind, unit, detail } = annotationOf(element);
  const plain = new Map(element);
  if (kind === "ENUM") {
    plain.delete(field.logical);
    return [writeStruct(plain.set(field.converted, writeInt32(convertedType.text)))];
  }
  if (detail !== undefined && smallIntegers.has(detail)) {
    plain.delete(field.logical);
    plain.delete(field.converted);
    return [writeStruct(plain)];
  }
  const unitField = units.indexOf(unit ?? "");
  if (kind !== "TIMESTAMP" || unitField === -1) return elements;
  plain.delete(field.converted);
  const empty = writeStruct(new Map());
  const time = new Map([
    [1, { type: thriftType.false, bytes: Buffer.of() }],
    [2, writeStruct(new Map([[unitField, empty]]))],
  ]);
  return [writeStruct(plain.set(field.logical, writeStruct(new Map([[8, writeStruct(time)]]))))];
}

/** A column whose leaf is repeated, in the three levels of lists: the bytes of both are the same. */
function listElements(leaf: ThriftStruct): ThriftValue[] {
  const group = (name: ThriftValue | undefined, repetition: number) =>
    new Map<number, ThriftValue>([
      [field.repetition, writeInt32(repetition)],
      [field.name, name ?? writeText("")],
      [field.children, writeInt32(1)],
    ]);
  const list = group(leaf.get(field.name), required).set(
    field.converted,
    writeInt32(convertedType.list),
  );
  const element = new Map(leaf)
    .set(field.repetition, writeInt32(required))
    .set(field.name, writeText("element"));
  return [writeStruct(list), writeStruct(group(writeText("list"), repeated)), writeStruct(element)];
}

/**
 * How people read the type of a column: `Int64`, `Datetime(us, UTC)`, `List(Float64)` where a source
 * can hold it as polars names it, else as the format does: `UUID`, `Binary`, `Struct`.
 */
export function describeColumn({ elements }: ParquetColumn): string {
  const [first, second, third] = elements.slice(0, 3).map(({ bytes }) => readStruct(bytes));
  if (first === undefined) return "none";
  const { kind } = annotationOf(first);
  if (elements.length === 1) {
    const leaf = describeLeaf(first);
    return isRepeated(first) ? `List(${leaf})` : leaf;
  }
  if (kind !== "LIST") return kind === "" ? "Struct" : titled(kind);
  const leaf = elements.length === 2 ? second : elements.length === 3 ? third : undefined;
  return leaf === undefined ? "List(nested)" : `List(${describeLeaf(leaf)})`;
}

function isRepeated(element: ThriftStruct): boolean {
  return readNumber(element, field.repetition) === repeated;
}

function describeLeaf(element: ThriftStruct): string {
  const number = readNumber(element, field.type) ?? -1;
  const physical = physicalTypes[number] ?? `type ${number}`;
  const { kind, unit, detail } = annotationOf(element);
  switch (`${physical} ${kind}`) {
    case "BOOLEAN ":
      return "Bool";
    case "INT32 ":
      return "Int32";
    case "INT64 ":
      return "Int64";
    case "FLOAT ":
      return "Float32";
    case "DOUBLE ":
      return "Float64";
    case "BYTE_ARRAY ":
      return "Binary";
    case "FIXED_LEN_BYTE_ARRAY ":
      return `Binary(${readNumber(element, field.length) ?? 0})`;
    case "INT96 ":
    case "INT96 TIMESTAMP":
      return int96;
    case "BYTE_ARRAY STRING":
      return "String";
    case "BYTE_ARRAY ENUM":
      return "Categorical";
    case "INT32 INTEGER":
    case "INT64 INTEGER":
      return detail ?? titled(kind);
    case "INT64 TIMESTAMP":
      return unit === undefined ? "Datetime" : `Datetime(${unit}${detail ?? ""})`;
    default:
      if (kind === "DECIMAL") return `Decimal(${precisionOf(element).join(", ")})`;
      return kind === "" ? physical : titled(kind);
  }
}

function precisionOf(element: ThriftStruct): number[] {
  return [readNumber(element, field.precision) ?? 0, readNumber(element, field.scale) ?? 0];
}

/** What a schema element says of its values beside how they are stored. */
interface Annotation {
  /** As the format names it; "" where there is none. */
  readonly kind: string;
  /** Of a time. */
  readonly unit?: string | undefined;
  readonly detail?: string | undefined;
}

const units = ["", "ms", "us", "ns"];

/** The logical types by their number in the format's union. */
const logicalTypes = [
  "",
  "STRING",
  "MAP",
  "LIST",
  "ENUM",
  "DECIMAL",
  "DATE",
  "TIME",
  "TIMESTAMP",
  "",
  "INTEGER",
  "NULL",
  "JSON",
  "BSON",
  "UUID",
  "FLOAT16",
  "VARIANT",
  "GEOMETRY",
  "GEOGRAPHY",
];

const utc = ", UTC";

/** What older writers say instead, by number. */
const convertedTypes: readonly Annotation[] = [
  { kind: "STRING" },
  { kind: "MAP" },
  { kind: "MAP" },
  { kind: "LIST" },
  { kind: "ENUM" },
  { kind: "DECIMAL" },
  { kind: "DATE" },
  { kind: "TIME" },
  { kind: "TIME" },
  { kind: "TIMESTAMP", unit: "ms", detail: utc },
  { kind: "TIMESTAMP", unit: "us", detail: utc },
  ...["UInt8", "UInt16", "UInt32", "UInt64", "Int8", "Int16", "Int32", "Int64"].map((detail) => ({
    kind: "INTEGER",
    detail,
  })),
  { kind: "JSON" },
  { kind: "BSON" },
  { kind: "INTERVAL" },
];

function annotationOf(element: ThriftStruct): Annotation {
  const logical = element.get(field.logical);
  const [entry] = logical === undefined ? [] : readStruct(logical.bytes);
  if (entry === undefined) {
    const converted = readNumber(element, field.converted);
    if (converted === undefined) return { kind: "" };
    return convertedTypes[converted] ?? { kind: `converted type ${converted}` };
  }
  const [number, { bytes }] = entry;
  const kind = logicalTypes[number] || `logical type ${number}`;
  if (kind === "TIMESTAMP") {
    const time = readStruct(bytes);
    const [unit] = readStruct(time.get(2)?.bytes ?? Buffer.of(0)).keys();
    const isUtc = time.get(1)?.type === thriftType.true;
    return { kind, unit: units[unit ?? 0] || undefined, detail: isUtc ? utc : undefined };
  }
  if (kind === "INTEGER") {
    const integer = readStruct(bytes);
    const isSigned = integer.get(2)?.type === thriftType.true;
    return { kind, detail: `${isSigned ? "" : "U"}Int${integer.get(1)?.bytes[0] ?? 0}` };
  }
  return { kind };
}

const initials = ["UUID", "JSON", "BSON"];

/** `INTERVAL` as `Interval`, as polars writes names. */
function titled(kind: string): string {
  if (initials.includes(kind) || kind.includes(" ")) return kind;
  return `${kind.slice(0, 1)}${kind.slice(1).toLowerCase()}`;
}

function readNumber(element: ThriftStruct, id: number): number | undefined {
  const value = element.get(id);
  return value === undefined ? undefined : readInteger(value);
}
