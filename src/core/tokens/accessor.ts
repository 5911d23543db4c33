// An accessor names a token without being one. It is the first half of the token's id, encrypted: the store finds the
// token by it without an index of its own, which would be one more entry for each token made.
// Must hold: whoever has an accessor learns neither the id nor the token; one id has one accessor, and the other way round. Only
// whole blocks reach the cipher: it would keep a part of one, and every later accessor would be another one.

import {
  type Cipheriv,
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  type KeyObject,
} from "node:crypto";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const base = BigInt(alphabet.length);
/** 62^22 is just above 2^128. */
const length = 22;
const accessorText = /^[A-Za-z0-9]{22}$/;
const idDigits = 32;
const idText = /^[0-9a-f]{64}$/;
// One block of a fixed size that never comes twice: a permutation is all that is asked for.
const cipher = "aes-256-ecb";

/** Names in storage may be anybody's. */
export const isTokenId = (name: string): boolean => idText.test(name);

export class Accessors {
  readonly #key: KeyObject;
  /** One for all: it carries nothing from block to block, and to make one costs more than the block. */
  readonly #cipher: Cipheriv;

  /** `key` is the token store's. */
  constructor(key: KeyObject) {
    this.#key = createSecretKey(createHmac("sha256", key).update("accessor cipher").digest());
    this.#cipher = createCipheriv(cipher, this.#key, null).setAutoPadding(false);
  }

  of(id: string): string {
    if (!isTokenId(id)) throw new TypeError("this is no id of a token");
    let rest = BigInt(`0x${this.#cipher.update(id.slice(0, idDigits), "hex", "hex")}`);
    let text = "";
    for (let at = 0; at < length; at++) {
      text += alphabet[Number(rest % base)] ?? "";
      rest /= base;
    }
    return text;
  }

  /** How the id of its token begins; null where it is no accessor. */
  prefixOf(accessor: string): string | null {
    if (!accessorText.test(accessor)) return null;
    let value = 0n;
    for (let at = length - 1; at >= 0; at--) value = value * base + BigInt(alphabet.indexOf(accessor[at] ?? ""));
    const hex = value.toString(16).padStart(idDigits, "0");
    if (hex.length > idDigits) return null;
    return createDecipheriv(cipher, this.#key, null).setAutoPadding(false).update(hex, "hex", "hex");
  }
}
