/** `backup` and `restore`: what of Redis cannot be made again from the offline store. */
import { readFile, writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { messageOf, OnceflowError } from "../../../engine/errors.ts";
import { emptyRegistry, type Registry } from "../../../engine/registry.ts";
import { countOf } from "../../../engine/words.ts";
import { type ApiKeyRecord, readApiKeys, restoreApiKeys } from "../../../store/api-keys.ts";
import { readRegistry, writeRegistry } from "../../../store/registry.ts";
import {
  type Context,
  finishCommand,
  type JsonOption,
  type Reply,
  whoRuns,
  withRedis,
} from "../../context.ts";

/** What a backup holds. */
interface Backup {
  readonly onceflow_backup: 1;
  /** With hashes in place of keys. */
  readonly api_keys: readonly ApiKeyRecord[];
  readonly registry: Registry;
}

interface BackupOptions extends JsonOption {
  readonly out: string;
}

/** Adds the commands. */
export function addBackup(program: Command, context: Context): void {
  const backupCommand = program
    .command("backup")
    .summary("write API keys and what was applied to a file")
    .description(
      "Writes what of Redis cannot be made again from the offline store: the records of API keys " +
        "(hashes, no keys) and which definitions were applied. Everything else a worker puts back " +
        "by itself. Run it after each change of keys and each apply, and keep the file elsewhere.",
    )
    .option("--out <file>", "where to write", "onceflow-backup.json")
    .action((options: BackupOptions) =>
      context.answer(options, () => backup(context, options.out)),
    );
  finishCommand(backupCommand, ["backup", "backup --out /backups/onceflow.json --json"]);

  const restoreCommand = program
    .command("restore")
    .argument("<file>", "what backup has written")
    .summary("put back what backup has written")
    .description(
      "Puts back the records of API keys that Redis does not have, and what was applied, where " +
        "Redis knows of nothing applied. What is there stays as it is: a key that was revoked since " +
        "the backup stays revoked. Where Redis has lost it, revoke it again: it works as it did " +
        "when the backup was made.",
    )
    .action((file: string, options: JsonOption) =>
      context.answer(options, () => restore(context, file)),
    );
  finishCommand(restoreCommand, [
    "restore onceflow-backup.json",
    "restore /backups/onceflow.json --json",
  ]);
}

async function backup(context: Context, file: string): Promise<Reply> {
  const settings = context.settings();
  const found = await withRedis(settings, "writing", async (redis): Promise<Backup> => {
    const records = (await readApiKeys(redis, settings))?.records;
    return {
      onceflow_backup: 1,
      api_keys: [...(records?.values() ?? [])],
      registry: await readRegistry(redis, settings),
    };
  });
  try {
    await writeFile(file, `${JSON.stringify(found, null, 2)}\n`, { mode: 0o600 });
  } catch (error) {
    throw unusable(file, "written", error);
  }
  const [keys, views] = [found.api_keys.length, Object.keys(found.registry.views).length];
  return {
    data: { file, api_keys: keys, views },
    text: () =>
      `wrote ${countOf(keys, "API key")} and ${countOf(views, "applied view")} to ${file}`,
  };
}

async function restore(context: Context, file: string): Promise<Reply> {
  const settings = context.settings();
  const { api_keys: keys, registry } = await readBackup(file);
  const found = await withRedis(settings, "writing", async (redis) => {
    const restored = await restoreApiKeys(redis, keys, whoRuns(), settings);
    const isRegistryEmpty = (await readRegistry(redis, settings)) === emptyRegistry;
    const wasApplied = Object.keys(registry.views).length > 0;
    if (isRegistryEmpty && wasApplied)
      await writeRegistry(redis, { before: emptyRegistry, after: registry }, settings);
    return { restored, isRegistryEmpty, wasApplied };
  });
  const { restored, isRegistryEmpty, wasApplied } = found;
  return {
    data: { file, api_keys: restored, kept: keys.length - restored, registry: isRegistryEmpty },
    text: () =>
      [
        `put back ${countOf(restored, "API key")} of ${keys.length}${restored < keys.length ? "; the others were there" : ""}`,
        !wasApplied
          ? "nothing was applied when the backup was made"
          : isRegistryEmpty
            ? "put back what was applied"
            : "left what was applied: Redis knows of an apply",
      ].join("\n"),
  };
}

/** @throws CONFIG_INVALID */
async function readBackup(file: string): Promise<Backup> {
  let found: Partial<Backup> | null;
  try {
    found = JSON.parse(await readFile(file, "utf8")) as typeof found;
  } catch (error) {
    throw unusable(file, "read", error);
  }
  const isBackup =
    found?.onceflow_backup === 1 &&
    Array.isArray(found.api_keys) &&
    typeof found.registry?.views === "object" &&
    typeof found.registry.services === "object";
  if (!isBackup)
    throw new OnceflowError("CONFIG_INVALID", `${file} is no file that backup has written.`, {
      file,
    });
  return found as Backup;
}

function unusable(file: string, done: string, error: unknown): OnceflowError {
  return new OnceflowError(
    "CONFIG_INVALID",
    `${file} cannot be ${done}: ${messageOf(error)}.`,
    { file },
    error,
  );
}
