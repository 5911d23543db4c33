// One entry as a file: "writ entry 1\n", version (8 bytes), size of the key (2), size of the value (4), the first 16 bytes
// of SHA-256 over all else, key, value. Numbers are big-endian.
// Must hold: what is given back was written whole, under this key. Whether it is the vault's own is for the barrier to say.

import { createHash } from "node:crypto";
import type { Stored } from "../../sdk/storage.ts";

const magic = Buffer.from("writ entry 1\n");
const sumSize = 16;
const headSize = magic.length + 14;

/** A digest short enough to keep and long enough that damage never passes. */
export function digest(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest().subarray(0, sumSize);
}

export class Damaged extends Error {
  override readonly name = "Damaged";
}

export function composeEntry(key: string, { value, version }: Stored): Buffer {
  const name = Buffer.from(key);
  const file = Buffer.allocUnsafe(headSize + sumSize + name.length + value.length);
  let at = magic.copy(file);
  at = file.writeBigUInt64BE(BigInt(version), at);
  at = file.writeUInt16BE(name.length, at);
  at = file.writeUInt32BE(value.length, at);
  name.copy(file, at + sumSize);
  file.set(value, at + sumSize + name.length);
  digest(file.subarray(0, headSize), file.subarray(at + sumSize)).copy(file, at);
  return file;
}

/** Throws Damaged. */
export function readEntry(key: string, file: Buffer): Stored {
  const damaged = new Damaged("an entry's file is damaged: restore it from a backup");
  if (file.length < headSize + sumSize || !file.subarray(0, magic.length).equals(magic)) throw damaged;
  const body = headSize + sumSize;
  const nameSize = file.readUInt16BE(magic.length + 8);
  const valueSize = file.readUInt32BE(magic.length + 10);
  if (file.length !== body + nameSize + valueSize) throw damaged;
  if (!digest(file.subarray(0, headSize), file.subarray(body)).equals(file.subarray(headSize, body))) throw damaged;
  if (file.toString("utf8", body, body + nameSize) !== key) throw damaged;
  return { version: Number(file.readBigUInt64BE(magic.length)), value: file.subarray(body + nameSize) };
}
