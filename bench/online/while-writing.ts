/** The case of `online` that asks 200 times a second while a materialization writes to the same Redis. */
import { setTimeout as pause } from "node:timers/promises";
import type { Progress } from "../../cli/progress.ts";
import { startBuilt } from "../built.ts";
import { writeDataSet } from "../data.ts";
import { openLoop, percentile } from "../load.ts";
import type { Site } from "./site.ts";
import { openConnections, targetsOf } from "./http.ts";
import { type BenchOptions, measurePairs } from "../pairs.ts";
import { type Line, lineOf, median, rounded } from "../report.ts";

const rate = 200;
/** Below the 10 s after which the service closes a connection that is idle. */
const seconds = 8;

/** The p99 of answers beside a writer, and without one: milliseconds. */
export async function* onlineWhileWriting(
  site: Site,
  { pairs, scale }: BenchOptions,
  progress: Progress,
): AsyncGenerator<Line> {
  const rows = Math.floor(1_000_000 / scale);
  const pattern = await writeDataSet(site.built, { kind: "a", rows, files: 4, seed: 3 });
  const { figure: target } = await targetsOf(site, {
    request: (draw) => ({ service: "model_x", entities: draw(1) }),
    limit: "bare",
  });
  const asks = () => openLoop(target, { rate, connections: openConnections, seconds });
  const rates: Record<"read" | "alone", number[]> = { read: [], alone: [] };
  let days = 0;
  const whileWriting = async <T>(which: keyof typeof rates, work: () => Promise<T>): Promise<T> => {
    const writer = await startWriter(site, pattern, (days += 1000));
    try {
      const before = writer.rates().length;
      const done = await work();
      for (;;) {
        // A figure beside a writer that has ended is none, and a wait for its next run would not end.
        writer.assertRunning();
        if (writer.rates().length > before) break;
        await pause(50);
      }
      rates[which].push(...writer.rates().slice(before));
      return done;
    } finally {
      await writer.stop();
    }
  };
  const measured = await progress.step(`${rate} requests/s while rows are written`, (detail) =>
    measurePairs(pairs, detail, {
      figure: async () => percentile(await whileWriting("read", asks), 0.99),
      async limit() {
        await whileWriting("alone", () => pause(seconds * 1000));
        return percentile(await asks(), 0.99);
      },
    }),
  );
  yield lineOf(
    {
      bench: "online",
      case: `1 entity, model_x from the store, p99 at ${rate} requests/s while rows are written`,
      unit: "ms",
      target: { budget: 10 },
      rows,
      config: {
        connections: openConnections,
        seconds,
        limit: "the same without a writer",
        rows_per_s_while_read: rounded(median(rates.read)),
        rows_per_s_alone: rounded(median(rates.alone)),
      },
    },
    measured,
  );
}

/** Starts a process that writes again and again, once it has written all for the first time. */
async function startWriter({ built, settings }: Site, pattern: string, firstDay: number) {
  const line = /^\{"written":(\d+),"seconds":([\d.]+)\}$/m;
  // Under a prefix of its own: what is read stays.
  const own = { ...settings, prefix: `${settings.prefix}-writer` };
  const args = ["bench/online/write-again.js", pattern, String(firstDay)];
  const writer = await startBuilt(built, args, own, line);
  return {
    rates: () =>
      writer
        .tail(10_000)
        .split("\n")
        .flatMap((text) => {
          const [, written, taken] = line.exec(text) ?? [];
          return taken === undefined ? [] : [Number(written) / Number(taken)];
        }),
    assertRunning: writer.assertRunning,
    stop: writer.stop,
  };
}
