/** The limit of computing: the nine features of `model_x`, and whether each is as expected. */

/** One row: raw columns and the two aggregates. */
export interface Row {
  readonly month: number;
  readonly pet: number;
  readonly son: number;
  readonly day: number;
  readonly age: number;
  readonly mean: number;
  readonly std: number;
}

/** The features in the order of the service, then true for each expectation that does not hold. */
export function modelX({ month, pet, son, day, age, mean, std }: Row): (number | boolean)[] {
  const isSummer = month === 1 || month === 2 || month === 12 ? 1 : 0;
  const hasPet = pet > 0 ? 1 : 0;
  const hasChildren = son > 0 ? 1 : 0;
  const distance = (age - mean) / std;
  return [
    isSummer,
    hasPet,
    hasChildren,
    day === 2 ? 1 : 0,
    day === 3 ? 1 : 0,
    day === 4 ? 1 : 0,
    day === 5 ? 1 : 0,
    day === 6 ? 1 : 0,
    distance,
    !(isSummer === 0 || isSummer === 1),
    !(hasPet === 0 || hasPet === 1),
    !(hasChildren === 0 || hasChildren === 1),
    !(distance >= -4 && distance <= 4),
    // Never null.
    false,
  ];
}
