// Address ranges. An address that cannot be read is in none.
// Known gap: a range that only several others cover together does not count as lying in them.

import { BlockList, isIP, isIPv4, SocketAddress } from "node:net";
import { foldAddress } from "./address.ts";

/** Ranges in one list: each request of a token may be compared with all of them. */
export const mostCidrs = 1_024;

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

/** The 4 or 16 bytes of an address that can be read. */
function bytesOf(address: string): number[] {
  if (isIPv4(address)) return address.split(".").map(Number);
  const plain = address.replace(/\d+\.\d+\.\d+\.\d+$/, (four) => {
    const [a = 0, b = 0, c = 0, d = 0] = four.split(".").map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = "", tail] = plain.split("::");
  const words = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((word) => Number.parseInt(word, 16));
  const [front, back] = [words(head), words(tail ?? "")];
  const all = [...front, ...Array<number>(tail === undefined ? 0 : 8 - front.length - back.length).fill(0), ...back];
  return all.flatMap((word) => [word >> 8, word & 255]);
}

/** The one spelling of a range: its first address and its length; IPv4 ranges in IPv6 spelling are IPv4. Null where it is
 *  not written right. */
export function foldCidr(text: string): string | null {
  const range = rangeOf(text);
  if (range === null) return null;
  const bytes = bytesOf(range.address).map((byte, at) => {
    const bits = Math.min(8, Math.max(0, range.length - at * 8));
    return byte & (256 - 2 ** (8 - bits));
  });
  const mapped = bytes.length === 16 && range.length >= 96 && bytes.slice(0, 12).join() === `${"0,".repeat(10)}255,255`;
  if (range.family === "ipv4" || mapped) return `${bytes.slice(-4).join(".")}/${range.length - (mapped ? 96 : 0)}`;
  const words = Array.from({ length: 8 }, (_, at) =>
    (((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0)).toString(16),
  );
  return `${new SocketAddress({ address: words.join(":"), family: "ipv6" }).address}/${range.length}`;
}

/** The places of those that are not written right. */
export const wrongCidrs = (ranges: readonly string[]): readonly number[] =>
  ranges.flatMap((range, at) => (rangeOf(range) === null ? [at] : []));

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

/** What all addresses of a range begin with, after their family: a range lies in those whose text its own begins with. */
function beginningOf(text: string): string | null {
  const range = rangeOf(text);
  if (range === null) return null;
  const bits = bytesOf(range.address).map((byte) => byte.toString(2).padStart(8, "0"));
  return `${range.family} ${bits.join("").slice(0, range.length)}`;
}

/** A test for "lies in one of these", whose cost grows with how many lengths they have and not with how many they are. */
function liesIn(outer: readonly string[]): (range: string) => boolean {
  const beginnings = new Set(outer.flatMap((range) => beginningOf(range) ?? []));
  const lengths = [...new Set([...beginnings].map((beginning) => beginning.length))];
  return (range) => {
    const own = beginningOf(range);
    return own !== null && lengths.some((length) => length <= own.length && beginnings.has(own.slice(0, length)));
  };
}

/** Whether each of `inner` lies in one of `outer`. */
export const cidrsWithin = (inner: readonly string[], outer: readonly string[]): boolean => inner.every(liesIn(outer));

/** The addresses of both lists: two ranges either nest or have none in common. */
export const commonCidrs = (some: readonly string[], others: readonly string[]): readonly string[] => [
  ...new Set([...some.filter(liesIn(others)), ...others.filter(liesIn(some))]),
];
