/** What is said of a view: what is wrong, and what mends it. */

/** What is wrong, and the command that mends it. */
export interface Finding {
  readonly problem: string;
  /** Runs as it is; null where there is nothing to run yet. */
  readonly fix: string | null;
}

/** What is wrong with a view, and what deserves a look. */
export interface Judgement {
  readonly problems: readonly Finding[];
  readonly notes: readonly string[];
}
