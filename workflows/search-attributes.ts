/** The search attributes that a run is found by, for all who start one. */
import { defineSearchAttributeKey, type SearchAttributePair } from "@temporalio/common";
import type { RunKind } from "./contract.ts";

/** Search attributes that runs carry, all Keywords. */
export const searchAttributes = {
  view: "OnceflowView",
  interval: "OnceflowInterval",
  kind: "OnceflowKind",
} as const;

/** Every search attribute, with its type: a namespace of Temporal must know them. */
export const searchAttributeKeys = Object.values(searchAttributes).map((name) =>
  defineSearchAttributeKey(name, "KEYWORD"),
);

/** The search attributes of a run; a training set has no view, and a backfill no interval. */
export function attributesOf(
  kind: RunKind,
  view?: string,
  interval?: string,
): SearchAttributePair[] {
  return [
    [searchAttributes.kind, kind] as const,
    [searchAttributes.view, view] as const,
    [searchAttributes.interval, interval] as const,
  ].flatMap(([name, value]) =>
    value === undefined ? [] : [{ key: defineSearchAttributeKey(name, "KEYWORD"), value }],
  );
}
