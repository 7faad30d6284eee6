/**
 * The payload converter for Temporal: JSON as by default, `json/plain`, with numbers that are exact
 * (engine/json-text.ts). Temporal loads it by its path, into the sandbox of workflows too: it
 * imports nothing of Node.
 */
import {
  BinaryPayloadConverter,
  CompositePayloadConverter,
  type Payload,
  type PayloadConverterWithEncoding,
  UndefinedPayloadConverter,
} from "@temporalio/common";
import { parseJson, writeJson } from "../engine/json-text.ts";

const encodingType = "json/plain";
const metadata = { encoding: new TextEncoder().encode(encodingType) };
// Text that is no UTF-8 is refused, not repaired: a repaired key would be another key.
const utf8 = new TextDecoder("utf-8", { fatal: true });

const exactJson: PayloadConverterWithEncoding = {
  encodingType,
  toPayload(value: unknown): Payload | undefined {
    // Undefined for what has no JSON, a function for example.
    const text = writeJson(value) as string | undefined;
    return text === undefined ? undefined : { metadata, data: new TextEncoder().encode(text) };
  },
  fromPayload<T>({ data }: Payload): T {
    return parseJson(utf8.decode(data ?? new Uint8Array())) as T;
  },
};

export const payloadConverter = new CompositePayloadConverter(
  new UndefinedPayloadConverter(),
  new BinaryPayloadConverter(),
  exactJson,
);
