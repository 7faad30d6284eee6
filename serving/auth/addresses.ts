/** Addresses and names of hosts, as clients, proxies and settings spell them. */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";

/** What stands for all addresses that are none: what a proxy forwards may be any text. */
const noAddress = "no address";

/**
 * What stands for a client address, however it is spelled and with a port or without: an IPv4
 * address itself, also where IPv6 maps it, or the /64 of IPv6, of which a client has all.
 */
export function callerOfAddress(text: string): string {
  const address = addressOf(text);
  if (address === undefined) return noAddress;
  if (isIPv4(address)) return address;
  const groups = groupsOf(address);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join(".");
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}

/** The address alone of what proxies write: `ip`, `ip:port`, `[ip]`, `[ip]:port`, `ip%zone`. */
export function addressOf(text: string): string | undefined {
  const [, bracketed, withPort] =
    /^"?(?:\[([^\]]*)\](?::\d+)?|([\d.]+):\d+)"?$/.exec(text.trim()) ?? [];
  const address = (bracketed ?? withPort ?? text.trim()).split("%")[0] as string;
  return isIP(address) === 0 ? undefined : address;
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): readonly number[] {
  const [head = "", tail] = address
    .replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
      const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number);
      return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
    })
    .split("::");
  const read = (groups: string) =>
    groups === "" ? [] : groups.split(":").map((group) => parseInt(group, 16));
  const [first, last] = [read(head), read(tail ?? "")];
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
}

/** Whether only this machine can reach an address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/**
 * Makes the check whether an address is one of these addresses and networks (`10.0.0.0/8`), however
 * it is spelled and with a port or without.
 */
export function addressesIn(networks: readonly string[]): (text: string) => boolean {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", bits] = network.split("/");
    const family = isIPv6(address) ? "ipv6" : "ipv4";
    list.addSubnet(
      address,
      bits === undefined ? (family === "ipv6" ? 128 : 32) : Number(bits),
      family,
    );
  }
  return (text) => {
    const address = addressOf(text);
    return address !== undefined && list.check(address, isIPv6(address) ? "ipv6" : "ipv4");
  };
}

/** A name of a host, without a port. */
export const hostName =
  /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i;

/**
 * Makes the check whether a header `Host` names this service. A page of the web can have its own
 * name resolved to any address (DNS rebinding), and then asks under that name; it has no way to ask
 * under an address, under `localhost`, or under the names that are given.
 */
export function hostsNamed(names: readonly string[]): (header: string) => boolean {
  const known = new Set(names.map((name) => name.toLowerCase()));
  return (header) => {
    if (addressOf(header) !== undefined) return true;
    const name = header.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
    return name === "localhost" || name.endsWith(".localhost") || known.has(name);
  };
}
