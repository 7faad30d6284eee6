/**
 * Hours of absence of employees, after the "Absenteeism at work" data of Martiniano, Ferreira and
 * Sassi (UCI Machine Learning Repository).
 */
import {
  between,
  featureService,
  featureView,
  float64,
  int64,
  mean,
  notNull,
  oneHot,
  oneOf,
  source,
  std,
  string,
  valueColumns,
} from "../engine/index.ts";
import { employee } from "./entities.ts";

/** One row for each absence; the later row of an employee is the newer. */
export const absences = source("absences", {
  files: "absences.csv",
  csv: { separator: ";" },
  entity: employee,
  columns: {
    id: string,
    reason_for_absence: int64,
    month_of_absence: int64,
    day_of_the_week: int64,
    seasons: int64,
    transportation_expense: int64,
    distance_from_residence_to_work: int64,
    service_time: int64,
    age: int64,
    work_load_average_per_day: float64,
    hit_target: int64,
    disciplinary_failure: int64,
    education: int64,
    son: int64,
    social_drinker: int64,
    social_smoker: int64,
    pet: int64,
    weight: int64,
    height: int64,
    body_mass_index: int64,
    absenteeism_time_in_hours: int64,
  },
});

const { age, day_of_the_week, month_of_absence, pet, seasons, son } = absences.columns;

export const age_mean = mean(age).describe("Average age, years").expect(between(20, 60));

export const age_std_dev = std(age)
  .describe("Sample standard deviation of age, years")
  .expect(between(0, 40));

export const age_zero_mean = age
  .sub(age_mean)
  .describe("Age less the average age, years")
  .expect(between(-120, 120), notNull());

export const age_zero_mean_unit_variance = age_zero_mean
  .div(age_std_dev)
  .describe("Age as a z-score")
  .expect(between(-4, 4), notNull());

export const { seasons_1, seasons_2, seasons_3, seasons_4 } = oneHot(seasons, [1, 2, 3, 4]);

export const {
  day_of_the_week_2,
  day_of_the_week_3,
  day_of_the_week_4,
  day_of_the_week_5,
  day_of_the_week_6,
} = oneHot(day_of_the_week, [2, 3, 4, 5, 6]);

export const has_children = son
  .gt(0)
  .cast(int64)
  .describe("1 for an employee with children, else 0")
  .expect(oneOf(0, 1));

export const has_pet = pet
  .gt(0)
  .cast(int64)
  .describe("1 for an employee with a pet, else 0")
  .expect(oneOf(0, 1));

export const is_summer = month_of_absence
  .isIn([1, 2, 12])
  .cast(int64)
  .describe("1 for an absence in the Brazilian summer, else 0")
  .tag({ region: "brazil" })
  .expect(oneOf(0, 1));

export const absences_view = featureView("absences", {
  source: absences,
  stores: [...valueColumns(absences), has_children, has_pet],
  description: "The newest absence of each employee.",
});

export const model_x = featureService(
  "model_x",
  [
    is_summer,
    has_pet,
    has_children,
    day_of_the_week_2,
    day_of_the_week_3,
    day_of_the_week_4,
    day_of_the_week_5,
    day_of_the_week_6,
    age_zero_mean_unit_variance,
  ],
  { description: "Inputs of the absenteeism model." },
);

export const absenteeism_training = featureService(
  "absenteeism_training",
  [
    age_mean,
    age_std_dev,
    age_zero_mean,
    age_zero_mean_unit_variance,
    seasons_1,
    seasons_2,
    seasons_3,
    seasons_4,
    day_of_the_week_2,
    day_of_the_week_3,
    day_of_the_week_4,
    day_of_the_week_5,
    day_of_the_week_6,
    has_children,
    has_pet,
    is_summer,
  ],
  { description: "Every feature of absences, for training sets." },
);
