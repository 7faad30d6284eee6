/** For workers and clients of Temporal that call the online activity. */
import { fileURLToPath } from "node:url";

/**
 * The option `dataConverter`, by which numbers arrive exactly: those that a double would round keep
 * their text, −0, NaN and the infinities are sent, and a bigint as a decimal string. The payloads
 * stay JSON for everybody else.
 */
export const dataConverter = {
  // With the ending that this file has.
  payloadConverterPath: fileURLToPath(new URL("./payload-converter", import.meta.url)),
};
