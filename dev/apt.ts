/** Installs a Debian package, where the process may: on Debian, as root. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { ownPath, ownTemporaryDirectory } from "./owned.ts";
import { findOnPath, runProcess } from "./processes.ts";

/** The path of `apt-get`, where it may be used: on Debian, as root. */
export function findAptGet(env: NodeJS.ProcessEnv): string | undefined {
  const isDebianRoot = process.getuid?.() === 0 && existsSync("/etc/debian_version");
  return isDebianRoot ? findOnPath("apt-get", env) : undefined;
}

/**
 * Installs a package; a service that it brings is not started.
 *
 * @throws SETUP_FAILED with the end of the log of apt-get.
 */
export async function aptInstall(
  aptGet: string,
  packageName: string,
  env: NodeJS.ProcessEnv,
  detail: (text: string) => void,
): Promise<void> {
  const { path: directory, release } = ownTemporaryDirectory("apt");
  const run = (what: string, args: string[], uninterruptible: boolean) => {
    detail(what);
    return runProcess({
      name: `apt-get ${args[0] ?? ""}`,
      command: aptGet,
      args: ["-o", "DPkg::Lock::Timeout=120", "-q", "-y", ...args],
      env: { ...env, DEBIAN_FRONTEND: "noninteractive" },
      logFile: join(directory, "apt.log"),
      uninterruptible,
    });
  };
  try {
    // An old list of packages may do: let the install decide.
    await run("updating the list of packages", ["update"], false).catch(() => undefined);
    await run("downloading", ["install", "--download-only", packageName], false);
    const allowServices = await denyServices();
    try {
      // dpkg must not be cut off half-way.
      await run("unpacking", ["install", "--no-download", packageName], true);
    } finally {
      await allowServices();
    }
  } finally {
    await release();
  }
}

/** Keeps a package from starting a system service of its own, as Debian's policy provides. */
async function denyServices(): Promise<() => Promise<void>> {
  const policy = "/usr/sbin/policy-rc.d";
  try {
    await writeFile(policy, "#!/bin/sh\nexit 101\n", { flag: "wx", mode: 0o755 });
  } catch {
    // The machine has a policy already, and it stands.
    return () => Promise.resolve();
  }
  return ownPath(policy);
}
