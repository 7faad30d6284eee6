import assert from "node:assert/strict";
import pl from "nodejs-polars";
import { entity, source } from "../../engine/language/definitions.ts";
import { float64, string } from "../../engine/language/dtypes.ts";
import { type Ending, fileFormats } from "../../engine/language/formats.ts";
import { readByFormat } from "../../sources/readers.ts";
import type { SourcePart } from "../../sources/raw-part.ts";
import { failureOf } from "../support/fails-with.ts";
import { valuesOf } from "../support/files/source-files.ts";

const people = source("people", {
  files: "people.csv",
  entity: entity("person", { key: "id" }),
  columns: { id: string, height: float64 },
});
const rows = { id: ["a", "b", "c"], height: [1.5, 2.5, -0] };

const content = {
  ".csv": () => Buffer.from("id,height\na,1.5\nb,2.5\nc,-0.0\n"),
  ".parquet": () => pl.DataFrame(rows).writeParquet(),
} satisfies Record<Ending, () => Buffer>;

/** A part that lies in no file, as one of a bucket. */
function partInMemory(id: string, bytes: Buffer) {
  let isOpen = false;
  const state = { version: "etag", sizeBytes: bytes.length, mtimeMs: 0 };
  const part: SourcePart = {
    ...state,
    id,
    index: 0,
    look: async () => state,
    open: async () => {
      isOpen = true;
      return {
        size: async () => bytes.length,
        read: async (into, start) => bytes.copy(into, 0, start),
        close: async () => void (isOpen = false),
      };
    },
  };
  return { part, isOpen: () => isOpen };
}

describe("formats of source files", () => {
  for (const ending of Object.keys(fileFormats) as Ending[])
    it(`${ending} is read of what has an id and bytes, and closed`, async () => {
      const { part, isOpen } = partInMemory(`s3://people/1${ending}`, content[ending]());
      const read: Record<string, unknown>[] = [];
      for await (const chunk of readByFormat({ source: people, part }, {}))
        read.push(valuesOf(chunk.frame()));
      assert.deepStrictEqual(read, [rows]);
      assert.equal(isOpen(), false);
    });

  it("are told by the end of the name alone, and no other is read", async () => {
    const { part, isOpen } = partInMemory("s3://people/1.csv.gz", content[".csv"]());
    const error = await failureOf(async () => readByFormat({ source: people, part }, {}));
    assert.equal(error.code, "SCHEMA_MISMATCH");
    assert.equal(
      error.message,
      'source "people", file s3://people/1.csv.gz: is neither .csv nor .parquet by its name.',
    );
    assert.equal(isOpen(), false);
  });
});
