/**
 * Gives an answer its form: objects for callers in this process and for Temporal, or JSON text for
 * HTTP. Text is put together from pieces that are made once for a list of features, since
 * `JSON.stringify` over an object of so many members takes most of a request's time.
 */
import type { Dtype, Value } from "../engine/dtypes.ts";
import { formatTimestamp, type Json, toJson } from "../engine/wire.ts";
import type {
  AnswerHead,
  AnswerTable,
  ColumnAnswer,
  FeatureAnswer,
  FeatureRow,
  Status,
} from "./answer.ts";
import { statuses } from "./answer.ts";

/** Which form an answer takes. */
export type AnswerForm = "rows" | "columns";

export function answerInRows(table: AnswerTable): FeatureAnswer {
  const { head, names, dtypes, entities } = table;
  const timeOf = timeFormat(table);
  const results = entities.map((entity, row): FeatureRow => {
    const features: Record<string, Json> = {};
    const byName: Record<string, Status> = {};
    const times: Record<string, string | null> = {};
    const ages: Record<string, number | null> = {};
    // Names come from the catalogue, which refuses those that objects inherit.
    for (let place = 0, at = row * names.length; place < names.length; place++, at++) {
      const name = names[place] as string;
      const { text, age } = timeOf(at);
      features[name] = toJson(dtypes[place] as Dtype, table.values[at] as Value);
      byName[name] = statusAt(table, at);
      times[name] = text;
      ages[name] = age;
    }
    const violations = table.violations.get(row);
    const errors = table.errors.get(row);
    return {
      ...(entity === undefined ? {} : { entity }),
      features,
      statuses: byName,
      event_times: times,
      ages,
      ...(violations === undefined ? {} : { violations }),
      ...(errors === undefined ? {} : { errors }),
    };
  });
  return { ...head, results };
}

export function answerInColumns(table: AnswerTable): ColumnAnswer {
  const { head, names, dtypes, entities } = table;
  const timeOf = timeFormat(table);
  const column = <T>(cell: (at: number, place: number) => T): T[][] =>
    names.map((_, place) => entities.map((_, row) => cell(row * names.length + place, place)));
  return {
    ...head,
    entities: entities.map((entity) => entity ?? null),
    features: names,
    values: column((at, place) => toJson(dtypes[place] as Dtype, table.values[at] as Value)),
    statuses: column((at) => statusAt(table, at)),
    event_times: column((at) => timeOf(at).text),
    ages: column((at) => timeOf(at).age),
    ...notesOf(table),
  };
}

/** What is said of single values, in the column form. */
function notesOf({ violations, errors }: AnswerTable): Pick<ColumnAnswer, "violations" | "errors"> {
  const cells = <T, U>(byRow: Map<number, Record<string, T>>, note: (value: T) => U) =>
    [...byRow].flatMap(([row, byFeature]) =>
      Object.entries(byFeature).map(([feature, value]) => ({ row, feature, ...note(value) })),
    );
  return {
    ...(violations.size > 0 && {
      violations: cells(violations, (expectations) => ({ expectations })),
    }),
    ...(errors.size > 0 && { errors: cells(errors, (message) => ({ message })) }),
  };
}

/** The same as `JSON.stringify` of the answer in that form. */
export function answerText(table: AnswerTable, form: AnswerForm): string {
  return headText(table.head) + (form === "rows" ? rowsText(table) : columnsText(table));
}

const headTexts = new WeakMap<AnswerHead, string>();

function headText(head: AnswerHead): string {
  let text = headTexts.get(head);
  if (text === undefined) {
    text = JSON.stringify(head).slice(0, -1);
    headTexts.set(head, text);
  }
  return text;
}

/** `"name":` of each feature of a list, with a comma before all but the first. */
const labels = new WeakMap<readonly string[], readonly string[]>();

function labelsOf(names: readonly string[]): readonly string[] {
  let made = labels.get(names);
  if (made === undefined) {
    made = names.map((name, place) => `${place === 0 ? "" : ","}${JSON.stringify(name)}:`);
    labels.set(names, made);
  }
  return made;
}

