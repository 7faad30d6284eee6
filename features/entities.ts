/** The entities that sources describe. */
import { entity } from "../engine/index.ts";

/** A person employed; `id` is the personnel number. */
export const employee = entity("employee", { key: "id" });
