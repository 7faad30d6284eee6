/**
 * Loads an HTTP server over keep-alive connections, one request at a time on each: in a closed loop
 * (each answer is followed by the next request) for the rate that a server reaches, or in an open
 * one (requests are due at a constant rate, whatever became of those before) for its latency. That
 * of an open loop counts from when a request was due, so a server that stalls cannot hide it by
 * keeping us from asking (coordinated omission).
 */
import { connect } from "node:net";
import { Worker } from "node:worker_threads";

/** Where to send, and what: the requests are taken in turn. */
export interface Target {
  readonly port: number;
  /** Whole HTTP/1.1 requests. */
  readonly requests: readonly Buffer[];
}

/** Latencies in milliseconds, ascending, and how long all took. */
export interface Load {
  readonly latenciesMs: Float64Array;
  readonly seconds: number;
}

/** The bytes of a POST with a JSON body, and with an API key where there is one. */
export function post(path: string, body: object, key?: string): Buffer {
  const json = JSON.stringify(body);
  const authorization = key === undefined ? "" : `authorization: Bearer ${key}\r\n`;
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n` +
      `${authorization}content-length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  );
}

/** Bytes of the body that answers the first request. */
export async function answerBytes({ port, requests }: Target): Promise<number> {
  const connection = await openConnection(port);
  const bytes = await connection.ask(requests[0] as Buffer);
  connection.close();
  return bytes;
}

/** A latency that so many of them (0 to 1) do not exceed; NaN where there are none. */
export function percentile({ latenciesMs }: Pick<Load, "latenciesMs">, share: number): number {
  return latenciesMs[Math.ceil(latenciesMs.length * share) - 1] ?? NaN;
}

/**
 * Sends as fast as answers come back.
 *
 * @throws where an answer is not 200
 */
export async function closedLoop(
  { port, requests }: Target,
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
): Promise<Load> {
  const latencies: number[] = [];
  let sent = 0;
  const started = performance.now();
  const endMs = started + seconds * 1000;
  const lane = async (): Promise<void> => {
    const connection = await openConnection(port);
    for (let now = performance.now(); now < endMs;) {
      await connection.ask(requests[sent++ % requests.length] as Buffer);
      const answered = performance.now();
      latencies.push(answered - now);
      now = answered;
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, lane));
  return loadOf(latencies, started);
}

/**
 * Sends at a constant rate; a request that is due while every connection is busy waits, and its
 * wait counts.
 *
 * @throws where an answer is not 200
 */
export async function openLoop(
  { port, requests }: Target,
  options: { readonly rate: number; readonly connections: number; readonly seconds: number },
): Promise<Load> {
  const { rate, connections, seconds } = options;
  const total = Math.round(rate * seconds);
  const latencies: number[] = [];
  const idle = await Promise.all(Array.from({ length: connections }, () => openConnection(port)));
  const all = [...idle];
  const metronome = startMetronome(1000 / rate);
  const everyMs = 1000 / rate;
  let next = 0;
  const started = performance.now() + 10;
  await new Promise<void>((resolve, reject) => {
    const sendDue = (): void => {
      const now = performance.now();
      while (next < total && idle.length > 0) {
        const dueMs = started + next * everyMs;
        if (dueMs > now) return;
        // In turn: a server closes one that is idle for long.
        const connection = idle.shift() as Connection;
        connection.ask(requests[next++ % requests.length] as Buffer).then(() => {
          latencies.push(performance.now() - dueMs);
          idle.push(connection);
          if (latencies.length === total) resolve();
          else sendDue();
        }, reject);
      }
    };
    metronome.on("message", sendDue).on("error", reject);
  }).finally(() => metronome.terminate());
  for (const connection of all) connection.close();
  return loadOf(latencies, started);
}

function loadOf(latencies: readonly number[], startedMs: number): Load {
  const seconds = (performance.now() - startedMs) / 1000;
  return { latenciesMs: Float64Array.from(latencies).sort(), seconds };
}

/** A thread that sends a message whenever a request may be due; a timer of Node's is 1 ms late. */
function startMetronome(everyMs: number): Worker {
  return new Worker(
    `const { parentPort, workerData } = require("node:worker_threads");
    const never = new Int32Array(new SharedArrayBuffer(4));
    for (let due = performance.now(); ; due += workerData) {
      Atomics.wait(never, 0, 0, Math.max(0, due - performance.now()));
      parentPort.postMessage(0);
    }`,
    // Not more often than the messages themselves would be a load.
    { eval: true, workerData: Math.max(0.25, everyMs), execArgv: [] },
  );
}

interface Connection {
  /** Resolves with the bytes of the body once all are here. One at a time. */
  readonly ask: (request: Buffer) => Promise<number>;
  readonly close: () => void;
}

const endOfHead = "\r\n\r\n";

async function openConnection(port: number): Promise<Connection> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve).once("error", reject);
  });
  let resolve: (bytes: number) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  let head: Buffer = Buffer.alloc(0);
  let bytes = 0;
  /** Bytes of the body that have not arrived; undefined while the head has not. */
  let missing: number | undefined;
  socket.on("data", (chunk) => {
    if (missing === undefined) {
      const all: Buffer = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const end = all.indexOf(endOfHead);
      if (end < 0) return void (head = all);
      head = Buffer.alloc(0);
      const text = all.toString("latin1", 0, end);
      const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
      if (!text.startsWith("HTTP/1.1 200") || length === undefined)
        return reject(new Error(`the server answered ${all.toString("utf8", 0, 500)}`));
      bytes = Number(length);
      missing = bytes - (all.length - end - endOfHead.length);
    } else missing -= chunk.length;
    if (missing > 0) return;
    missing = undefined;
    resolve(bytes);
  });
  socket.on("error", (error) => reject(error));
  const closed = () => new Error("the server closed a connection");
  socket.on("close", () => reject(closed()));
  return {
    ask: (request) =>
      new Promise((...done) => {
        [resolve, reject] = done;
        if (socket.destroyed) reject(closed());
        else socket.write(request);
      }),
    close() {
      reject = () => undefined;
      socket.destroy();
    },
  };
}
