// The seal that people hold: the root key is stored encrypted under an unseal key, and the unseal key exists only as
// shares. With one share of one, the share is the unseal key itself, as in Vault.
// Must hold: shares and keys are byte arrays, overwritten as soon as they are used or refused, and never strings.
// Known gap: shares carry no check of their own, so a wrong one shows only when the last one needed has been given.

import { randomUUID } from "node:crypto";
import { AgeError, stanzaKey } from "../../lib/age.ts";
import { decryptBound, encryptBound } from "../../lib/bound.ts";
import { equalBytes, randomBuffer, zero } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import type { Seal, SealPlugin, SealProgress, WrappedRoot } from "../../sdk/seal.ts";
import { combine, split } from "./split.ts";

const keySize = 32;
const stanza = "writ-shamir 1";
// What the wrapped root key is bound to, so that no other file under this key can stand in for it.
const boundPath = "core/seal";
const boundVersion = 1;

const storedFields = {
  type: field.string("Always shamir", { required: true, enum: ["shamir"] }),
  shares: field.int("How many shares were made", { required: true, minimum: 1, maximum: 255 }),
  threshold: field.int("How many of them unseal", { required: true, minimum: 1, maximum: 255 }),
  wrapped: field.string("The root key as an age file, base64", { required: true }),
} as const;

const invalid = (text: string): VaultError => new VaultError("invalid", text);

function checkCounts(shares: number, threshold: number): void {
  if (!Number.isInteger(shares) || shares < 1 || shares > 255) throw invalid("secret_shares must be 1 to 255");
  if (!Number.isInteger(threshold) || threshold < 1) throw invalid("secret_threshold must be at least 1");
  if (threshold > shares) throw invalid("secret_threshold must not be larger than secret_shares");
  if (shares > 1 && threshold === 1)
    throw invalid("secret_threshold must be at least 2 where there are several shares");
}

class ShamirSeal implements Seal {
  readonly type = "shamir";
  #shares: Uint8Array[] = [];
  #nonce = "";

  async wrap(
    rootKey: Uint8Array,
    { shares, threshold }: { readonly shares: number; readonly threshold: number },
  ): Promise<WrappedRoot> {
    checkCounts(shares, threshold);
    const unsealKey = randomBuffer(keySize);
    try {
      const file = encryptBound(stanzaKey(stanza, unsealKey), boundPath, boundVersion, rootKey);
      return {
        stored: { type: this.type, shares, threshold, wrapped: file.toString("base64") },
        shares: shares === 1 ? [Uint8Array.from(unsealKey)] : split(unsealKey, shares, threshold),
      };
    } finally {
      zero(unsealKey);
    }
  }

  async unwrap(stored: Readonly<Record<string, unknown>>, share: Uint8Array | null): Promise<Uint8Array | null> {
    if (share === null) return null;
    try {
      const { values } = parse(storedFields, stored);
      checkCounts(values.shares, values.threshold);
      this.#add(share, values.shares);
      if (this.#shares.length < values.threshold) return null;
      const rootKey = this.#open(values.shares, Buffer.from(values.wrapped, "base64"));
      this.reset();
      return rootKey;
    } catch (error) {
      zero(share);
      this.reset();
      throw error;
    }
  }

  progress(stored: Readonly<Record<string, unknown>>): SealProgress {
    const { values } = parse(storedFields, stored);
    const { shares, threshold } = values;
    return { progress: this.#shares.length, threshold, shares, nonce: this.#nonce };
  }

  reset(): void {
    zero(...this.#shares);
    this.#shares = [];
    this.#nonce = "";
  }

  #add(share: Uint8Array, shares: number): void {
    const size = shares === 1 ? keySize : keySize + 1;
    if (share.length !== size) throw invalid(`an unseal key must have ${size} bytes; start over with all shares`);
    if (shares > 1) {
      const x = share.subarray(keySize);
      if (x[0] === 0) throw invalid("this is no share of an unseal key; start over with all shares");
      if (this.#shares.some((other) => equalBytes(other.subarray(keySize), x))) {
        throw invalid("this share was given already; start over with all shares");
      }
    }
    if (this.#shares.length === 0) this.#nonce = randomUUID();
    this.#shares.push(share);
  }

  #open(shares: number, wrapped: Buffer): Uint8Array {
    const unsealKey = shares === 1 ? Uint8Array.from(this.#shares[0] ?? []) : combine(this.#shares);
    try {
      const key = stanzaKey(stanza, unsealKey);
      return decryptBound((name) => (name === stanza ? key : null), boundPath, boundVersion, wrapped);
    } catch (error) {
      if (!(error instanceof AgeError)) throw error;
      throw invalid("the shares do not open this vault: one is wrong or of another set; start over with all shares");
    } finally {
      zero(unsealKey);
    }
  }
}

export const plugin: SealPlugin = {
  type: "shamir",
  description: "Shares of an unseal key, held by people",
  fields: {},
  create: () => new ShamirSeal(),
};
