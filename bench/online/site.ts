/** What the cases of `online` share. */
import type { Settings } from "../../settings.ts";
import type { Server } from "../built.ts";

/** What is measured: the service, what it is held against, and the data that all of them read. */
export interface Site {
  /** The folder of the build. */
  readonly built: string;
  readonly settings: Settings;
  /** Entities "0", "1" and on. */
  readonly entities: number;
  /** Of an entity's row, and of the plain key in its place. */
  readonly rowBytes: number;
  /** An API key of the service. */
  readonly key: string;
  readonly service: Server;
  readonly bare: Server;
  readonly byHand: Server;
  readonly naive: Server;
}
