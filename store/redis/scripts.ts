/** The Lua scripts by name: how many keys each takes, and their text. */
import { readFileSync } from "node:fs";
import { messageOf, OnceflowError } from "../../engine/errors.ts";
import type { RedisCommand } from "./types.ts";

/** Every script: the count of its keys, where that is fixed. A name here is a command. */
export const scriptKeys = {
  writeRows: undefined,
  stampShard: undefined,
  sealShard: 1,
  inspectShard: undefined,
  clearBucket: 1,
  swapField: 1,
  changeApiKeys: 2,
  resetNamespace: undefined,
  beginRun: 2,
  recordOutcome: 1,
  commitRun: undefined,
  beginPublish: 1,
  commitPublish: 2,
  restoreView: undefined,
  readHashes: undefined,
  sweepView: undefined,
} as const satisfies Readonly<Record<string, number | undefined>>;

const store = new URL("../", import.meta.url);

type LoadedScript = { readonly lua: string; readonly numberOfKeys?: number };
let loaded: Record<string, LoadedScript> | undefined;

/** Reads the Lua files of the store, once a process. */
export function loadScripts(): Record<string, LoadedScript> {
  loaded ??= Object.fromEntries(
    Object.entries(scriptKeys).map(([name, numberOfKeys]) => {
      const file = `./lua/${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}.lua`;
      try {
        const lua = readFileSync(new URL(file, store), "utf8");
        return [name, numberOfKeys === undefined ? { lua } : { lua, numberOfKeys }];
      } catch (error) {
        throw new OnceflowError(
          "SETUP_FAILED",
          `the script ${file} is missing beside store/redis: ${messageOf(error)}. Build again.`,
        );
      }
    }),
  );
  return loaded;
}

/** A script as a plain EVAL; any other command as it is. */
export function withoutCache(command: RedisCommand): RedisCommand {
  const [name, ...args] = command;
  const script = loadScripts()[name];
  if (script === undefined) return command;
  const { lua, numberOfKeys } = script;
  return numberOfKeys === undefined ? ["eval", lua, ...args] : ["eval", lua, numberOfKeys, ...args];
}
