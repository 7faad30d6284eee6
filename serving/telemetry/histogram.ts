/**
 * A histogram that costs a request a search among its buckets: prom-client's own looks its labels
 * up, checks them and makes an object of them each time, which shows at a request of 60 µs.
 */
import type { Metric, Registry } from "prom-client";

/** Adds one observation. */
export type Observe = (seconds: number) => void;

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** Not cumulative; the last one is for what is above all bounds. */
  readonly counts: number[];
  sum: number;
}

/** Makes a histogram; a series begins when it is asked for by its labels. */
export function createHistogram(
  registry: Registry,
  options: { readonly name: string; readonly help: string; readonly buckets: readonly number[] },
): (labels?: Readonly<Record<string, string>>) => Observe {
  const { name, help, buckets } = options;
  const all: Series[] = [];

  function samplesOf({ labels, counts, sum }: Series) {
    let count = 0;
    const inBuckets = [...buckets, Infinity].map((bound, i) => ({
      metricName: `${name}_bucket`,
      labels: { ...labels, le: bound === Infinity ? "+Inf" : bound },
      value: (count += counts[i] ?? 0),
    }));
    return [
      ...inBuckets,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  }
  const aggregator = "sum";
  const type = "histogram";
  const metric = {
    name,
    help,
    type,
    aggregator,
    get: () => Promise.resolve({ name, help, type, aggregator, values: all.flatMap(samplesOf) }),
    reset: () => void all.splice(0),
  };
  // The registry asks no more of a metric than these.
  registry.registerMetric(metric as unknown as Metric);

  return (labels = {}) => {
    const series: Series = {
      labels,
      counts: new Array<number>(buckets.length + 1).fill(0),
      sum: 0,
    };
    all.push(series);
    return (seconds) => {
      let at = 0;
      while (at < buckets.length && seconds > (buckets[at] as number)) at++;
      series.counts[at]! += 1;
      series.sum += seconds;
    };
  };
}
