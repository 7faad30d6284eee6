import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { OnceflowError } from "../engine/errors.ts";
import { environmentOf } from "../environment.ts";
import { readSettings } from "../settings.ts";
import { downEnv } from "./support/run-cli.ts";

describe("settings", () => {
  it("reads the log level in any case, and takes none or an empty one as warn", () => {
    const levelOf = (text?: string) => readSettings({ ONCEFLOW_LOG: text }).logLevel;
    assert.deepEqual([undefined, "", "WARN", "Debug", "info", "ERROR"].map(levelOf), [
      "warn",
      "warn",
      "warn",
      "debug",
      "info",
      "error",
    ]);
  });

  it("takes a variable that is empty as one that is not there", () => {
    const names = ["REDIS_URL", "TEMPORAL_ADDRESS", "ONCEFLOW_PREFIX", "ONCEFLOW_QUEUE"] as const;
    const empty = readSettings(Object.fromEntries(names.map((name) => [name, ""])));
    assert.deepEqual(empty, readSettings({}));
    assert.equal(empty.redisUrl, "redis://127.0.0.1:6379");
  });

  it("refuses a log level that is none", () => {
    for (const text of ["loud", "trace", " warn"])
      assert.throws(() => readSettings({ ONCEFLOW_LOG: text }), {
        code: "CONFIG_INVALID",
        message: `ONCEFLOW_LOG is "${text}"; give one of debug, info, warn, error.`,
      });
  });

  it("takes an empty variable as none, and refuses all others in the same words", () => {
    const refused = [
      ["ONCEFLOW_METRICS_PORT", "80x", "give a number from 0 to 65535, 0 for any port, or nothing"],
      ["ONCEFLOW_METRICS_PORT", "65536", "give a number from 0 to 65535"],
      ["ONCEFLOW_LOG_DETAILS", "yes", "give one of true, false"],
      ["ONCEFLOW_READY", "later", "give one of filled, materialized, store"],
      ["ONCEFLOW_BUILD", "a b", "give up to 100 letters"],
      ["ONCEFLOW_SOURCES", '{"a":1}', "give a JSON object of paths"],
    ] as const;
    const defaults = readSettings({});
    for (const [name, text, wanted] of refused) {
      assert.deepEqual(readSettings({ [name]: "" }), defaults);
      assert.throws(
        () => readSettings({ [name]: text }),
        ({ code, message, details }: OnceflowError) =>
          code === "CONFIG_INVALID" &&
          message.startsWith(`${name} is "${text}"; ${wanted}`) &&
          details["name"] === name,
        name,
      );
    }
    assert.equal(readSettings({ ONCEFLOW_LOG_DETAILS: "TRUE" }).logDetails, true);
  });

  it("shows no password of a URL that it refuses", () => {
    const { refuse } = environmentOf({ REDIS_URL: "redis://a:hunter2@x,redis://b:hunter2@y" });
    assert.equal(
      refuse("REDIS_URL", "give another").message,
      'REDIS_URL is "redis://…@x,redis://…@y"; give another.',
    );
  });

  /** What a worker that cannot start says. */
  async function failureOf(level: string, ...args: readonly string[]): Promise<string> {
    const child = spawn(process.execPath, ["--import", "tsx", "worker.ts", ...args], {
      cwd: fileURLToPath(new URL("../", import.meta.url)),
      env: { ...process.env, ...downEnv, ONCEFLOW_LOG: level },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (bytes) => (errors += String(bytes)));
    const [code] = (await once(child, "close")) as [number | null];
    assert.equal(code, 1);
    return errors;
  }

  it("stops a worker with a log level that is none, and lets it start with one", async () => {
    assert.match(await failureOf("loud"), /^CONFIG_INVALID ONCEFLOW_LOG is "loud"; /);
    assert.match(await failureOf("error"), /^TEMPORAL_UNAVAILABLE /m);
  }).timeout(60_000);

  it("stops a worker whose command line is wrong, in the words of the server", async () => {
    const misuse = [
      [["--quue", "x"], 'there is no option "--quue"; see --help.'],
      [["online"], 'there is no option "online"; see --help.'],
      [["--help=no"], "--help takes no value; see --help."],
      [["--queue", "x"], '--queue is "x"; expected offline or online.'],
    ] as const;
    const said = await Promise.all(misuse.map(([args]) => failureOf("warn", ...args)));
    assert.deepEqual(
      said,
      misuse.map(([, words]) => `CONFIG_INVALID ${words}\n`),
    );
  }).timeout(60_000);
});
