import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { aggregateOf } from "../../engine/aggregates.ts";
import { type Dtype, dtypes } from "../../engine/language/dtypes.ts";
import { errorRegistry } from "../../engine/errors.ts";
import { operationNode } from "../../engine/language/build.ts";
import { type OperationName, operationOf } from "../../engine/operations/table.ts";
import {
  columnsOf,
  combinationsOf,
  operationNames,
  requiredLiterals,
} from "../support/engine/cases.ts";
import { assertReviewed, replaceMarked, toTable } from "../support/reviewed.ts";
import { aggregateCases, aggregateNames } from "../support/redis/states.ts";

const semantics = new URL("../../docs/semantics.md", import.meta.url);
const errors = new URL("../../docs/errors.md", import.meta.url);

/** Signatures that differ in their last inputs alone as one: `T, T → bool (T: int64, string)`. */
function summarize(signatures: readonly { inputs: readonly Dtype[]; result: Dtype }[]): string {
  const places = Math.min(...signatures.map(({ inputs }) => lastsEqual(inputs)));
  const groups = new Map<string, Map<Dtype, Dtype>>();
  for (const { inputs, result } of signatures) {
    const varying = inputs.at(-1) ?? result;
    const pattern = [...inputs.slice(0, -places), ...inputs.slice(-places).map(() => "T")].join(
      ", ",
    );
    groups.set(pattern, new Map([...(groups.get(pattern) ?? []), [varying, result]]));
  }
  return [...groups].map(([pattern, results]) => summarizeGroup(pattern, results)).join("; ");
}

/** How many inputs at the end are of one dtype. */
function lastsEqual(inputs: readonly Dtype[]): number {
  return inputs.length - 1 - inputs.findLastIndex((dtype) => dtype !== inputs.at(-1));
}

/** `results` has what comes out for each dtype that `T` may be. */
function summarizeGroup(pattern: string, results: ReadonlyMap<Dtype, Dtype>): string {
  const [first, ...others] = results;
  if (first === undefined) return "";
  if (others.length === 0) return `${pattern.replaceAll("T", first[0])} → ${first[1]}`;
  const isSame = [...results].every(([dtype, result]) => dtype === result);
  const isFixed = others.every(([, result]) => result === first[1]);
  assert.ok(isSame || isFixed, `${pattern} gives ${[...results.values()].join(", ")}`);
  const all = results.size === dtypes.length ? "any" : [...results.keys()].join(", ");
  return `${pattern} → ${isSame ? "T" : first[1]} (T: ${all})`;
}

function dtypesOf(name: OperationName): string {
  const signatures = combinationsOf(name).flatMap((combination) => {
    const literals = requiredLiterals(name, combination);
    const columns = columnsOf(
      combination.slice(0, combination.length - (literals[0]?.length ?? 0)),
    );
    const node = literals
      .map((each) => operationNode(name, [...columns, ...each]))
      .find(({ kind }) => kind === "operation");
    if (node?.kind !== "operation") return [];
    // Combinations that promotion casts are those of the dtypes that it casts to.
    const taken = node.inputs.map((input) => input.dtype);
    if (taken.join() !== combination.join()) return [];
    return [{ inputs: combination, result: node.dtype }];
  });
  const { promotes, arity } = operationOf(name);
  const beside = promotes === "common" && arity !== 1 ? "; int64 beside float64 is cast" : "";
  return `${summarize(signatures)}${promotes === "float64" ? "; int64 is cast" : beside}`;
}

function operationsTable(): string {
  const head = ["operation", "spelling", "what", "dtypes", "null", "NaN, zero, infinity"];
  return toTable([
    head,
    ...operationNames.map((name) => {
      const { spelling, summary, nulls, nan } = operationOf(name);
      return [`\`${name}\``, `\`${spelling}\``, summary, dtypesOf(name), nulls, nan];
    }),
  ]);
}

function aggregatesTable(): string {
  return toTable([
    ["aggregate", "spelling", "what", "dtypes", "null", "NaN, infinity"],
    ...aggregateNames.map((name) => {
      const { spelling, summary, nulls, nan, dtype } = aggregateOf(name);
      const signatures = aggregateCases
        .filter((each) => each.name === name)
        .map((each) => ({ inputs: [each.dtype], result: dtype([each.dtype]) as Dtype }));
      return [`\`${name}\``, `\`${spelling}\``, summary, summarize(signatures), nulls, nan];
    }),
  ]);
}

describe("docs/semantics.md", () => {
  it("has the operation table and the aggregate table as the engine has them", () =>
    assertReviewed(semantics, (text) =>
      replaceMarked(
        replaceMarked(text, "operations", operationsTable()),
        "aggregates",
        aggregatesTable(),
      ),
    ));
});

describe("docs/errors.md", () => {
  /** What to do, by code: the one column that people write. */
  function remedies(text: string): Map<string, string> {
    const rows = text.split("\n").flatMap((line) => {
      const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
      return /^[A-Z_]+$/.test(cells[1] ?? "") ? [cells] : [];
    });
    return new Map(rows.map((cells) => [cells[1] ?? "", cells[5] ?? ""]));
  }

  it("has every code of the registry, and no other", () =>
    assertReviewed(errors, (text) => {
      const written = remedies(text);
      const rows = Object.entries(errorRegistry).map(([code, { http, retryable, summary }]) => [
        code,
        String(http),
        retryable ? "yes" : "no",
        summary,
        written.get(code) ?? "",
      ]);
      const head = ["code", "HTTP", "retried", "meaning", "what to do"];
      return replaceMarked(text, "errors", toTable([head, ...rows]));
    }));

  it("says for every code what to do", async () => {
    const written = remedies(await readFile(errors, "utf8"));
    const silent = [...written].filter(([, remedy]) => remedy === "").map(([code]) => code);
    assert.deepEqual(silent, [], "write what to do in the last column of docs/errors.md");
  });
});
