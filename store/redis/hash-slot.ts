/** Hash slots: which of the parts of a Redis Cluster a key belongs to. */
import type { RedisArgument } from "./types.ts";

/** How many hash slots every Cluster has. */
export const hashSlotCount = 16_384;

/** The hash slot of a key: CRC-16/XMODEM of its hash tag, or of all of it, modulo 16384. */
export function hashSlotOf(key: RedisArgument): number {
  const bytes = Buffer.isBuffer(key) ? key : Buffer.from(String(key));
  const start = bytes.indexOf(0x7b);
  const end = start < 0 ? -1 : bytes.indexOf(0x7d, start + 1);
  const isTagged = end > start + 1;
  let crc = 0;
  for (let i = isTagged ? start + 1 : 0; i < (isTagged ? end : bytes.length); i++)
    crc = ((crc << 8) & 0xffff) ^ (crcTable[(crc >> 8) ^ (bytes[i] as number)] as number);
  return crc % hashSlotCount;
}

const crcTable = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});
