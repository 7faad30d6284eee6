/** Says by name what is missing when polars cannot be loaded. */
import { messageOf, OnceflowError } from "../errors.ts";

/**
 * Loads polars once, so that a process that needs it fails at its start and says why.
 *
 * Modules that import polars by value must be loaded after it, with `await import(…)`.
 *
 * @throws POLARS_MISSING naming the platform's package and the fix
 */
export async function requirePolars(
  load: () => Promise<unknown> = () => import("nodejs-polars"),
): Promise<void> {
  try {
    await load();
  } catch (cause) {
    const missing = nativePackage();
    throw new OnceflowError(
      "POLARS_MISSING",
      `nodejs-polars cannot load its native part, the package "${missing}" (${messageOf(cause)}). npm skips it without a word where optional dependencies are left out or the Node version is not one it supports: run "npm ci --include=optional" with the Node version of package.json, on this platform.`,
      { package: missing, node: process.version },
      cause,
    );
  }
}

/** The npm package that carries polars' native code for this platform. */
export function nativePackage(): string {
  const { platform, arch } = process;
  if (platform === "win32") return `nodejs-polars-win32-${arch}-msvc`;
  if (platform !== "linux") return `nodejs-polars-${platform}-${arch}`;
  return `nodejs-polars-linux-${arch}-${usesGlibc() ? "gnu" : "musl"}`;
}

function usesGlibc(): boolean {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime !== undefined;
}
