/**
 * What writers of Arrow say of parquet columns beside what the format can: a duration is a plain
 * integer to it, and an extension type is what it is stored as.
 *
 * Spec: https://github.com/apache/arrow/blob/main/format/Schema.fbs, a flatbuffer
 */

/** The key of a footer's metadata that holds it. */
export const arrowSchemaKey = "ARROW:schema";

/** Fields of its tables, by their place. */
const messageField = { header: 2 } as const;
const schemaField = { fields: 1 } as const;
const fieldField = { name: 0, typeNumber: 2, children: 5, metadata: 6 } as const;
const pairField = { key: 0, value: 1 } as const;

const durationType = 18;
const extensionKey = "ARROW:extension:name";
/** No list of ours is deeper. Without limits, damaged bytes that lead in circles never end. */
const maxDepth = 4;
const maxPairs = 1000;

/**
 * The types of columns that hold other than what the format says of them, by name.
 *
 * @param base64 - the value of the key
 * @throws Error where it is damaged
 */
export function readArrowTypes(
  base64: string,
  wanted: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  const message = Buffer.from(base64, "base64");
  try {
    // Writers before 0.15 put the length first.
    const start = message.readUInt32LE(0) === 0xffffffff ? 8 : 4;
    const bytes = message.subarray(start);
    const types = new Map<string, string>();
    const schema = follow(bytes, fieldAt(bytes, bytes.readUInt32LE(0), messageField.header));
    for (const field of elementsOf(bytes, fieldAt(bytes, schema, schemaField.fields))) {
      const name = textAt(bytes, fieldAt(bytes, field, fieldField.name));
      const type = wanted.has(name) ? foreignType(bytes, field, 0) : undefined;
      if (type !== undefined) types.set(name, type);
    }
    return types;
  } catch (cause) {
    throw new Error("its Arrow schema is damaged", { cause });
  }
}

function foreignType(bytes: Buffer, field: number, depth: number): string | undefined {
  for (const pair of elementsOf(bytes, fieldAt(bytes, field, fieldField.metadata), maxPairs))
    if (textAt(bytes, fieldAt(bytes, pair, pairField.key)) === extensionKey)
      return `the extension ${textAt(bytes, fieldAt(bytes, pair, pairField.value))}`;
  const number = fieldAt(bytes, field, fieldField.typeNumber);
  if (number !== undefined && bytes.readUInt8(number) === durationType) return "Duration";
  if (depth === maxDepth) return undefined;
  // A list has one child, and other nested types are refused by what the format says of them.
  const [child] = elementsOf(bytes, fieldAt(bytes, field, fieldField.children), 1);
  return child === undefined ? undefined : foreignType(bytes, child, depth + 1);
}

/** Where a field of a table is, or undefined where the table lacks it. */
function fieldAt(bytes: Buffer, table: number, place: number): number | undefined {
  const layout = table - bytes.readInt32LE(table);
  const at = 4 + 2 * place;
  const offset = at < bytes.readUInt16LE(layout) ? bytes.readUInt16LE(layout + at) : 0;
  return offset === 0 ? undefined : table + offset;
}

function follow(bytes: Buffer, at: number | undefined): number {
  if (at === undefined) throw new Error("a field is missing");
  return at + bytes.readUInt32LE(at);
}

/** The tables of a vector, at most so many. */
function* elementsOf(bytes: Buffer, at: number | undefined, limit = Infinity): Generator<number> {
  if (at === undefined) return;
  const vector = follow(bytes, at);
  const length = Math.min(bytes.readUInt32LE(vector), limit);
  for (let i = 0; i < length; i++) yield follow(bytes, vector + 4 + 4 * i);
}

function textAt(bytes: Buffer, at: number | undefined): string {
  if (at === undefined) return "";
  const start = follow(bytes, at);
  return bytes.toString("utf8", start + 4, start + 4 + bytes.readUInt32LE(start));
}
