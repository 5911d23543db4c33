// The age v1 file format (C2SP age.md) on node:crypto, for files that are in memory as a whole: header, STREAM payload,
// and one kind of stanza whose key is symmetric. `age-encryption` reads and writes the same files at a fortieth of the speed.
// Must hold: the parser takes exactly the grammar (canonical base64, no CR, no empty argument) and nothing is returned
// from a file before its last byte is authenticated. A file key is never used for two files.

import { createCipheriv, createDecipheriv, hash } from "node:crypto";
import { equalBytes, randomBuffer, zero } from "./bytes.ts";

/** Which part of a file is wrong. "match": no key fits the stanza, or the one that should does not open it. */
export type AgePart = "header" | "match" | "mac" | "payload";

export class AgeError extends Error {
  override readonly name = "AgeError";
  readonly part: AgePart;

  constructor(part: AgePart) {
    super(`age file: wrong ${part}`);
    this.part = part;
  }
}

export interface Stanza {
  readonly args: readonly string[];
  readonly body: Buffer;
}

export interface Header {
  readonly stanzas: readonly Stanza[];
  readonly mac: Buffer;
  /** What the MAC covers: everything up to and including "---". */
  readonly covered: Uint8Array;
  /** Bytes, the last newline included. */
  readonly size: number;
}

const intro = "age-encryption.org/v1\n";
const maxHeader = 64 * 1024;
const chunkSize = 64 * 1024;
const tagSize = 16;
const fileKeySize = 16;
const nonceSize = 16;
const saltSize = 16;
const vchars = /^[\x21-\x7e]+$/;
const zeroNonce = Buffer.alloc(12);
// HKDF-Extract without a salt is HMAC under 32 zeros (RFC 5869 section 2.2).
const noSalt = Buffer.alloc(32);

const block = 64;
const inner = Buffer.alloc(block + maxHeader);
const outer = Buffer.alloc(block + 32);
const ipad = Buffer.alloc(block, 0x36);
const opad = Buffer.alloc(block, 0x5c);
/** Views of `inner` by length, for what is short: making one costs as much as a hash. */
const views: Buffer[] = [];
const viewed = 512;

/** What keys are for. "entries": each opens one value, which is in memory in clear beside it. */
type Purpose = "keys" | "entries";

