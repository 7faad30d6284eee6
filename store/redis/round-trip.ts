/**
 * Commands that go to one Redis process together, and their replies within a deadline.
 *
 * A pipeline of the client takes 35 to 45 % more CPU time, so only scripts go through one; see
 * docs/adr/0010-redis-cluster-client.md.
 */
import { Command, type Redis } from "ioredis";
import { createDeadlines } from "../../engine/shared-timer.ts";
import { asError } from "../../engine/errors.ts";
import { scriptKeys } from "./scripts.ts";
import type { RedisCommand, RedisReply } from "./types.ts";

/** What became of a command: its reply, or the error that it failed with. */
export type Outcome = RedisReply | Error;

type Settle = (place: number, outcome: Outcome) => void;

const timedOut = new Error("Command timed out");
/** What a command without a connection fails with. */
export const closed = new Error("Connection is closed");

/**
 * Makes the function that sends commands by a client in one round trip of at most `limitMs`.
 *
 * @param refusal - what every command fails with, whatever Redis answers; undefined as a rule
 */
export function createRoundTrips(
  client: Redis,
  { limitMs, refusal }: { readonly limitMs: number; readonly refusal: () => Error | undefined },
): (commands: readonly RedisCommand[]) => Promise<Outcome[]> {
  const sendPlain = createPlainSender(client);
  /** Of commands that wait for replies, those sent together at once: what gives them up. */
  const deadlines = createDeadlines<() => void>(limitMs, (giveUp) => giveUp());

  return (commands) =>
    new Promise((resolve) => {
      const outcomes = new Array<Outcome>(commands.length).fill(timedOut);
      let missing = commands.length;
      if (missing === 0) return resolve(outcomes);
      // Replies that come later are for nobody.
      const giveUp = (): void => resolve([...outcomes]);
      deadlines.watch(giveUp);
      const settle: Settle = (place, outcome) => {
        outcomes[place] = refusal() ?? outcome;
        if (--missing > 0) return;
        deadlines.forget(giveUp);
        resolve(outcomes);
      };
      if (commands.some(([name]) => name in scriptKeys)) void sendScripts(client, commands, settle);
      else sendPlain(commands, settle);
    });
}

/** Sends scripts, and what goes with them: a pipeline of the client loads what Redis does not hold. */
async function sendScripts(
  client: Redis,
  commands: readonly RedisCommand[],
  settle: Settle,
): Promise<void> {
  let outcomes: [error: Error | null, reply: unknown][] = [];
  let unsent = closed;
  try {
    const sent = commands.map(([name, ...args]) => [`${name}Buffer`, ...args]);
    outcomes = (await client.pipeline(sent).exec()) ?? [];
  } catch (error) {
    unsent = asError(error);
  }
  for (const place of commands.keys()) {
    const [error, reply] = outcomes[place] ?? [unsent, null];
    settle(place, error ?? (reply as RedisReply));
  }
}

/** Sends commands that are no scripts. */
function createPlainSender(client: Redis) {
  const writeTogether = createCork(client);
  /** Commands without a reply yet. */
  let inFlight = 0;

  return (commands: readonly RedisCommand[], settle: Settle): void => {
    inFlight += commands.length;
    // What is alone has nobody to wait for.
    if (inFlight > commands.length) writeTogether();
    const joined = commands.length > 1 ? joinWrites(client) : undefined;
    try {
      for (const [place, [name, ...args]] of commands.entries()) {
        const done = (outcome: Outcome): void => {
          inFlight--;
          settle(place, outcome);
        };
        const command = new Command(name, args, { replyEncoding: null });
        client.sendCommand(command, joined?.stream);
        command.promise.then(done as (reply: unknown) => void, (error: unknown) => {
          done(asError(error));
        });
      }
    } finally {
      joined?.end();
    }
  };
}

/**
 * Makes the function that holds back what is written until the end of this turn of the event loop:
 * one system call for the commands of all requests that came in with it.
 */
function createCork(client: Redis): () => void {
  let corked: Redis["stream"] | undefined;
  return () => {
    // There is none before the first connection.
    const stream = client.stream as Redis["stream"] | undefined;
    if (stream === undefined || stream === corked) return;
    corked = stream;
    stream.cork();
    setImmediate(() => {
      stream.uncork();
      corked = undefined;
    });
  };
}

type CommandStream = NonNullable<Parameters<Redis["sendCommand"]>[1]>;

/**
 * A stream for commands that are sent in one go: what they write is written as one piece at `end`,
 * since each piece costs as much as a short command. Nothing else may be sent before that, or
 * replies would go to the wrong commands.
 */
function joinWrites(client: Redis) {
  const pieces: (string | Buffer)[] = [];
  let isOpen = true;
  const stream = {
    write(piece: string | Buffer) {
      // The client writes later what it had to queue.
      if (isOpen) pieces.push(piece);
      else client.stream.write(piece);
    },
  };
  return {
    stream: stream as unknown as CommandStream,
    end(): void {
      isOpen = false;
      if (pieces.length === 0) return;
      const isText = pieces.every((piece) => typeof piece === "string");
      try {
        client.stream.write(isText ? pieces.join("") : Buffer.concat(pieces.map(bytesOf)));
      } catch {
        // Too much for one piece. The client waits for replies to what was never sent, and would
        // take those of later commands for them.
        client.disconnect(true);
      }
    },
  };
}

function bytesOf(piece: string | Buffer): Buffer {
  return typeof piece === "string" ? Buffer.from(piece) : piece;
}
