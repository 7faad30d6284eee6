/** Real processes of server.ts and worker.ts, and every line that they print. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { startTcpProxy } from "../../support/redis/tcp-proxy.ts";
import { type RunningServer, startServer } from "../../support/http/server-process.ts";
import { type TestRedis, testRedis } from "../../support/redis/server.ts";
import { testTemporal } from "../../support/temporal/deployment.ts";
import { until } from "../../support/until.ts";

type Line = Readonly<Record<string, unknown>>;

const programs = {
  server: ["server.ts", "--processes", "1"],
  "server of two processes": ["server.ts", "--processes", "2"],
  "offline worker": ["worker.ts"],
  "online worker": ["worker.ts", "--queue", "online"],
} as const;
type Name = keyof typeof programs;
const names = Object.keys(programs) as Name[];

/** The lines of a text, each of which must be a JSON object. */
function linesOf(text: string): Line[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const parsed: unknown = line.startsWith("{") ? JSON.parse(line) : undefined;
      assert.ok(typeof parsed === "object", `no object: ${line}`);
      return parsed as Line;
    });
}

describe("What processes print", function () {
  this.timeout(120_000);
  let redis: TestRedis;
  let temporal: string;
  before(async () => {
    redis = await testRedis();
    temporal = (await testTemporal()).address;
  });
  after(() => redis.stop());

  const start = (name: Name, env: Readonly<Record<string, string>>) =>
    startServer(
      {
        REDIS_URL: redis.url,
        ONCEFLOW_PREFIX: redis.prefix,
        ONCEFLOW_QUEUE: redis.prefix,
        TEMPORAL_ADDRESS: temporal,
        ONCEFLOW_LOG_FORMAT: "json",
        ONCEFLOW_DRAIN_SECONDS: "0",
        ...env,
      },
      { args: programs[name] },
    );
  const all = ({ out, errors }: RunningServer) => [...linesOf(out()), ...linesOf(errors())];
  const isReady = ({ out, errors }: RunningServer) => {
    assert.doesNotMatch(errors(), /"code":"[A-Z]+_/);
    return /listening on|worker polls/.test(out());
  };

  for (const name of names)
    it(`is JSON also where they do not start: ${name}`, async () => {
      const nobody = "127.0.0.1:1";
      const isServer = name.startsWith("server");
      for (const [env, code] of [
        [{ ONCEFLOW_LOG: "loud" }, "CONFIG_INVALID"],
        [{ ONCEFLOW_FEATURES: "none.ts" }, "CONFIG_INVALID"],
        [{ ONCEFLOW_FEATURES: "features" }, "CONFIG_INVALID"],
        [{ ONCEFLOW_PREFIX: "a b" }, "CONFIG_INVALID"],
        ...(isServer ? [] : [[{ TEMPORAL_NAMESPACE: "nowhere" }, "CONFIG_INVALID"] as const]),
        isServer
          ? ([{ REDIS_URL: `redis://${nobody}` }, "STORE_UNAVAILABLE"] as const)
          : ([{ TEMPORAL_ADDRESS: nobody }, "TEMPORAL_UNAVAILABLE"] as const),
      ] as const) {
        const running = start(name, env);
        assert.equal(await running.exit, 1);
        const [line, ...others] = all(running);
        assert.deepEqual([line?.["code"], line?.["level"], others], [code, "error", []]);
      }
    });

  for (const name of names)
    it(`is JSON where features print, warn, and fail: ${name}`, async () => {
      const features = fileURLToPath(new URL("fixtures/printing.ts", import.meta.url));
      const running = start(name, { ONCEFLOW_FEATURES: features });
      await until("it is ready", () => isReady(running));
      const isSupervised = name === "server of two processes";
      const signal = isSupervised ? "SIGTERM" : "SIGUSR2";
      running.child.kill(signal);
      if (!isSupervised) {
        // A rejection ends nothing, an error does.
        await until("a line of it", () => running.errors().includes("a promise was rejected"));
        running.child.kill(signal);
      }
      assert.equal(await running.exit, isSupervised ? 0 : 1);
      const said = all(running).map(({ level, code, msg }) => [level, code, msg]);
      for (const expected of [
        ["info", undefined, "loaded { features: 1 }"],
        ["error", undefined, "two"],
        ["error", undefined, "lines"],
        ["error", undefined, "no line end"],
        ["warn", "DEP4711", "an old way"],
        ...(isSupervised
          ? []
          : [["error", "INTERNAL", "this process ends, for an error that nothing caught"]]),
      ])
        assert.ok(
          said.some((each) => String(each) === String(expected)),
          `${String(expected)}: ${JSON.stringify(said)}`,
        );
    });

  for (const format of ["json", "text"] as const)
    it(`is JSON while Temporal is down, also its own native lines: ${format}`, async () => {
      const proxy = await startTcpProxy(Number(temporal.split(":")[1]));
      const running = start("offline worker", {
        TEMPORAL_ADDRESS: `127.0.0.1:${proxy.port}`,
        ONCEFLOW_LOG_FORMAT: format,
      });
      await until("it is ready", () => isReady(running));
      await proxy.stop();
      await until("a native line", () => running.errors().includes("temporalio_client"));
      await running.kill();
      if (format === "json") all(running);
      else {
        linesOf(running.errors());
        assert.match(running.out(), /^onceflow worker polls \S+ on \S+\n$/);
      }
    });
});
