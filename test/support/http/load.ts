/**
 * An open-loop load generator: requests are due at fixed times, whatever becomes of those before,
 * and a latency counts from the time when its request was due.
 */
import { Agent, request } from "node:http";
import { until } from "../until.ts";
import { percentile } from "../../../bench/load.ts";

/** What became of one request. */
export interface Sample {
  /** When it was due, in ms since the load began. */
  readonly atMs: number;
  readonly latencyMs: number;
  /** HTTP status; 0 where no whole answer came. */
  readonly status: number;
  /** Code of a problem, or of what the connection failed with. */
  readonly code: string | undefined;
  /** Where status is 200, the body. */
  readonly body: string;
}

/** A load that is under way. */
export interface Load {
  /** All that has been answered so far, in the order of the answers. */
  readonly samples: readonly Sample[];
  readonly elapsedMs: () => number;
  /** Sends no more, and waits for what is under way. */
  readonly stop: () => Promise<readonly Sample[]>;
}

/** What is sent, how often, and where to. */
export interface LoadOptions {
  readonly perSecond: number;
  readonly body: unknown;
  /** Asked for each request: the origin that it goes to. */
  readonly origin: () => string;
  /** Connections kept alive at most; more requests than these wait for one. */
  readonly connections?: number;
}

/** Begins to send `POST /v1/features`. */
export function startLoad(options: LoadOptions): Load {
  const { perSecond, origin, connections = 256 } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: "lifo" });
  const body = Buffer.from(JSON.stringify(options.body));
  const samples: Sample[] = [];
  const underWay = new Set<Promise<void>>();
  const startMs = performance.now();
  const elapsedMs = () => performance.now() - startMs;
  let sent = 0;

  const send = (atMs: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (status: number, code: string | undefined, text = "") => {
        samples.push({ atMs, latencyMs: elapsedMs() - atMs, status, code, body: text });
        resolve();
      };
      const asked = request(
        `${origin()}/v1/features`,
        {
          agent,
          method: "POST",
          headers: { "content-type": "application/json", "content-length": body.length },
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => (text += chunk));
          response.on("error", (error: NodeJS.ErrnoException) => done(0, error.code));
          response.on("end", () => {
            const { statusCode: status = 0 } = response;
            if (status === 200) done(status, undefined, text);
            else done(status, /"code":"(\w+)"/.exec(text)?.[1], text);
          });
        },
      );
      asked.on("error", (error: NodeJS.ErrnoException) => {
        // An idle connection that the server closed as the request was sent: nothing was begun, so
        // every client sends such a request again.
        if (asked.reusedSocket && error.code === "ECONNRESET") void send(atMs).then(resolve);
        else done(0, error.code);
      });
      asked.end(body);
    });

  const timer = setInterval(() => {
    for (; (sent * 1000) / perSecond <= elapsedMs(); sent++) {
      const sending = send((sent * 1000) / perSecond).finally(() => underWay.delete(sending));
      underWay.add(sending);
    }
  }, 1);
  return {
    samples,
    elapsedMs,
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      agent.destroy();
      return samples;
    },
  };
}

/** What a load met that lasted so many milliseconds. */
export async function loadFor(ms: number, options: LoadOptions): Promise<readonly Sample[]> {
  const load = startLoad(options);
  await until(`${ms} ms are over`, () => load.elapsedMs() >= ms);
  return load.stop();
}

/** The latency that the fraction `q` of them does not exceed, ms; NaN where there are none. */
export function quantileMs(samples: readonly Sample[], q: number): number {
  const latenciesMs = Float64Array.from(samples, ({ latencyMs }) => latencyMs).sort();
  return percentile({ latenciesMs }, q);
}

/** How many requests ended with each status and code, as `503 STORE_UNAVAILABLE`. */
export function outcomesOf(samples: readonly Sample[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { status, code } of samples) {
    const outcome = [status, code].filter((part) => part !== undefined).join(" ");
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
  return counts;
}
