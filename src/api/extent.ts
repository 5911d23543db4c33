// How much a JSON text holds, told from its bytes before it is parsed: what is deep, or has very many parts, costs its
// parser and everybody behind it far more than its length says.
// Must hold: no text that is within the limits is refused; one that is beyond them is, whether it is JSON or not, before
// anything is made of it.

import { VaultError } from "../sdk/errors.ts";
import type { Limits } from "./limits.ts";

export type Extent = Pick<Limits, "depth" | "members" | "stringBytes">;

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openBrace, closeBrace, openBracket, closeBracket] = [0x7b, 0x7d, 0x5b, 0x5d];

const beyond = (what: string): VaultError => new VaultError("invalid", `error parsing JSON: the body ${what}`);
export const tooMany = (members: number): VaultError => beyond(`has more than ${members} names and items`);
export const tooLong = (bytes: number): VaultError => beyond(`has a string of more than ${bytes} bytes`);

/** The quote that ends the string begun before `at`, or the end. */
function endOfString(text: Uint8Array, at: number): number {
  let end = at;
  while (end < text.length && text[end] !== quote) end += text[end] === backslash ? 2 : 1;
  return end;
}

/** Throws VaultError `invalid`. */
export function checkExtent(text: Uint8Array, limits: Extent): void {
  let [depth, members] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    const byte = text[at];
    if (byte === quote) {
      const end = endOfString(text, at + 1);
      if (end - at - 1 > limits.stringBytes) throw tooLong(limits.stringBytes);
      at = end;
    } else if (byte === comma) {
      members += 1;
    } else if (byte === openBrace || byte === openBracket) {
      // Its first part has no comma before it.
      members += 1;
      if (++depth > limits.depth) throw beyond("is nested too deeply");
    } else if (byte === closeBrace || byte === closeBracket) {
      depth -= 1;
    }
  }
  // What costs is parsing; to count on for a moment does not.
  if (members > limits.members) throw tooMany(limits.members);
}
