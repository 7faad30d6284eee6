/** The only registry: a feature that is exported from one of these modules is live everywhere. */
export * as absences from "./absences.ts";
export * as badges from "./badges.ts";
