/** The tasks that pipelines and sensors call, by name. Add your own here. */
import {
  archiveDelivery,
  checkDelivery,
  extractBadges,
  publishReport,
  trainPresence,
} from "./presence.ts";
import type { Task } from "./task.ts";

export const tasks = {
  archiveDelivery,
  checkDelivery,
  extractBadges,
  publishReport,
  trainPresence,
} satisfies Readonly<Record<string, Task>>;
