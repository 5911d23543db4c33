// Network addresses: how they are written, which are this machine's own, and one spelling for each.

import { isIP, isIPv4, SocketAddress } from "node:net";

/** 203.0.113.7 and ::ffff:203.0.113.7 are one; IPv6 is written as RFC 5952 says; what follows "%" names an interface of
 *  one machine and is left out. Null where it is no address. */
export function foldAddress(text: string): string | null {
  const [plain = ""] = text.split("%", 1);
  if (isIPv4(plain)) return plain;
  if (isIP(plain) !== 6) return null;
  const { address } = new SocketAddress({ address: plain, family: "ipv6" });
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
}

/** 127.0.0.0/8 and ::1, however written. */
export function isLoopbackAddress(address: string): boolean {
  const folded = foldAddress(address);
  return folded !== null && (folded === "::1" || folded.startsWith("127."));
}

export type Place = { readonly path: string } | { readonly host: string; readonly port: number };

/** Where to listen: "127.0.0.1:8200", "[::1]:8200", or the path of a unix socket ("/…" or "unix:/…"). Throws an Error that
 *  says how an address is written. */
export function parsePlace(address: string): Place {
  const path = address.startsWith("unix:") ? address.slice("unix:".length) : address;
  if (path.startsWith("/")) return { path };
  const [, six, four, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = six ?? four ?? "";
  const port = Number(digits);
  if (isIP(host) === (six === undefined ? 4 : 6) && port <= 65_535) return { host, port };
  throw new Error(
    `listen address ${JSON.stringify(address)}: write 127.0.0.1:8200, [::1]:8200 or the path of a unix socket`,
  );
}

/** Whether only this machine can reach the place. */
export const isLocal = (place: Place): boolean => "path" in place || isLoopbackAddress(place.host);
