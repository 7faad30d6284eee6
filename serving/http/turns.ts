/**
 * The requests of a connection are answered one after the other, and each answer has to be taken
 * before the next is made: a client that sends requests and reads no answers costs this process one
 * answer, not as many as fit into what it sent.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { createDeadlines } from "../../engine/shared-timer.ts";

/** What clients may leave lying. */
export interface TurnLimits {
  /** How long a client may take to read an answer that is ready. */
  readonly replyMs: number;
  /** Requests of a connection that wait for those before them; it is closed after these. */
  readonly waiting: number;
  /** Requests of a connection beyond those, at which it is closed at once. */
  readonly flood: number;
  /** Bytes of answers that wait to be read; beyond them, who has not read for longest is closed. */
  readonly unreadBytes: number;
}

const defaultLimits: TurnLimits = {
  replyMs: 10_000,
  waiting: 64,
  flood: 256,
  unreadBytes: 64 * 1024 * 1024,
};

/** The requests of a connection. */
interface Line {
  isBusy: boolean;
  /** Requests that found no room; none that comes after them may be answered. */
  leftOut: number;
  readonly waiting: (readonly [IncomingMessage, ServerResponse])[];
}

/** The listener of a server that has its requests wait for their turn. */
export function inTurn(
  listener: RequestListener,
  limits: Partial<TurnLimits> = {},
): RequestListener {
  const { replyMs, waiting: most, flood, unreadBytes } = { ...defaultLimits, ...limits };
  const lines = new WeakMap<Socket, Line>();
  /** Bytes that are not sent yet, the answer that has waited longest first. */
  const unread = new Map<ServerResponse, number>();
  let unreadSum = 0;
  const deadlines = createDeadlines<ServerResponse>(replyMs, ({ socket }) => socket?.destroy());

  function watch(response: ServerResponse): void {
    const bytes = response.socket?.writableLength ?? 0;
    if (bytes === 0) return;
    deadlines.watch(response);
    unread.set(response, bytes);
    unreadSum += bytes;
    for (const [oldest, size] of unread) {
      // Whoever is alone may have as much as an answer can be.
      if (unreadSum <= unreadBytes || unread.size === 1) break;
      unread.delete(oldest);
      unreadSum -= size;
      oldest.socket?.destroy();
    }
  }

  function forget(response: ServerResponse): void {
    const bytes = unread.get(response);
    if (bytes === undefined) return;
    deadlines.forget(response);
    unread.delete(response);
    unreadSum -= bytes;
  }

  function begin(request: IncomingMessage, response: ServerResponse, line: Line): void {
    const { socket } = request;
    line.isBusy = true;
    response.once("prefinish", () => watch(response));
    response.once("close", () => {
      forget(response);
      line.isBusy = false;
      if (socket.destroyed) return void line.waiting.splice(0);
      const next = line.waiting.shift();
      if (next === undefined) return;
      // For those that were left out the client has to ask anew.
      if (line.waiting.length === 0 && line.leftOut > 0) next[1].setHeader("connection", "close");
      begin(...next, line);
    });
    listener(request, response);
  }

  return (request, response) => {
    const { socket } = request;
    if (socket.destroyed) return;
    let line = lines.get(socket);
    if (line === undefined) lines.set(socket, (line = { isBusy: false, leftOut: 0, waiting: [] }));
    if (!line.isBusy) begin(request, response, line);
    else if (line.waiting.length < most && line.leftOut === 0)
      line.waiting.push([request, response]);
    else if (++line.leftOut > flood) socket.destroy();
  };
}
