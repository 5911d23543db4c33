// Age files bound to where they belong: the plaintext begins with a path and a version, checked on reading, so that one
// entry can neither stand in for another nor for an earlier version of itself.
// Plaintext: one byte 1, path length (2 bytes), path (UTF-8), version (8 bytes), value. Numbers are big-endian.

import { AgeError, decryptFile, encryptFile, type StanzaKey } from "./age.ts";

/** What a bound file adds to the value before encryption, in bytes. */
const fixed = 1 + 2 + 8;
const format = 1;

/** Plaintext with room for `size` bytes of value, which starts at `start`. `path` is at most 65,535 bytes of UTF-8. */
function frame(path: string, version: number, size: number): { readonly bytes: Buffer; readonly start: number } {
  const length = Buffer.byteLength(path);
  const start = fixed + length;
  const bytes = Buffer.allocUnsafe(start + size);
  bytes[0] = format;
  bytes.writeUInt16BE(length, 1);
  bytes.write(path, 3);
  bytes.writeUInt32BE(Math.floor(version / 2 ** 32), 3 + length);
  bytes.writeUInt32BE(version % 2 ** 32, 7 + length);
  return { bytes, start };
}

/** An age file that opens only as `path` at `version` (a safe integer >= 0). */
export function encryptBound(key: StanzaKey, path: string, version: number, value: Uint8Array): Buffer {
  const { bytes, start } = frame(path, version, value.length);
  bytes.set(value, start);
  const file = encryptFile(key, bytes);
  bytes.fill(0);
  return file;
}

/** The value. Throws AgeError; "match" also where the file belongs to another path or version. */
export function decryptBound(
  find: (name: string) => StanzaKey | null,
  path: string,
  version: number,
  file: Uint8Array,
): Buffer {
  const plain = decryptFile(find, file);
  const { bytes, start } = frame(path, version, 0);
  if (plain.length < start || bytes.compare(plain, 0, start) !== 0) {
    plain.fill(0);
    throw new AgeError("match");
  }
  return plain.subarray(start);
}
