// The seal that people hold: the root key is stored encrypted under an unseal key, and the unseal key exists only as
// shares. With one share of one, the share is the unseal key itself, as in Vault.
// Must hold: shares and keys are byte arrays, overwritten as soon as they are used or refused, and never strings.
// Known gap: shares carry no check of their own, so a wrong one shows only when the last one needed has been given.

import { AgeError, stanzaKey, wipe } from "../../lib/age.ts";
import { decryptBound, encryptBound } from "../../lib/bound.ts";
import { randomKey, zero } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import type { Seal, SealPlugin, SealProgress, WrappedRoot } from "../../sdk/seal.ts";
import { checkCounts, countFields, type Counts, keySize, Shares, splitKey } from "../../sdk/shares.ts";

const stanza = "writ-shamir 1";
// What the wrapped root key is bound to, so that no other file under this key can stand in for it.
const boundPath = "core/seal";
const boundVersion = 1;

const storedFields = {
  type: field.string("Always shamir", { required: true, enum: ["shamir"] }),
  ...countFields,
  wrapped: field.string("The root key as an age file, base64", { required: true }),
} as const;

class ShamirSeal implements Seal {
  readonly type = "shamir";
  readonly #given = new Shares();

  async wrap(rootKey: Uint8Array, counts: Counts): Promise<WrappedRoot> {
    checkCounts(counts);
    const { shares, threshold } = counts;
    const unsealKey = randomKey(keySize);
    const key = stanzaKey(stanza, unsealKey);
    try {
      const file = encryptBound(key, boundPath, boundVersion, rootKey);
      return {
        stored: { type: this.type, shares, threshold, wrapped: file.toString("base64") },
        shares: splitKey(unsealKey, counts),
      };
    } finally {
      zero(unsealKey);
      wipe(key);
    }
  }

  async unwrap(stored: Readonly<Record<string, unknown>>, share: Uint8Array | null): Promise<Uint8Array | null> {
    if (share === null) return null;
    return this.#given.give(share, () => {
      const { values } = parse(storedFields, stored);
      return { counts: values, use: (unsealKey) => open(unsealKey, Buffer.from(values.wrapped, "base64")) };
    });
  }

  progress(stored: Readonly<Record<string, unknown>>): SealProgress {
    return this.#given.progress(parse(storedFields, stored).values);
  }

  reset(): void {
    this.#given.reset();
  }

  fresh(): Seal {
    return new ShamirSeal();
  }
}

function open(unsealKey: Uint8Array, wrapped: Buffer): Uint8Array {
  const key = stanzaKey(stanza, unsealKey);
  try {
    return decryptBound((name) => (name === stanza ? key : null), boundPath, boundVersion, wrapped);
  } catch (error) {
    if (!(error instanceof AgeError)) throw error;
    throw new VaultError(
      "invalid",
      "the shares do not open this vault: one is wrong or of another set; start over with all shares",
    );
  } finally {
    wipe(key);
  }
}

export const plugin: SealPlugin = {
  type: "shamir",
  description: "Shares of an unseal key, held by people",
  fields: {},
  create: () => new ShamirSeal(),
};
