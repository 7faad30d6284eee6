/** Reads metrics in the text format of Prometheus, apart from the library that writes them. */

/** A line of a scrape. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** All that a scrape holds. */
export interface Scrape {
  readonly samples: readonly Sample[];
  /** Kind by name, of every metric, also of one that has no sample yet. */
  readonly types: ReadonlyMap<string, string>;
  /** The one value with these labels, of those that have at least them; else it fails. */
  readonly value: (name: string, labels?: Readonly<Record<string, string>>) => number | undefined;
}

/** Parses a scrape; a line that is none fails. */
export function parseScrape(text: string): Scrape {
  const samples: Sample[] = [];
  const types = new Map<string, string>();
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const [, typed, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (typed !== undefined && type !== undefined) types.set(typed, type);
    if (line.startsWith("#")) continue;
    const [, name = "", inner = "", value = ""] =
      /^([a-z_:][a-z0-9_:]*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
    if (name === "") throw new Error(`no line of a scrape: ${line}`);
    const labels = [...inner.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gi)].map(
      ([, key = "", text = ""]) => [key, text] as const,
    );
    samples.push({ name, labels: Object.fromEntries(labels), value: Number(value) });
  }
  return {
    samples,
    types,
    value(name, labels = {}) {
      const found = samples.filter(
        (sample) =>
          sample.name === name &&
          Object.entries(labels).every(([key, text]) => sample.labels[key] === text),
      );
      if (found.length > 1) throw new Error(`${found.length} samples of ${name} have the labels`);
      return found[0]?.value;
    },
  };
}