function rowsText(table: AnswerTable): string {
  const { names, dtypes, entities, values, statuses: codes, eventTimesUs } = table;
  const width = names.length;
  const before = labelsOf(names);
  const timeOf = timeFormat(table);
  let text = ',"results":[';
  /** What follows the values; rows read together often have it in common. */
  let rest = "";
  for (let row = 0; row < entities.length; row++) {
    const entity = entities[row];
    const start = row * width;
    text += row === 0 ? "{" : ",{";
    if (entity !== undefined) text += `"entity":${JSON.stringify(entity)},`;
    text += '"features":{';
    for (let place = 0; place < width; place++)
      text +=
        (before[place] as string) +
        valueText(dtypes[place] as Dtype, values[start + place] as Value);
    let isSame = row > 0;
    for (let at = start; isSame && at < start + width; at++)
      isSame = codes[at] === codes[at - width] && eventTimesUs[at] === eventTimesUs[at - width];
    if (!isSame) {
      let [names, times, ages] = ["", "", ""];
      for (let place = 0, at = start; place < width; place++, at++) {
        const label = before[place] as string;
        const time = timeOf(at);
        names += label + (statusTexts[codes[at] as number] as string);
        times += label + time.json;
        ages += label + time.ageJson;
      }
      rest = `},"statuses":{${names}},"event_times":{${times}},"ages":{${ages}}`;
    }
    text += rest;
    const violations = table.violations.get(row);
    const errors = table.errors.get(row);
    if (violations !== undefined) text += `,"violations":${JSON.stringify(violations)}`;
    if (errors !== undefined) text += `,"errors":${JSON.stringify(errors)}`;
    text += "}";
  }
  return `${text}]}`;
}

function columnsText(table: AnswerTable): string {
  const { names, dtypes, entities, values, statuses: codes } = table;
  const timeOf = timeFormat(table);
  const lists = (cell: (at: number, place: number) => string): string => {
    let text = "";
    for (let place = 0; place < names.length; place++) {
      text += place === 0 ? "[" : ",[";
      for (let row = 0, at = place; row < entities.length; row++, at += names.length)
        text += (row === 0 ? "" : ",") + cell(at, place);
      text += "]";
    }
    return text;
  };
  const notes = JSON.stringify(notesOf(table)).slice(1);
  return (
    `,"entities":${JSON.stringify(entities.map((entity) => entity ?? null))}` +
    `,"features":${JSON.stringify(names)}` +
    `,"values":[${lists((at, place) => valueText(dtypes[place] as Dtype, values[at] as Value))}]` +
    `,"statuses":[${lists((at) => statusTexts[codes[at] as number] as string)}]` +
    `,"event_times":[${lists((at) => timeOf(at).json)}]` +
    `,"ages":[${lists((at) => timeOf(at).ageJson)}]${notes === "}" ? "" : ","}${notes}`
  );
}

const statusTexts = statuses.map((status) => `"${status}"`);

function statusAt(table: AnswerTable, at: number): Status {
  return statuses[table.statuses[at] as number] as Status;
}

function valueText(dtype: Dtype, value: Value): string {
  if (value === null) return "null";
  // Most values; −0 is written as a string.
  if (typeof value === "number" && dtype !== "timestamp" && Number.isFinite(value))
    return value === 0 && Object.is(value, -0) ? '"-0"' : `${value}`;
  if (typeof value === "boolean") return value ? "true" : "false";
  return JSON.stringify(toJson(dtype, value));
}

/** An event time as text and as an age, each plain and as JSON. */
interface FormattedTime {
  readonly text: string | null;
  readonly json: string;
  readonly age: number | null;
  readonly ageJson: string;
}

const noTime: FormattedTime = { text: null, json: "null", age: null, ageJson: "null" };

/** Makes the function that formats the event time of a value; neighbours often have the same. */
function timeFormat({ eventTimesUs, nowMs }: AnswerTable): (at: number) => FormattedTime {
  let [lastUs, last] = [null as AnswerTable["eventTimesUs"][number], noTime];
  return (at) => {
    const us = eventTimesUs[at] ?? null;
    if (us !== lastUs) {
      lastUs = us;
      last = us === null ? noTime : formatTime(formatTimestamp(us), Number(us), nowMs);
    }
    return last;
  };
}

function formatTime(text: string, us: number, nowMs: number): FormattedTime {
  const age = Math.max(0, Math.round(nowMs - us / 1000)) / 1000;
  return { text, json: `"${text}"`, age, ageJson: `${age}` };
}
