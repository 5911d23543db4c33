// JSON (RFC 8259) read and written as bytes, for the few messages whose strings are keys: no value of a string member
// ever becomes a JavaScript string, which nobody could overwrite.
// Must hold: `scanObject` accepts exactly the JSON objects that JSON.parse accepts (nested to 32 at most); what the
// decoders return is fresh memory that its caller owns and overwrites; no result and no failure carries the input.
// Known gap: decoding looks up tables by secret bytes, which a neighbour on the same core could time.

import { isUtf8 } from "node:buffer";
import { keyBytes } from "./bytes.ts";

/** A member's value. `raw` is a view into the input, between the quotes, with its escapes. */
export type Member =
  | { readonly type: "string"; readonly raw: Uint8Array }
  | { readonly type: "number"; readonly value: number }
  | { readonly type: "boolean"; readonly value: boolean }
  | { readonly type: "null" }
  | { readonly type: "nested"; readonly empty: boolean };

const maxDepth = 32;
const quote = 0x22;
const backslash = 0x5c;
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
const isHex = (byte: number): boolean => (hexValues[byte] ?? 0xff) !== 0xff;

function valuesOf(alphabet: string): Uint8Array {
  const table = new Uint8Array(256).fill(0xff);
  for (let at = 0; at < alphabet.length; at++) table[alphabet.charCodeAt(at)] = at;
  return table;
}

