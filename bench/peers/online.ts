/**
 * Our service and Feast's Python server in turn, loaded by the same generator: 34 features, of which
 * 20 are stored. feast_online.py runs it:
 * `node --import tsx bench/peers/online.ts FEAST_PORT ENTITIES PAIRS CONFIG`.
 */
import { openProgress } from "../../cli/progress.ts";
import { buildProduct, createKey, startService } from "../built.ts";
import { openEnvironment } from "../own-store.ts";
import { closedLoop, percentile, post, type Target } from "../load.ts";
import { fill } from "../online/online.ts";
import { measurePairs } from "../pairs.ts";
import { createRandom } from "../random.ts";
import { lineOf, median, rounded } from "../report.ts";

const [feastPort = "", entities = "", pairs = "", config = ""] = process.argv.slice(2);
const rows = Number(entities);
const secondsEach = 4;
/** Times as many requests as Feast's. */
const target = { min: 20 };

const progress = openProgress();
const environment = await openEnvironment(progress);
const built = await progress.step("build", () => buildProduct(environment.folder));
await fill(environment, rows);
const key = await createKey(built, environment.settings);
const server = await startService(built, environment.settings);
/** @throws where an answer lacks a value of the 34 features: a fast figure of none is no figure */
async function requireValues(port: number, path: string, body: object): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  // Feast answers with the key as well.
  const present = text.split('"PRESENT"').length - 1;
  if (present < 34) throw new Error(`${present} of 34 values are there: ${text.slice(0, 500)}`);
}

try {
  for (const [count, service, form] of [
    [1, "one", "rows"],
    [100, "many", "columns"],
  ] as const) {
    await requireValues(server.port, "/v1/features", {
      service: "features_34",
      entities: [{ id: "0" }],
    });
    await requireValues(Number(feastPort), "/get-online-features", {
      feature_service: service,
      entities: { id: ["0"] },
    });
    const random = createRandom(1);
    const ids = Array.from({ length: 256 }, () =>
      Array.from({ length: count }, () => String(Math.floor(random.uniform() * rows))),
    );
    const ours: Target = {
      port: server.port,
      requests: ids.map((each) =>
        post(
          "/v1/features",
          { service: "features_34", entities: each.map((id) => ({ id })), form },
          key,
        ),
      ),
    };
    const feast: Target = {
      port: Number(feastPort),
      requests: ids.map((each) =>
        post("/get-online-features", { feature_service: service, entities: { id: each } }),
      ),
    };
    const measure = (of: Target) => async () => {
      const load = await closedLoop(of, { connections: 16, seconds: secondsEach });
      // Latency of a caller that is alone.
      const alone = await closedLoop(of, { connections: 1, seconds: secondsEach / 2 });
      return { rate: load.latenciesMs.length / load.seconds, p50: percentile(alone, 0.5) };
    };
    const name = `${count} ${count === 1 ? "entity" : "entities"} × 34 features`;
    const measured = await progress.step(name, (detail) =>
      measurePairs(Number(pairs), detail, { figure: measure(ours), limit: measure(feast) }),
    );
    const p50 = (which: "figure" | "limit") =>
      rounded(median(measured.map((pair) => pair[which].p50)));
    const line = lineOf(
      {
        bench: "peers",
        case: `online, ${name}, against Feast's Python server`,
        unit: "requests/s",
        target,
        rows,
        config: {
          ...(JSON.parse(config) as object),
          connections: 16,
          p50_ms_of_one_caller: { figure: p50("figure"), limit: p50("limit") },
          mode: count === 1 ? "python, singleton" : "python",
          form,
        },
      },
      measured.map(({ figure, limit }) => ({ figure: figure.rate, limit: limit.rate })),
    );
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
} finally {
  await server.stop();
  await environment.stop();
}
process.stdout.write("", () => process.exit());
