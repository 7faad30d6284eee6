/**
 * The features of a project: the one place that says where they are, used by every root.
 *
 * ONCEFLOW_FEATURES where it is set; else `features/` beside this file, as in the repository and
 * what is built of it; else `features/` of the working directory, for the installed package. It is
 * `index.js` or `index.ts`.
 */
import { statSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Catalogue, loadCatalogue } from "./engine/catalogue.ts";
import { messageOf, OnceflowError } from "./engine/errors.ts";

/** Builds the catalogue of the project. @throws CONFIG_INVALID, DEFINITION_INVALID */
export function loadProject(env: NodeJS.ProcessEnv = process.env): Promise<Catalogue> {
  return loadCatalogue(() => importModule(findFeatures(env)));
}

/** The path of the module that exports the modules of features. @throws CONFIG_INVALID */
function findFeatures({ ONCEFLOW_FEATURES = "" }: NodeJS.ProcessEnv): string {
  if (ONCEFLOW_FEATURES !== "") {
    const path = resolve(ONCEFLOW_FEATURES);
    if (isFile(path)) return path;
    throw new OnceflowError(
      "CONFIG_INVALID",
      `ONCEFLOW_FEATURES is "${ONCEFLOW_FEATURES}", and there is no file ${path}. Name the module that exports the modules of features, for example features/index.ts.`,
      { name: "ONCEFLOW_FEATURES" },
    );
  }
  const folders = [fileURLToPath(new URL("./features", import.meta.url)), resolve("features")];
  const found = folders
    .flatMap((folder) => ["index.js", "index.ts"].map((file) => resolve(folder, file)))
    .find(isFile);
  if (found !== undefined) return found;
  throw new OnceflowError(
    "CONFIG_INVALID",
    `there are no features: ${resolve("features")} has no index.ts and no index.js. Start in the folder of the project, or set ONCEFLOW_FEATURES to that module.`,
  );
}

const isFile = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isFile() === true;

/** Imports a module; TypeScript by the project's tsx, or without one by Node itself where it can. */
async function importModule(path: string): Promise<object> {
  // As TypeScript itself, this file shows that a loader is there.
  if (/\.[cm]?ts$/.test(path) && !import.meta.url.endsWith(".ts")) await registerTsx(path);
  return (await import(pathToFileURL(path).href)) as object;
}

function runsTypeScript(): boolean {
  const { typescript = false } = process.features as { readonly typescript?: string | false };
  return typescript !== false;
}

/**
 * Registers tsx also where Node runs TypeScript: Node finds no orders.ts by "./orders.js", which is
 * how modules that are compiled name each other.
 */
async function registerTsx(path: string): Promise<void> {
  try {
    // That of the project, whichever package manager has put it where. What is found is the
    // CommonJS half, which cannot register; the other is beside it.
    const found = pathToFileURL(createRequire(path).resolve("tsx/esm/api"));
    const api = (await import(new URL("./index.mjs", found).href)) as {
      readonly register: () => unknown;
    };
    api.register();
  } catch (error) {
    if (runsTypeScript()) return;
    throw new OnceflowError(
      "CONFIG_INVALID",
      `${path} is TypeScript, which Node ${process.versions.node} does not run, and tsx is not there (${messageOf(error)}). Install tsx, or build it and set ONCEFLOW_FEATURES to the JavaScript.`,
      {},
      error,
    );
  }
}
