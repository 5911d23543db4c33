// Address ranges. An address that cannot be read is in none.

import { BlockList, isIP } from "node:net";

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** The IPv4 address inside an IPv6-mapped one, anything else as it is. */
export const plainAddress = (address: string): string => mapped.exec(address)?.[1] ?? address;

/** A test for "in one of these ranges", or null where one is not written right (it is named in the error of the caller). */
export function compileCidrs(ranges: readonly string[]): ((address: string) => boolean) | null {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = "", bits] = range.split("/");
    const family = isIP(address);
    const length = bits === undefined ? (family === 4 ? 32 : 128) : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
    if (family === 0 || length < 0 || length > (family === 4 ? 32 : 128)) return null;
    list.addSubnet(address, length, family === 4 ? "ipv4" : "ipv6");
  }
  return (input) => {
    const address = plainAddress(input);
    const family = isIP(address);
    return family !== 0 && list.check(address, family === 4 ? "ipv4" : "ipv6");
  };
}
