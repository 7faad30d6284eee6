/**
 * A process that asks a lookup of its own, and runs a planned function, each in turn with its limit
 * in small blocks, and says how long they take; see online.ts.
 */
import { buildCatalogue, viewNamed } from "../../engine/catalogue.ts";
import type { Value } from "../../engine/language/dtypes.ts";
import { plan } from "../../engine/planner.ts";
import { createLookup } from "../../serving/lookup.ts";
import { connectRedis } from "../../store/redis/connection.ts";
import { openBareRead } from "../limits/bare-read.ts";
import { modelX, type Row } from "../limits/model-x.ts";
import * as features from "./features.ts";

const [url = "", prefix = "", entityCount = "", blocks = ""] = process.argv.slice(2);
const catalogue = buildCatalogue(features);

type Sides = Record<"figure" | "limit", number>;

/** Microseconds of an embedded lookup and of a bare read, medians of single calls. */
async function embedded(): Promise<Sides> {
  const redis = connectRedis(url, "serving");
  const lookup = createLookup({ catalogue, redis, prefix });
  await lookup.refresh();
  const read = await openBareRead(url);
  const timed = async (ask: (id: string) => Promise<unknown>, into: number[]) => {
    for (let call = 0; call < 500; call++) {
      const id = String(Math.floor(Math.random() * Number(entityCount)));
      const startedMs = performance.now();
      await ask(id);
      into.push((performance.now() - startedMs) * 1000);
    }
  };
  const times = await inTurn({
    figure: (into) =>
      timed((id) => lookup.answer({ service: "features_34", entities: [{ id }] }), into),
    limit: (into) => timed(read, into),
  });
  lookup.close();
  return times;
}

/** Rows are computed so often in a block. */
const rounds = 100;
/** The last result: what nobody reads might not be computed. */
export let kept: readonly unknown[] = [];

/** Nanoseconds of the planned function of `model_x` and of the same by hand, medians of blocks. */
async function compute(): Promise<Sides> {
  const columns = { month: "month_of_absence", pet: "pet", son: "son", day: "day_of_the_week" };
  const names = { ...columns, age: "age" };
  const planned = plan(catalogue, { service: "model_x" });
  const [part] = planned.bind(
    new Set(Object.values(names).map((name) => planned.inputNamed(name)?.id ?? "")),
    new Set(),
  );
  if (part === undefined) throw new Error("model_x has no part");
  const rows = Array.from({ length: 1000 }, (_, i): Row => {
    const [month, pet, son, day] = [i % 13, i % 3, i % 5, 2 + (i % 5)];
    return { month, pet, son, day, age: 27 + (i % 32), mean: 36.5, std: 6.5 };
  });
  // The mean and the deviation, in the order in which the view has them.
  const { aggregates } = viewNamed(catalogue, "absences");
  const registerRows = rows.map((row) => {
    const registers = new Array<Value>(part.registerCount).fill(null);
    for (const { input, register } of part.request)
      for (const [member, name] of Object.entries(names))
        if (input.column === name) registers[register] = row[member as keyof Row];
    for (const { fingerprint, register } of part.aggregates) {
      const found = aggregates.find((each) => each.fingerprint === fingerprint);
      registers[register] = found?.node.aggregate === "mean" ? row.mean : row.std;
    }
    return registers;
  });
  for (const [i, row] of rows.entries())
    if (JSON.stringify(part.program(registerRows[i] ?? [])) !== JSON.stringify(modelX(row)))
      throw new Error(
        `row ${i}: ${part.program(registerRows[i] ?? []).join()}, not ${modelX(row).join()}`,
      );
  const timed = <T>(inputs: readonly T[], run: (row: T) => readonly unknown[], into: number[]) => {
    const startedMs = performance.now();
    for (let round = 0; round < rounds; round++) for (const row of inputs) kept = run(row);
    into.push(((performance.now() - startedMs) * 1e6) / (rounds * inputs.length));
    return Promise.resolve();
  };
  return inTurn({
    figure: (into) => timed(registerRows, part.program, into),
    limit: (into) => timed(rows, modelX, into),
  });
}

/** Medians of what blocks add, the first tenth of them left out. */
async function inTurn(
  block: Record<keyof Sides, (into: number[]) => Promise<void>>,
): Promise<Sides> {
  const times: Record<keyof Sides, number[]> = { figure: [], limit: [] };
  for (let i = 0; i < Number(blocks); i++) {
    if (i === Math.ceil(Number(blocks) / 10)) times.figure = [];
    if (i === Math.ceil(Number(blocks) / 10)) times.limit = [];
    await block.figure(times.figure);
    await block.limit(times.limit);
  }
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
  return { figure: median(times.figure), limit: median(times.limit) };
}

const facts = { embeddedUs: await embedded(), computeNs: await compute() };
process.stdout.write(`${JSON.stringify(facts)}\n`, () => process.exit());
