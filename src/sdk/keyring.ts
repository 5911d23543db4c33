// The keys of a keyring as one age identity, which `age-plugin-writ` takes: AGE-PLUGIN-WRIT-1….
// Bytes: one byte 1, then for each term its number (4 bytes, big-endian) and its key (32 bytes).
// Known gap: an identity is a string, which nobody can overwrite.

import { stanzaKey, type StanzaKey } from "../lib/age.ts";
import { decodeBech32, encodeBech32 } from "../lib/bech32.ts";
import { zero } from "../lib/bytes.ts";

export interface TermKey {
  readonly id: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

const prefix = "age-plugin-writ-";
const format = 1;
const keySize = 32;
const termSize = 4 + keySize;

/** The stanza's name for a term: `writ-keyring 1`. */
export const stanzaName = (term: number): string => `writ-keyring ${term}`;

export function encodeIdentity(terms: readonly TermKey[]): string {
  const bytes = Buffer.alloc(1 + terms.length * termSize);
  let at = bytes.writeUInt8(format);
  for (const { id, key } of terms) {
    at = bytes.writeUInt32BE(id, at);
    bytes.set(key, at);
    at += keySize;
  }
  const text = encodeBech32(prefix, bytes).toUpperCase();
  zero(bytes);
  return text;
}

/** By the name in the stanza; null where `text` is no such identity. */
export function decodeIdentity(text: string): ReadonlyMap<string, StanzaKey> | null {
  const decoded = decodeBech32(text);
  if (decoded === null || decoded.prefix !== prefix) return null;
  const { bytes } = decoded;
  if (bytes[0] !== format || bytes.length < 1 + termSize || (bytes.length - 1) % termSize !== 0) return null;
  const keys = new Map<string, StanzaKey>();
  for (let at = 1; at < bytes.length; at += termSize) {
    const name = stanzaName(bytes.readUInt32BE(at));
    keys.set(name, stanzaKey(name, bytes.subarray(at + 4, at + termSize)));
  }
  zero(bytes);
  return keys;
}
