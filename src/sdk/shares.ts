// Shares of a 32-byte key, for seals that hand some out: how many there may be, and how they come back one by one. With
// one share of one, the share is the key itself, as in Vault.
// Must hold: shares are byte arrays, overwritten as soon as they are used or refused, and never strings.
// Known gap: shares carry no check of their own, so a wrong one shows only when the last one needed has been given.

import { randomUUID } from "node:crypto";
import { copyKey, equalBytes, zero } from "../lib/bytes.ts";
import { combine, split } from "../lib/shamir.ts";
import { VaultError } from "./errors.ts";
import { field } from "./fields.ts";
import type { SealProgress } from "./seal.ts";

export interface Counts {
  readonly shares: number;
  readonly threshold: number;
}

export const keySize = 32;

/** As a seal stores them. */
export const countFields = {
  shares: field.int("How many shares were made", { required: true, minimum: 1, maximum: 255 }),
  threshold: field.int("How many of them are needed", { required: true, minimum: 1, maximum: 255 }),
} as const;

const invalid = (text: string): VaultError => new VaultError("invalid", text);

/** Throws VaultError `invalid`. */
export function checkCounts({ shares, threshold }: Counts): void {
  if (!Number.isInteger(shares) || shares < 1 || shares > 255) throw invalid("secret_shares must be 1 to 255");
  if (!Number.isInteger(threshold) || threshold < 1) throw invalid("secret_threshold must be at least 1");
  if (threshold > shares) throw invalid("secret_threshold must not be larger than secret_shares");
  if (shares > 1 && threshold === 1)
    throw invalid("secret_threshold must be at least 2 where there are several shares");
}

/** The receiver wipes them, and the caller `key`. */
export const splitKey = (key: Uint8Array, { shares, threshold }: Counts): Uint8Array[] =>
  shares === 1 ? [copyKey(key)] : split(key, shares, threshold);

/** One attempt. */
export class Shares {
  #given: Uint8Array[] = [];
  #nonce = "";

  /** Takes over `share`. What `use` makes of the key once enough were given, null before; `use` gets its own copy, which is
   *  overwritten after it. Whatever is thrown ends the attempt; a share given once more changes nothing. */
  async give<T>(
    share: Uint8Array,
    how: () => { readonly counts: Counts; readonly use: (key: Uint8Array) => T | Promise<T> },
  ): Promise<T | null> {
    try {
      const { counts, use } = how();
      checkCounts(counts);
      // Who lost the answer gives it again, and it counts once: to begin anew would be to lose the others' shares too.
      if (this.#given.some((other) => equalBytes(other, share))) {
        zero(share);
        return null;
      }
      this.#add(share, counts.shares);
      if (this.#given.length < counts.threshold) return null;
      const key = counts.shares === 1 ? copyKey(share) : combine(this.#given);
      try {
        return await use(key);
      } finally {
        zero(key);
        this.reset();
      }
    } catch (error) {
      zero(share);
      this.reset();
      throw error;
    }
  }

  progress({ shares, threshold }: Counts): SealProgress {
    return { progress: this.#given.length, threshold, shares, nonce: this.#nonce };
  }

  reset(): void {
    zero(...this.#given);
    this.#given = [];
    this.#nonce = "";
  }

  #add(share: Uint8Array, shares: number): void {
    const size = shares === 1 ? keySize : keySize + 1;
    if (share.length !== size) throw invalid(`a share of this key must have ${size} bytes; start over with all shares`);
    if (shares > 1) {
      const x = share.subarray(keySize);
      if (x[0] === 0) throw invalid("this is no share of a key; start over with all shares");
      if (this.#given.some((other) => equalBytes(other.subarray(keySize), x))) {
        throw invalid("another share of this number was given already; start over with all shares");
      }
    }
    if (this.#given.length === 0) this.#nonce = randomUUID();
    this.#given.push(share);
  }
}
