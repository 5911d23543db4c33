// Address ranges. An address that cannot be read is in none.
// Known gap: a range that only several others cover together does not count as lying in them.

import { BlockList, isIP, isIPv4 } from "node:net";
import { foldAddress } from "./address.ts";

interface Range {
  readonly address: string;
  readonly family: "ipv4" | "ipv6";
  readonly length: number;
}

function rangeOf(text: string): Range | null {
  const [address = "", bits, ...rest] = text.split("/");
  const family = isIP(address);
  const most = family === 4 ? 32 : 128;
  const length = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
  // A zone id names an interface of one machine.
  if (family === 0 || address.includes("%") || length < 0 || length > most || rest.length > 0) return null;
  return { address, family: family === 4 ? "ipv4" : "ipv6", length };
}

/** The first that is not written right; null where all are. */
export const wrongCidr = (ranges: readonly string[]): string | null =>
  ranges.find((range) => rangeOf(range) === null) ?? null;

/** A test for "in one of these ranges", or null where one is not written right (it is named in the error of the caller). */
export function compileCidrs(ranges: readonly string[]): ((address: string) => boolean) | null {
  const list = new BlockList();
  for (const text of ranges) {
    const range = rangeOf(text);
    if (range === null) return null;
    list.addSubnet(range.address, range.length, range.family);
  }
  return (input) => {
    const address = foldAddress(input);
    return address !== null && list.check(address, isIPv4(address) ? "ipv4" : "ipv6");
  };
}

function lies(innerText: string, outerText: string): boolean {
  const inner = rangeOf(innerText);
  const outer = rangeOf(outerText);
  if (inner === null || outer === null || inner.family !== outer.family || inner.length < outer.length) return false;
  const list = new BlockList();
  list.addSubnet(outer.address, outer.length, outer.family);
  return list.check(inner.address, inner.family);
}

/** Whether each of `inner` lies in one of `outer`. */
export const cidrsWithin = (inner: readonly string[], outer: readonly string[]): boolean =>
  inner.every((one) => outer.some((other) => lies(one, other)));

/** The addresses of both lists: two ranges either nest or have none in common. */
export const commonCidrs = (some: readonly string[], others: readonly string[]): readonly string[] => [
  ...new Set([
    ...some.filter((one) => cidrsWithin([one], others)),
    ...others.filter((one) => cidrsWithin([one], some)),
  ]),
];
