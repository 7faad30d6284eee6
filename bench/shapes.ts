/** `shapes`: time a value of wide, long and skewed data, against the base case of the same run. */
import type { Progress } from "../cli/progress.ts";
import type { Catalogue } from "../engine/catalogue.ts";
import { example, floatsCatalogue } from "./catalogues.ts";
import { type DataSet, writeDataSet } from "./data.ts";
import { emptyStores, type Environment, materializeDirectly } from "./own-store.ts";
import { type BenchOptions, measurePairs } from "./pairs.ts";
import { type Line, lineOf } from "./report.ts";

interface Shape {
  readonly name: string;
  readonly data: DataSet;
  readonly base: DataSet;
  readonly config: Readonly<Record<string, unknown>>;
}

/** Columns of values in a row, without the key. */
const columnsOf = ({ kind, columns = 500 }: DataSet) => (kind === "wide" ? columns : 20);

/** Materializes each shape, of up to 20 000 000 rows at full scale: nanoseconds a value. */
export async function* benchShapes(
  { folder, redis, settings }: Environment,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const million = Math.floor(1_000_000 / scale);
  const a: DataSet = { kind: "a", rows: million, files: 1 };
  const b: DataSet = { kind: "b", rows: million, files: 1 };
  const shapes: readonly Shape[] = [
    {
      name: "wide: 500 features",
      data: { kind: "wide", rows: Math.floor((million * 20) / 500), files: 1, columns: 500 },
      base: b,
      config: { columns: 500 },
    },
    {
      name: "skewed: one entity with every row",
      data: { ...a, entities: 1 },
      base: a,
      config: { entities: 1 },
    },
    {
      name: "long: 200 partitions",
      data: { kind: "a", rows: 20 * million, files: 200 },
      base: a,
      config: { files: 200 },
    },
  ];
  const catalogues: Readonly<Record<DataSet["kind"], readonly [Catalogue, view: string]>> = {
    a: [example, "absences"],
    b: [floatsCatalogue(20), "floats"],
    wide: [floatsCatalogue(500), "floats"],
  };
  /** Nanoseconds a value. */
  const measure = async (data: DataSet): Promise<number> => {
    await emptyStores({ redis, settings });
    const [catalogue, view] = catalogues[data.kind];
    const { seconds } = await materializeDirectly(
      { redis, settings },
      catalogue,
      { [view]: await writeDataSet(folder, data) },
      { view, end: "2026-01-01T00:00:00.000Z" },
    );
    return (seconds * 1e9) / (data.rows * columnsOf(data));
  };
  for (const { name, data, base, config } of shapes) {
    await progress.step(`${name}: data and warm-up`, async () => {
      await writeDataSet(folder, data);
      await measure(base);
    });
    const measured = await progress.step(name, (detail) =>
      measurePairs(pairs, detail, { figure: () => measure(data), limit: () => measure(base) }),
    );
    yield lineOf(
      {
        bench: "shapes",
        case: name,
        unit: "ns/value",
        target: { max: 2 },
        rows: data.rows,
        config: { ...config, base_rows: base.rows, limit: "a million rows of 20 values, one file" },
      },
      measured,
    );
  }
}
