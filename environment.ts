/**
 * Reads variables of the environment, one by one: every program reads them so, and refuses what
 * they cannot mean in the same words.
 */
import { OnceflowError } from "./engine/errors.ts";

/** What a whole number may be, and words for the refusal. */
export interface WholeLimits {
  readonly from: number;
  readonly to: number;
  /** "a number" by default. */
  readonly what?: string;
  /** What else there is, after the limits. */
  readonly or?: string;
}

/** What some variables say. An empty one means the same as none: compose files set many so. */
export interface Environment {
  readonly text: <F>(name: string, fallback: F) => string | F;
  /** @throws CONFIG_INVALID, as those below */
  readonly whole: <F>(name: string, fallback: F, limits: WholeLimits) => number | F;
  /** One of a few words, in any case. */
  readonly oneOf: <W extends string>(name: string, fallback: W, words: readonly W[]) => W;
  /** "true" or "false", in any case; false by default. */
  readonly flag: (name: string) => boolean;
  /**
   * Words with commas between; none for "none", where that is the default.
   *
   * @param wanted - the end of the refusal
   */
  readonly list: <W extends string>(
    name: string,
    fallback: string,
    isOne: (word: string) => word is W,
    wanted: string,
  ) => readonly W[];
  /** What a variable is and what is wanted, passwords of URLs left out. */
  readonly refuse: (name: string, wanted: string) => OnceflowError;
}

/** Makes the reader of variables. */
export function environmentOf(variables: NodeJS.ProcessEnv): Environment {
  const text: Environment["text"] = (name, fallback) => variables[name] || fallback;

  function refuse(name: string, wanted: string): OnceflowError {
    const shown = variables[name]?.replaceAll(/\/\/[^@/]*@/g, "//…@").slice(0, 100);
    const is = shown === undefined ? "is not set" : `is "${shown}"`;
    return new OnceflowError("CONFIG_INVALID", `${name} ${is}; ${wanted}.`, { name });
  }

  const oneOf: Environment["oneOf"] = (name, fallback, words) => {
    const given = text(name, fallback).toLowerCase();
    const word = words.find((each) => each === given);
    if (word === undefined) throw refuse(name, `give one of ${words.join(", ")}`);
    return word;
  };

  return {
    text,
    whole(name, fallback, { from, to, what = "a number", or = "" }) {
      const given = text(name, undefined);
      if (given === undefined) return fallback;
      const number = Number(given);
      if (/^\d{1,9}$/.test(given) && number >= from && number <= to) return number;
      throw refuse(name, `give ${what} from ${from} to ${to}${or}`);
    },
    oneOf,
    flag: (name) => oneOf(name, "false", ["true", "false"]) === "true",
    list(name, fallback, isOne, wanted) {
      const given = text(name, fallback);
      const isNone = given === "none" && fallback === "none";
      const words = isNone ? [] : given.split(",").map((word) => word.trim());
      if (!words.every(isOne)) throw refuse(name, wanted);
      return words;
    },
    refuse,
  };
}
