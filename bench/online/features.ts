/** The definitions of `online`: the example's, and 34 features of which 20 are stored as they are. */
import { featureService, int64, valueColumns } from "../../engine/index.ts";
import * as example from "../../features/absences.ts";

const { distance_from_residence_to_work, social_smoker } = example.absences.columns;
const stored = valueColumns(example.absences);

const lives_far = distance_from_residence_to_work.gt(30).cast(int64);
const smokes = social_smoker.gt(0).cast(int64);

export * as absences from "../../features/absences.ts";

export const online = {
  lives_far,
  smokes,
  columns_20: featureService("columns_20", stored),
  features_34: featureService("features_34", [
    ...stored,
    example.age_zero_mean,
    example.age_zero_mean_unit_variance,
    example.seasons_1,
    example.seasons_2,
    example.seasons_3,
    example.seasons_4,
    example.day_of_the_week_2,
    example.day_of_the_week_3,
    example.day_of_the_week_4,
    example.day_of_the_week_5,
    example.day_of_the_week_6,
    example.is_summer,
    lives_far,
    smokes,
  ]),
};
