/** Values for the aggregates of a catalogue, as a batch program takes them. */
import type { Catalogue } from "../engine/catalogue.ts";
import type { AggregateValues } from "../engine/compile/batch.ts";
import { fingerprintOf } from "../engine/fingerprint.ts";

export function valuesByName(
  { views }: Catalogue,
  values: Readonly<Record<string, number>>,
): AggregateValues {
  const features = [...views.values()].flatMap((view) => view.features);
  return new Map(
    Object.entries(values).map(([name, value]) => {
      const feature = features.find((each) => each.name === name);
      if (feature === undefined) throw new Error(`no feature is called ${name}`);
      return [fingerprintOf(feature.node), value];
    }),
  );
}
