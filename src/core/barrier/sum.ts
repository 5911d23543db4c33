// The sum over all entries, by which an entry that was rolled back or deleted is found: an entry's element is an HMAC of
// its key, its version and the head of its file, and the sum is that of all elements, modulo 2^256 (MSet-Add-Hash of
// Clarke, Devadas, van Dijk, Gassend and Suh, "Incremental multiset hash functions", 2003). A write takes the element of
// what it replaces out and adds its own.
// Must hold: the sum's record is an age file bound to its key and version like any other entry, and its version goes up
// with every write, so that neither a sum that was seen before nor one that is calculated from two of them passes for
// the current one. An element goes into the sum at most once in the life of a vault: the head of a file holds a random
// salt and the wrapped file key, so even an entry written again under a version that came again has another element.
// Elements are known to nobody without the key, and the sums are encrypted: there is nothing to search a second set of
// entries of the same sum with, so that 256 bits are enough (in the open, generalised birthdays would ask for more).

import type { KeyObject } from "node:crypto";
import { hmacOf } from "../../lib/hmac.ts";
import type { Stored } from "../../sdk/storage.ts";

export const sumKey = "core/sum";
/** Entries outside the sum: its own record, and the one that is there before the keys are. */
const uncounted: ReadonlySet<string> = new Set([sumKey, "core/seal"]);
export const counted = (key: string): boolean => !uncounted.has(key);

export interface Sum {
  readonly count: number;
  readonly total: bigint;
}

export const emptySum: Sum = { count: 0, total: 0n };

/** Of a file's first stanza: its salt and the wrapped file key end before the 116th byte, whatever the term. */
const headSize = 128;
const modulus = (1n << 256n) - 1n;
const totalSize = 32;
const recordSize = 1 + 8 + totalSize;
const format = 1;

const frame = Buffer.alloc(8 + 1024 + 1 + headSize);

/** Version, storage key and bytes, as one; good until the next call. */
export function framed(key: string, version: number, head: Uint8Array): Uint8Array {
  frame.writeUInt32BE(Math.floor(version / 2 ** 32), 0);
  frame.writeUInt32BE(version % 2 ** 32, 4);
  let end = 8 + frame.write(key, 8, "utf8");
  // Keys hold no NUL: what follows are the bytes.
  frame[end++] = 0;
  frame.set(head, end);
  return frame.subarray(0, end + head.length);
}

/** `key` is a storage key. */
export const elementOf = (mac: KeyObject, key: string, { value, version }: Stored): bigint =>
  BigInt(`0x${hmacOf(mac).hex(framed(key, version, value.subarray(0, headSize)))}`);

/** `sum` once an entry with element `before` is one with element `after`; null where there is none. */
export function replaced(sum: Sum, before: bigint | null, after: bigint | null): Sum {
  const count = sum.count + (after === null ? 0 : 1) - (before === null ? 0 : 1);
  return { count, total: (sum.total + (after ?? 0n) - (before ?? 0n)) & modulus };
}

/** `sum` and a difference of two sums. */
export const corrected = (sum: Sum, { count, total }: Sum): Sum => ({
  count: sum.count + count,
  total: (sum.total + total) & modulus,
});

export const sameSum = (a: Sum, b: Sum): boolean => a.count === b.count && a.total === b.total;

/** One byte 1, number of entries (8 bytes, two's complement: who tampers can bring it below 0), total (32). */
export function encodeSum({ count, total }: Sum): Buffer {
  const bytes = Buffer.alloc(recordSize);
  bytes[0] = format;
  bytes.writeBigInt64BE(BigInt(count), 1);
  bytes.write(total.toString(16).padStart(2 * totalSize, "0"), 9, "hex");
  return bytes;
}

/** Null where `bytes` are no sum. */
export function decodeSum(bytes: Buffer): Sum | null {
  if (bytes.length !== recordSize || bytes[0] !== format) return null;
  return { count: Number(bytes.readBigInt64BE(1)), total: BigInt(`0x${bytes.toString("hex", 9)}`) };
}
