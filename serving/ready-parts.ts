/** The parts of bound plans, made ready to read stored rows, and kept. */
import type { View } from "../engine/catalogue.ts";
import { createLru } from "../engine/lru.ts";
import type { BoundPart, StoreRead } from "../engine/plan-parts.ts";
import type { Plan } from "../engine/planner.ts";
import type { RowCodec, RowDecoder } from "../store/rows/codec.ts";
import { createRowCodec } from "../store/rows/codec.ts";

/** The stored columns that a part reads of one view. */
export interface PartRead extends StoreRead {
  readonly decode: RowDecoder;
}

/** Outputs that are computed together or not at all, with the decoder of the row they rest on. */
export interface Part extends BoundPart {
  readonly read: PartRead | undefined;
}

/**
 * Gives the parts of a plan for the inputs and the keys that rows carry.
 *
 * @throws MISSING_INPUT
 */
export type BindParts = (inputs: ReadonlySet<string>, keys: ReadonlySet<string>) => readonly Part[];

/** Sets of inputs and keys whose parts each plan keeps: those used last. */
const boundLimit = 64;

/** Makes the function that binds plans, each of which keeps its parts, whatever their order. */
export function createPartBinder(): (plan: Plan) => BindParts {
  const codecs = new Map<View, RowCodec>();

  function withDecoder(part: BoundPart): Part {
    const { read } = part;
    if (read === undefined) return { ...part, read };
    const codec = codecs.get(read.view) ?? createRowCodec(read.view.stores);
    codecs.set(read.view, codec);
    return { ...part, read: { ...read, decode: codec.decoder(read.columns) } };
  }

  return (plan) => {
    const kept = createLru<string, readonly Part[]>(boundLimit);
    return (inputs, keys) => {
      const key = [...inputs, "|", ...keys].sort().join(",");
      let parts = kept.get(key);
      if (parts === undefined) {
        parts = plan.bind(inputs, keys).map(withDecoder);
        kept.set(key, parts);
      }
      return parts;
    };
  };
}