const hexAlphabet = new TextEncoder().encode("0123456789abcdef");
const hexValues = valuesOf("0123456789abcdef");
for (let at = 10; at < 16; at++) hexValues[0x41 + at - 10] = at;
const base64Text = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const base64Alphabet = new TextEncoder().encode(base64Text);
const base64Values = valuesOf(base64Text);
/** The letter after a backslash, and the byte that it stands for. */
const escapes = new Map([
  [0x22, 0x22],
  [0x5c, 0x5c],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);

class Malformed extends Error {}

/** Reads forward over one text. Every method starts at `at` and leaves it behind what it took. */
class Scanner {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get #next(): number {
    return this.#bytes[this.#at] ?? -1;
  }

  #space(): void {
    while (isSpace(this.#next)) this.#at++;
  }

  #take(byte: number): boolean {
    if (this.#next !== byte) return false;
    this.#at++;
    return true;
  }

  #expect(byte: number): void {
    if (!this.#take(byte)) throw new Malformed();
  }

  end(): void {
    this.#space();
    if (this.#at !== this.#bytes.length) throw new Malformed();
  }

  string(): Uint8Array {
    this.#expect(quote);
    const start = this.#at;
    for (;;) {
      const byte = this.#next;
      if (byte < 0x20) throw new Malformed(); // a control character, or the end of the input
      this.#at++;
      if (byte === quote) return this.#bytes.subarray(start, this.#at - 1);
      if (byte !== backslash) continue;
      const letter = this.#next;
      this.#at++;
      if (escapes.has(letter)) continue;
      if (letter !== 0x75) throw new Malformed();
      for (let digit = 0; digit < 4; digit++, this.#at++) if (!isHex(this.#next)) throw new Malformed();
    }
  }

  #digits(): void {
    if (!isDigit(this.#next)) throw new Malformed();
    while (isDigit(this.#next)) this.#at++;
  }

  #number(): Member {
    const start = this.#at;
    this.#take(0x2d);
    if (!this.#take(0x30)) this.#digits();
    if (this.#take(0x2e)) this.#digits();
    if (this.#take(0x65) || this.#take(0x45)) {
      if (!this.#take(0x2b)) this.#take(0x2d);
      this.#digits();
    }
    const text = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, this.#at - start).toString("latin1");
    return { type: "number", value: Number(text) };
  }

  #word<M extends Member>(word: string, member: M): M {
    for (let at = 0; at < word.length; at++) this.#expect(word.charCodeAt(at));
    return member;
  }

  #list(depth: number): Member {
    this.#expect(0x5b);
    this.#space();
    if (this.#take(0x5d)) return { type: "nested", empty: true };
    do {
      this.#space();
      this.#value(depth + 1);
      this.#space();
    } while (this.#take(0x2c));
    this.#expect(0x5d);
    return { type: "nested", empty: false };
  }

  object(depth: number, member: (name: Uint8Array, value: Member) => void = () => {}): Member {
    this.#space();
    this.#expect(0x7b);
    this.#space();
    if (this.#take(0x7d)) return { type: "nested", empty: true };
    do {
      this.#space();
      const name = this.string();
      this.#space();
      this.#expect(0x3a);
      this.#space();
      member(name, this.#value(depth + 1));
      this.#space();
    } while (this.#take(0x2c));
    this.#expect(0x7d);
    return { type: "nested", empty: false };
  }

  #value(depth: number): Member {
    if (depth > maxDepth) throw new Malformed();
    const byte = this.#next;
    if (byte === quote) return { type: "string", raw: this.string() };
    if (byte === 0x7b) return this.object(depth);
    if (byte === 0x5b) return this.#list(depth);
    if (byte === 0x74) return this.#word("true", { type: "boolean", value: true });
    if (byte === 0x66) return this.#word("false", { type: "boolean", value: false });
    if (byte === 0x6e) return this.#word("null", { type: "null" });
    return this.#number();
  }
}

const isName = (raw: Uint8Array, name: string): boolean =>
  raw.length === name.length && raw.every((byte, at) => byte === name.charCodeAt(at));

/** The members called `names` (ASCII, written without escapes) of the one object in `bytes`; of a name that stands
 *  twice, the last. Null where `bytes` is not one JSON object in UTF-8. */
export function scanObject<N extends string>(
  bytes: Uint8Array,
  names: readonly N[],
): Readonly<Partial<Record<N, Member>>> | null {
  if (!isUtf8(bytes)) return null;
  const found: Partial<Record<N, Member>> = {};
  try {
    const scanner = new Scanner(bytes);
    scanner.object(0, (raw, value) => {
      const name = names.find((one) => isName(raw, one));
      if (name !== undefined) found[name] = value;
    });
    scanner.end();
    return found;
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

/** Resolves escapes, which some encoders write even into base64 (`\/`, `\u002B`). Null beyond ASCII. Fresh memory. */
function unescape(raw: Uint8Array): Uint8Array | null {
  const out = keyBytes(raw.length);
  let length = 0;
  for (let at = 0; at < raw.length; at++) {
    let byte = raw[at] ?? 0;
    if (byte === backslash) {
      const letter = raw[++at] ?? 0;
      byte = escapes.get(letter) ?? 0;
      if (letter === 0x75) {
        for (let digit = 0; digit < 4; digit++) byte = byte * 16 + (hexValues[raw[++at] ?? 0] ?? 0);
      }
    }
    if (byte > 0x7f) {
      out.fill(0);
      return null;
    }
    out[length++] = byte;
  }
  return out.subarray(0, length);
}

const decodeWith =
  (decode: (text: Uint8Array) => Uint8Array | null) =>
  (raw: Uint8Array): Uint8Array | null => {
    const text = unescape(raw);
    const bytes = text === null ? null : decode(text);
    text?.fill(0);
    return bytes;
  };

function fromHex(text: Uint8Array): Uint8Array | null {
  if (text.length === 0 || text.length % 2 !== 0 || !text.every(isHex)) return null;
  const out = keyBytes(text.length / 2);
  for (let at = 0; at < out.length; at++) {
    out[at] = ((hexValues[text[2 * at] ?? 0] ?? 0) << 4) | (hexValues[text[2 * at + 1] ?? 0] ?? 0);
  }
  return out;
}

function fromBase64(text: Uint8Array): Uint8Array | null {
  if (text.length === 0 || text.length % 4 !== 0) return null;
  const padding = text.at(-1) !== 0x3d ? 0 : text.at(-2) !== 0x3d ? 1 : 2;
  const out = keyBytes((text.length / 4) * 3 - padding);
  let bits = 0;
  let faults = 0;
  for (let at = 0, to = 0; at < text.length; at++) {
    const value = at < text.length - padding ? (base64Values[text[at] ?? 0] ?? 0xff) : 0;
    faults |= value & 0xc0;
    bits = ((bits << 6) | value) & 0xffffff;
    if (at % 4 === 3) for (let shift = 16; shift >= 0; shift -= 8, to++) if (to < out.length) out[to] = bits >> shift;
  }
  // The bits beside the last byte are zero in the one way to write it (RFC 4648 section 3.5).
  const spare = bits & ((1 << (8 * padding)) - 1);
  bits = 0;
  if (faults === 0 && spare === 0) return out;
  out.fill(0);
  return null;
}

/** A member's `raw` as hexadecimal, either case. Null where it is not. */
export const decodeHex = decodeWith(fromHex);
/** A member's `raw` as base64 with padding, the standard alphabet. Null where it is not. */
export const decodeBase64 = decodeWith(fromBase64);

/** Lower-case hexadecimal, in ASCII. */
export function encodeHex(bytes: Uint8Array): Uint8Array {
  const out = keyBytes(bytes.length * 2);
  for (const [at, byte] of bytes.entries()) {
    out[2 * at] = hexAlphabet[byte >> 4] ?? 0;
    out[2 * at + 1] = hexAlphabet[byte & 15] ?? 0;
  }
  return out;
}

/** Base64 with padding, in ASCII. */
export function encodeBase64(bytes: Uint8Array): Uint8Array {
  const out = keyBytes(Math.ceil(bytes.length / 3) * 4).fill(0x3d);
  for (let at = 0, to = 0; at < bytes.length; at += 3, to += 4) {
    const bits = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    for (let digit = 0; digit <= Math.min(3, bytes.length - at); digit++) {
      out[to + digit] = base64Alphabet[(bits >> (18 - 6 * digit)) & 63] ?? 0;
    }
  }
  return out;
}
