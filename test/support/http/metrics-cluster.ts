/**
 * A primary process and two workers, each with metrics of its own, served as one. A worker counts
 * as many requests as its number, and blocks its event loop where it is told to, as it says before.
 */
import cluster from "node:cluster";
import { once } from "node:events";
import { Counter, Gauge, Registry } from "prom-client";
import {
  clusterMetrics,
  startMetrics,
  tellMetrics,
} from "../../../serving/telemetry/metrics-server.ts";

if (cluster.isPrimary) {
  const workers = [cluster.fork(), cluster.fork()];
  await Promise.all(workers.map((worker) => once(worker, "online")));
  /** So long a scrape waits for a worker that does not answer. */
  const withinMs = 300;
  const registry = clusterMetrics(cluster, withinMs);
  const { url } = await startMetrics({ registry, port: 0, host: "127.0.0.1" });
  process.on("message", ({ kill, block }: { kill?: number; block?: number }) => {
    const worker = workers[(kill ?? block ?? 0) - 1];
    if (kill === undefined) {
      worker?.on("message", (said) => said === "blocked" && process.send?.("blocked"));
      worker?.send("block");
    } else {
      worker?.once("exit", () => process.send?.("killed"));
      worker?.process.kill("SIGKILL");
    }
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.({ url, withinMs });
} else {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: "requests_total", help: "…", registers }).inc(cluster.worker?.id ?? 0);
  new Gauge({ name: "age", help: "…", registers, aggregator: "max" }).set(cluster.worker?.id ?? 0);
  new Gauge({ name: "processes", help: "…", registers }).set(1);
  tellMetrics(registry);
  process.on("message", (message) => {
    if (message !== "block") return;
    process.send?.("blocked", () => {
      for (;;);
    });
  });
}