/** A hash that travelled as text. */
function bytesOf(text: string): Buffer {
  const bytes = Buffer.alloc(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** HMAC-SHA-256 (RFC 2104) under a key of at most 64 bytes. Two one-shot hashes cost less than createHmac, even with a key
 *  object. The inner hash travels as text, since a buffer costs more than the hash; without the key it tells nothing.
 *  Where the key is known to all and the data is the secret (HKDF-Extract), it tells everything: `secret` keeps it a
 *  buffer, which is overwritten. The outer hash is a buffer too, but for keys to entries. */
function hmac(key: Uint8Array, data: Uint8Array, purpose: Purpose, secret = false): Buffer {
  inner.set(ipad);
  outer.set(opad);
  for (let at = 0; at < key.length; at++) {
    const byte = key[at] ?? 0;
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  inner.set(data, block);
  const size = block + data.length;
  const view = size > viewed ? inner.subarray(0, size) : (views[size] ??= inner.subarray(0, size));
  if (secret) {
    const half = hash("sha256", view, "buffer");
    outer.set(half, block);
    zero(half);
  } else {
    outer.write(hash("sha256", view, "binary"), block, "latin1");
  }
  const mac = purpose === "entries" ? bytesOf(hash("sha256", outer, "binary")) : hash("sha256", outer, "buffer");
  inner.fill(0, 0, 2 * block);
  outer.fill(0);
  return mac;
}

const extract = (salt: Uint8Array, key: Uint8Array, purpose: Purpose): Buffer =>
  hmac(salt, key, purpose, purpose === "keys");

const oneByte = Buffer.from([1]);

/** HKDF-SHA-256 (RFC 5869), one block. `salt` has at most 64 bytes; empty is none. Leaves no copy of `key`, which
 *  node:crypto's own keeps in a key object until that is collected. */
export function hkdf(key: Uint8Array, salt: Uint8Array, info: string): Buffer {
  const extracted = extract(salt, key, "keys");
  const out = hmac(extracted, Buffer.concat([Buffer.from(info), oneByte]), "keys");
  zero(extracted);
  return out;
}

/** Unpadded and canonical, or null. */
export function fromBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, "base64");
  return toBase64(bytes) === text ? bytes : null;
}

export const toBase64 = (bytes: Buffer): string => bytes.toString("base64").slice(0, Math.ceil((bytes.length * 4) / 3));

/** Reads lines of ASCII; a last line without a newline is none. */
function lines(file: Uint8Array): () => string {
  const text = Buffer.from(file.buffer, file.byteOffset, Math.min(file.length, maxHeader)).toString("latin1");
  let at = 0;
  return () => {
    const end = text.indexOf("\n", at);
    if (end < 0) throw new AgeError("header");
    const line = text.slice(at, end);
    at = end + 1;
    return line;
  };
}

function stanzaOf(line: string, next: () => string): Stanza {
  const args = line.slice(3).split(" ");
  if (!args.every((arg) => vchars.test(arg))) throw new AgeError("header");
  const parts: Buffer[] = [];
  for (;;) {
    const text = next();
    const part = fromBase64(text);
    if (part === null || text.length > 64) throw new AgeError("header");
    parts.push(part);
    if (text.length < 64) return { args, body: parts.length === 1 ? part : Buffer.concat(parts) };
  }
}

/** Throws AgeError "header". */
export function parseHeader(file: Uint8Array): Header {
  const next = lines(file);
  let size = intro.length;
  const counted = (): string => {
    const line = next();
    size += line.length + 1;
    return line;
  };
  if (`${next()}\n` !== intro) throw new AgeError("header");
  const stanzas: Stanza[] = [];
  for (let line = counted(); ; line = counted()) {
    if (line.startsWith("-> ")) {
      stanzas.push(stanzaOf(line, counted));
      continue;
    }
    const mac = line.startsWith("--- ") ? fromBase64(line.slice(4)) : null;
    if (mac?.length !== 32 || stanzas.length === 0) throw new AgeError("header");
    return { stanzas, mac, covered: file.subarray(0, size - line.length - 1 + 3), size };
  }
}

const headerInfo = Buffer.from("header\x01");
const payloadInfo = Buffer.from("payload\x01");

/** HKDF-SHA-256 of the file key without a salt, then HMAC of the header (age.md, "Header MAC"). */
function macOf(fileKey: Uint8Array, covered: Uint8Array, purpose: Purpose): Buffer {
  const extracted = extract(noSalt, fileKey, purpose);
  const key = hmac(extracted, headerInfo, purpose);
  const mac = hmac(key, covered, purpose);
  zero(extracted, key);
  return mac;
}

/** Throws AgeError "mac". */
export function checkHeader(header: Header, fileKey: Uint8Array, purpose: Purpose = "keys"): void {
  if (!equalBytes(macOf(fileKey, header.covered, purpose), header.mac)) throw new AgeError("mac");
}

function payloadKey(fileKey: Uint8Array, nonce: Uint8Array, purpose: Purpose): Buffer {
  const extracted = extract(nonce, fileKey, purpose);
  const key = hmac(extracted, payloadInfo, purpose);
  zero(extracted);
  return key;
}

/** STREAM: eleven bytes of counter, one that marks the last chunk. */
function chunkNonce(index: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(index, 5, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

const aead = { authTagLength: tagSize };

function sealChunk(key: Uint8Array, nonce: Buffer, chunk: Uint8Array, out: Buffer, at: number): number {
  const cipher = createCipheriv("chacha20-poly1305", key, nonce, aead);
  out.set(cipher.update(chunk), at);
  cipher.final();
  out.set(cipher.getAuthTag(), at + chunk.length);
  return at + chunk.length + tagSize;
}

function openChunk(key: Uint8Array, nonce: Buffer, chunk: Uint8Array): Buffer | null {
  if (chunk.length < tagSize) return null;
  const decipher = createDecipheriv("chacha20-poly1305", key, nonce, aead);
  decipher.setAuthTag(chunk.subarray(chunk.length - tagSize));
  const plain = decipher.update(chunk.subarray(0, chunk.length - tagSize));
  try {
    decipher.final();
  } catch {
    zero(plain);
    return null;
  }
  return plain;
}

/** Nonce and STREAM, what follows the header. Throws AgeError "header" without a nonce, "payload" otherwise. */
export function openPayload(fileKey: Uint8Array, payload: Uint8Array, purpose: Purpose = "keys"): Buffer {
  if (payload.length < nonceSize) throw new AgeError("header");
  const key = payloadKey(fileKey, payload.subarray(0, nonceSize), purpose);
  const plain: Buffer[] = [];
  try {
    for (let index = 0, at = nonceSize; ; index++, at += chunkSize + tagSize) {
      const chunk = payload.subarray(at, at + chunkSize + tagSize);
      const last = at + chunk.length === payload.length;
      const part = openChunk(key, chunkNonce(index, last), chunk);
      // Only a file without content ends in an empty chunk.
      if (part === null || (last && part.length === 0 && index > 0)) throw new AgeError("payload");
      plain.push(part);
      if (last) break;
    }
  } catch (error) {
    zero(...plain);
    throw error;
  } finally {
    zero(key);
  }
  if (plain.length === 1 && plain[0] !== undefined) return plain[0];
  const whole = Buffer.concat(plain);
  zero(...plain);
  return whole;
}

/** A symmetric key that wraps file keys. Its stanza is `-> <name> <salt>`, where `name` is one or more arguments. */
export interface StanzaKey {
  readonly name: string;
  readonly purpose: Purpose;
  /** HKDF-Extract of the key, made once; the key itself is not kept. `wipe` overwrites it. */
  readonly extracted: Buffer;
  /** What HKDF-Expand is asked for: name, space, room for a salt, and a one. */
  readonly info: Buffer;
}

/** `key` is 32 uniformly random bytes and stays the caller's to wipe. */
export const stanzaKey = (name: string, key: Uint8Array, purpose: Purpose = "keys"): StanzaKey => ({
  name,
  purpose,
  extracted: extract(noSalt, key, "keys"),
  info: Buffer.concat([Buffer.from(`${name} `, "latin1"), Buffer.alloc(saltSize), Buffer.from([1])]),
});

/** Ends the key's use. */
export const wipe = (key: StanzaKey): void => zero(key.extracted);

/** HKDF-Expand with info = name, space, salt; one block. The salt stands in the info because the extract step, whose key
 *  it would be, is done once for all files (RFC 5869 sections 2.3 and 3.3: the input is a uniform key already). */
function wrappingKey({ extracted, info, purpose }: StanzaKey, salt: Buffer): Buffer {
  info.set(salt, info.length - 1 - saltSize);
  return hmac(extracted, info, purpose);
}

/** A whole age file in memory of its own. */
export function encryptFile(key: StanzaKey, plaintext: Uint8Array): Buffer {
  const fileKey = randomBuffer(fileKeySize);
  const salt = randomBuffer(saltSize);
  const wrapping = wrappingKey(key, salt);
  const stanza = `-> ${key.name} ${toBase64(salt)}\n${wrapFileKey(wrapping, fileKey)}\n`;
  const file = composeFile(fileKey, stanza, plaintext, key.purpose);
  zero(fileKey, wrapping);
  return file;
}

/** The body of a stanza, in base64. `wrapping` is used for this one file key. */
function wrapFileKey(wrapping: Uint8Array, fileKey: Uint8Array): string {
  const body = Buffer.alloc(fileKeySize + tagSize);
  sealChunk(wrapping, zeroNonce, fileKey, body, 0);
  return toBase64(body);
}

/** Null where `wrapping` does not open it. */
export function unwrapFileKey(wrapping: Uint8Array, body: Buffer): Buffer | null {
  if (body.length !== fileKeySize + tagSize) throw new AgeError("header");
  return openChunk(wrapping, zeroNonce, body);
}

/** `stanzas` are whole lines. */
function composeFile(fileKey: Uint8Array, stanzas: string, plaintext: Uint8Array, purpose: Purpose): Buffer {
  const covered = Buffer.from(`${intro}${stanzas}---`, "latin1");
  const mac = ` ${toBase64(macOf(fileKey, covered, purpose))}\n`;
  const nonce = randomBuffer(nonceSize);
  const stream = payloadKey(fileKey, nonce, purpose);
  const chunks = Math.max(1, Math.ceil(plaintext.length / chunkSize));
  const start = covered.length + mac.length + nonceSize;
  const file = Buffer.allocUnsafe(start + plaintext.length + chunks * tagSize);
  covered.copy(file);
  file.write(mac, covered.length, "latin1");
  nonce.copy(file, covered.length + mac.length);
  for (let index = 0, at = start; index < chunks; index++) {
    const chunk = plaintext.subarray(index * chunkSize, (index + 1) * chunkSize);
    at = sealChunk(stream, chunkNonce(index, index === chunks - 1), chunk, file, at);
  }
  zero(stream);
  return file;
}

/** A whole age file with one stanza. `wrap` gives the stanza's arguments and a key that wraps this one file key. */
export function encryptWith(
  wrap: () => { readonly args: readonly string[]; readonly wrapping: Uint8Array },
  plaintext: Uint8Array,
): Buffer {
  const fileKey = randomBuffer(fileKeySize);
  const { args, wrapping } = wrap();
  try {
    return composeFile(fileKey, `-> ${args.join(" ")}\n${wrapFileKey(wrapping, fileKey)}\n`, plaintext, "keys");
  } finally {
    zero(fileKey, wrapping);
  }
}

/** The file key in a stanza of a symmetric key, which the caller wipes; null where `find` has no key of its name. Throws
 *  AgeError where the stanza is malformed or does not open. */
export function openStanza(find: (name: string) => StanzaKey | null, { args, body }: Stanza): Buffer | null {
  const key = find(args.slice(0, -1).join(" "));
  if (key === null) return null;
  const salt = fromBase64(args.at(-1) ?? "");
  if (salt?.length !== saltSize || body.length !== fileKeySize + tagSize) throw new AgeError("header");
  const wrapping = wrappingKey(key, salt);
  const fileKey = unwrapFileKey(wrapping, body);
  zero(wrapping);
  if (fileKey === null) throw new AgeError("match");
  return fileKey;
}

/** `find` gives the key for a stanza's name. The file must have one stanza and no more. Throws AgeError. */
export function decryptFile(find: (name: string) => StanzaKey | null, file: Uint8Array): Buffer {
  const header = parseHeader(file);
  const stanza = header.stanzas[0];
  if (header.stanzas.length !== 1 || stanza === undefined) throw new AgeError("header");
  let purpose: Purpose = "keys";
  const fileKey = openStanza((name) => {
    const key = find(name);
    purpose = key?.purpose ?? purpose;
    return key;
  }, stanza);
  if (fileKey === null) throw new AgeError("match");
  try {
    checkHeader(header, fileKey, purpose);
    return openPayload(fileKey, file.subarray(header.size), purpose);
  } finally {
    zero(fileKey);
  }
}
