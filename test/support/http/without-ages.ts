/** Answers to one request that are given at different times. */

/** An answer, by rows or by columns, whose ages are zeros: they grow from call to call. */
export function withoutAges<T>(answer: T): T {
  const text = JSON.stringify(answer, (name, value: unknown) =>
    name === "ages" ? toZeros(value) : value,
  );
  return JSON.parse(text) as T;
}

/** Numbers at any depth as zeros; null, which says that there is no value, stays. */
function toZeros(ages: unknown): unknown {
  return JSON.parse(JSON.stringify(ages), (_, age: unknown) => (typeof age === "number" ? 0 : age));
}
