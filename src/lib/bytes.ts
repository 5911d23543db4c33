// Byte arrays that may hold keys: wiping, comparing, random ones; and the byte order of strings.
// Must hold: nothing here turns bytes into a string.
// Known gap: V8 and OpenSSL may have copied what is wiped here (test/e2e/memory.prove.ts looks for what is left).

import { randomFillSync, timingSafeEqual } from "node:crypto";

/** Overwrites every buffer given with zeros. */
export function zero(...buffers: readonly (Uint8Array | null | undefined)[]): void {
  for (const buffer of buffers) buffer?.fill(0);
}

const noticed = 256 * 1024;

/** Gives memory back at once that nobody looks at any more, where there is so much of it that to wait for its collection
 *  would count. What is a part of something larger stays. */
export function release(bytes: Uint8Array | null | undefined): void {
  if (!bytes || bytes.byteLength < noticed || bytes.byteLength < bytes.buffer.byteLength) return;
  if (bytes.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0);
}

/** In time that depends on the lengths only. */
export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);

/** `size` zeros outside of V8's heap, for keys and shares. Arrays of up to 64 bytes are otherwise made inside of it, where
 *  they leave a copy whenever they are moved, cut, or handed to OpenSSL. */
export const keyBytes = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array(new ArrayBuffer(size));

/** A copy of a key or share. */
export function copyKey(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = keyBytes(bytes.length);
  out.set(bytes);
  return out;
}

export const randomKey = (size: number): Uint8Array<ArrayBuffer> => randomFillSync(keyBytes(size));

const pool = Buffer.alloc(8192);
let used = pool.length;

/** `size` bytes from the system's generator, in memory of their own. Drawn in blocks: a call into OpenSSL costs more than
 *  the bytes do. What has been handed out is wiped from the block. */
export function randomBuffer(size: number): Buffer<ArrayBuffer> {
  const out = Buffer.alloc(size);
  if (size > pool.length) return randomFillSync(out);
  if (used + size > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  pool.copy(out, 0, used, used + size);
  pool.fill(0, used, used + size);
  used += size;
  return out;
}

const unit = (code: number): number => (code >= 0xe000 ? code - 0x800 : code >= 0xd800 ? code + 0x2000 : code);

/** The order of the strings' UTF-8 bytes. `<` compares UTF-16 units, which sorts U+E000..U+FFFF behind the astral planes. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    const x = a.charCodeAt(at);
    const y = b.charCodeAt(at);
    if (x !== y) return unit(x) - unit(y);
  }
  return a.length - b.length;
}
