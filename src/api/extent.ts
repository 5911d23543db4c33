// How much a JSON text holds, told from its bytes before it is parsed: what is deep, or has very many parts, costs its
// parser and everybody behind it far more than its length says.
// Must hold: no text that is within the limits is refused; one that is beyond them is, whether it is JSON or not, before
// anything is made of it.

import { setImmediate as immediate } from "node:timers/promises";
import { VaultError } from "../sdk/errors.ts";
import type { Limits } from "./limits.ts";

export type Extent = Pick<Limits, "depth" | "members" | "stringBytes">;

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

const beyond = (what: string): VaultError => new VaultError("invalid", `error parsing JSON: the body ${what}`);
export const tooMany = (members: number): VaultError => beyond(`has more than ${members} names and items`);
export const tooLong = (bytes: number): VaultError => beyond(`has a string of more than ${bytes} bytes`);

/** Bytes that are looked at one by one before the rest is left to a search for the next quote: that costs as much to
 *  begin as these. */
const near = 128;

/** The quote that ends the string begun before `at`, or the end. */
function endOfString(text: Uint8Array, at: number): number {
  for (let end = at; ;) {
    for (const stop = end + near; end < stop; end++) {
      if (end >= text.length || text[end] === quote) return end;
      if (text[end] === backslash) end++;
    }
    const found = text.indexOf(quote, end);
    if (found < 0) return text.length;
    let from = found;
    while (from > end && text[from - 1] === backslash) from--;
    // What stands in front of it in pairs is no escape of it.
    end = found;
    if ((found - from) % 2 === 0) return found;
    end += 1;
  }
}

/** Counts from the text's beginning on, as far as it is told to. */
class Count {
  readonly #text: Uint8Array;
  readonly #limits: Extent;
  #at = 0;
  #depth = 0;
  #members = 0;

  constructor(text: Uint8Array, limits: Extent) {
    this.#text = text;
    this.#limits = limits;
  }

  /** Up to `end`, or to the end of the string that goes beyond it. Whether there is more. Throws VaultError `invalid`. */
  upTo(end: number): boolean {
    const text = this.#text;
    let [at, depth, members] = [this.#at, this.#depth, this.#members];
    for (; at < end; at++) {
      const byte = text[at];
      if (byte === quote) {
        const last = endOfString(text, at + 1);
        if (last - at - 1 > this.#limits.stringBytes) throw tooLong(this.#limits.stringBytes);
        at = last;
      } else if (byte === comma) {
        members += 1;
      } else if (byte === openBrace || byte === openBracket) {
        // Its first part has no comma before it.
        members += 1;
        if (++depth > this.#limits.depth) throw beyond("is nested too deeply");
      } else if (byte === closeBrace || byte === closeBracket) {
        depth -= 1;
      }
    }
    [this.#at, this.#depth, this.#members] = [at, depth, members];
    // What costs is parsing; to count on for a moment does not.
    if (at >= text.length && members > this.#limits.members) throw tooMany(this.#limits.members);
    return at < text.length;
  }
}

/** Throws VaultError `invalid`. */
export function checkExtent(text: Uint8Array, limits: Extent): void {
  new Count(text, limits).upTo(text.length);
}

/** Bytes that are counted without a break: a few milliseconds. */
const stretch = 4 * 1024 * 1024;

/** The same of a large text, which lets others in between. */
export async function checkLargeExtent(text: Uint8Array, limits: Extent): Promise<void> {
  const count = new Count(text, limits);
  for (let end = stretch; count.upTo(Math.min(end, text.length)); end += stretch) await immediate();
}
