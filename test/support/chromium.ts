/** A real browser for pages: the machine's Chromium, installed where that is possible. */
import { type Browser, chromium } from "playwright-core";
import { aptInstall, findAptGet } from "../../dev/apt.ts";
import { findOnPath } from "../../dev/processes.ts";
import { openProgress } from "../../cli/progress.ts";

const names = ["chromium", "chromium-browser", "google-chrome"];

/** Starts the browser; undefined where there is none and none can be installed. */
export async function launchChromium(): Promise<Browser | undefined> {
  const executablePath = findChromium() ?? (await installChromium());
  // Root may not use Chromium's own sandbox; the pages are our own.
  return executablePath === undefined
    ? undefined
    : chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

function findChromium(): string | undefined {
  return names
    .map((name) => findOnPath(name, process.env))
    .find((path): path is string => path !== undefined);
}

async function installChromium(): Promise<string | undefined> {
  const aptGet = findAptGet(process.env);
  if (aptGet === undefined) return undefined;
  await openProgress().step(
    "Chromium: none on the PATH, installing it with apt-get",
    (detail) => aptInstall(aptGet, "chromium", process.env, detail),
    () => "Chromium: installed with apt-get",
  );
  return findChromium();
}
