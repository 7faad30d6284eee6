/** `register-search-attributes`: makes a namespace of Temporal ready for runs. */
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { OnceflowError } from "../../engine/errors.ts";
import type { Settings } from "../../settings.ts";
import { type Context, finishCommand, type JsonOption, openRuns, type Reply } from "../context.ts";
import { openProgress, silentProgress } from "../progress.ts";
import { fields } from "../table.ts";

/** A server reads anew once a minute which search attributes there are. */
const [knownWithinMs, lookMs] = [90_000, 500];

/** Adds the command. */
export function addRegisterSearchAttributes(program: Command, context: Context): void {
  const command = program
    .command("register-search-attributes")
    .summary("make a namespace of Temporal ready for runs, once")
    .description(
      "Registers the search attributes that runs carry in TEMPORAL_NAMESPACE, and waits until the " +
        "server knows them, up to 90 seconds. Once for each namespace, before the first `apply`; " +
        "what is registered is left as it is, so it may be run again. The namespace itself must be " +
        "there.",
    )
    .action((options: JsonOption) =>
      context.answer(options, () => register(context, options.json === true)),
    );
  finishCommand(command, ["register-search-attributes", "register-search-attributes --json"]);
}

async function register(context: Context, quiet: boolean): Promise<Reply> {
  const settings = context.settings();
  const { temporalNamespace: namespace } = settings;
  const { registerSearchAttributes, knowsSearchAttributes } =
    await import("../search-attributes.ts");
  const runs = await openRuns(settings);
  const place = { connection: runs.client.connection, namespace };
  const progress = quiet ? silentProgress : openProgress(context.terminal.err);
  const { registered, present } = await runs.attempt(() =>
    progress.step(`search attributes of ${namespace}`, async (detail) => {
      const found = await registerSearchAttributes(place);
      // One who may not register, or not even list them, is fine where a query knows them.
      const untilMs = Date.now() + (found.refusal === null ? knownWithinMs : 0);
      while (!(await knowsSearchAttributes(place))) {
        if (Date.now() >= untilMs) throw await refused(settings, found.refusal);
        detail("registered; the server does not know them yet");
        await pause(lookMs);
      }
      return found;
    }),
  );
  return {
    data: { namespace, registered, present },
    text: () =>
      [
        registered.length > 0
          ? `registered in namespace ${namespace}`
          : `nothing to register in namespace ${namespace}`,
        fields([
          ["registered", registered.join(", ") || undefined],
          ["were there", present.join(", ") || undefined],
        ]),
      ]
        .filter((part) => part !== "")
        .join("\n"),
  };
}

async function refused(settings: Settings, refusal: string | null): Promise<OnceflowError> {
  const { attributeNames } = await import("../search-attributes.ts");
  const { temporalAddress, temporalNamespace } = settings;
  const why =
    refusal === null
      ? `does not know them ${knownWithinMs / 1000} seconds after it was told. Run it again`
      : `refuses it: ${refusal}. Have its operator register them`;
  return new OnceflowError(
    "CONFIG_INVALID",
    `${attributeNames}, each a Keyword, are to be search attributes of the namespace "${temporalNamespace}", and the Temporal server at ${temporalAddress} ${why}.`,
    { name: "TEMPORAL_NAMESPACE" },
  );
}
