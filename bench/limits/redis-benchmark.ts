/** The limit of writing: what redis-benchmark reaches on the same Redis with values of this size. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** SET of so many values, 50 deep, over as many random keys: requests/s. */
export async function setsPerSecond(url: string, count: number, bytes: number): Promise<number> {
  const { hostname, port } = new URL(url);
  const { stdout } = await promisify(execFile)("redis-benchmark", [
    "-h",
    hostname,
    "-p",
    port,
    "-t",
    "set",
    "-P",
    "50",
    "--csv",
    "-n",
    String(count),
    "-r",
    String(count),
    "-d",
    String(Math.round(bytes)),
  ]);
  const rate = Number(/"SET","([\d.]+)"/.exec(stdout)?.[1]);
  if (!(rate > 0)) throw new Error(`redis-benchmark said: ${stdout}`);
  return rate;
}
