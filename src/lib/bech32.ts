// Bech32 (BIP 173) of any length, as age writes its keys. Not constant in time: who encodes a key has it as a string anyway.

const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const checksumSize = 6;

function checksum(values: readonly number[]): number {
  let sum = 1;
  for (const value of values) {
    const top = sum >>> 25;
    sum = ((sum & 0x1ffffff) << 5) ^ value;
    for (const [bit, generator] of generators.entries()) if ((top >>> bit) & 1) sum ^= generator;
  }
  return sum >>> 0;
}

const expanded = (prefix: string): number[] => {
  const codes = Array.from(prefix, (character) => character.charCodeAt(0));
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)];
};

/** Groups of `from` bits as groups of `to`; null where bits are left over that are not padding. */
function regroup(values: Iterable<number>, from: number, to: number, pad: boolean): number[] | null {
  const groups: number[] = [];
  let [held, bits] = [0, 0];
  for (const value of values) {
    held = (held << from) | value;
    for (bits += from; bits >= to;) {
      bits -= to;
      groups.push((held >>> bits) & (2 ** to - 1));
      held &= 2 ** bits - 1;
    }
  }
  if (pad) {
    if (bits > 0) groups.push((held << (to - bits)) & (2 ** to - 1));
  } else if (bits >= from || held !== 0) return null;
  return groups;
}

/** In lower case; `prefix` has no upper case. */
export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const data = regroup(bytes, 8, 5, true) ?? [];
  const sum = checksum([...expanded(prefix), ...data, 0, 0, 0, 0, 0, 0]) ^ 1;
  const check = Array.from({ length: checksumSize }, (_, at) => (sum >>> (5 * (5 - at))) & 31);
  return `${prefix}1${[...data, ...check].map((value) => alphabet[value]).join("")}`;
}

/** The prefix in lower case, and the bytes; null where `text` is none. */
export function decodeBech32(text: string): { readonly prefix: string; readonly bytes: Buffer } | null {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) return null;
  const at = lower.lastIndexOf("1");
  if (at < 1 || lower.length - at - 1 < checksumSize || !/^[\x21-\x7e]+$/.test(lower)) return null;
  const prefix = lower.slice(0, at);
  const values = Array.from(lower.slice(at + 1), (character) => alphabet.indexOf(character));
  if (values.includes(-1) || checksum([...expanded(prefix), ...values]) !== 1) return null;
  const bytes = regroup(values.slice(0, -checksumSize), 5, 8, false);
  return bytes === null ? null : { prefix, bytes: Buffer.from(bytes) };
}
