// A seal that opens by itself: the root key as an age file to recipients (X25519, post-quantum hybrid) or under a
// passphrase (scrypt), opened at start with an identity or the passphrase from a file or a systemd credential. Whoever has
// an identity and this file opens it with the stock age command too. Recovery shares say who may rekey, make root
// tokens, and unseal after a seal by hand; they open nothing without the identity.
// Must hold: a record that was changed opens nothing. age to a recipient authenticates nobody, so the record carries an
// HMAC under the root key, and one under each identity that was at hand when it was made: otherwise whoever can write
// storage could put a whole vault of his own there, made for our recipients, and be told our secrets.
// Known gap: identities, passphrases and what age-encryption derives from them are strings and copies that nobody overwrites.

import { createHash, createHmac } from "node:crypto";
import { AgeError, hkdf, openPayload, parseHeader, stanzaKey } from "../../lib/age.ts";
import { decryptBound, encryptBound } from "../../lib/bound.ts";
import { equalBytes, randomKey, zero } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import { ok } from "../../sdk/examine.ts";
import { field, parse, type Values } from "../../sdk/fields.ts";
import type { Seal, SealPlugin, SealProgress, WrappedRoot } from "../../sdk/seal.ts";
import { checkCounts, countFields, type Counts, keySize, Shares, splitKey } from "../../sdk/shares.ts";
import { encryptTo, fileKeyOf, type Key, keyOf, type Settings, settingFields, sourceOf } from "./keys.ts";

const storedFields = {
  type: field.string("Always recipients", { required: true, enum: ["recipients"] }),
  ...countFields,
  wrapped: field.string("The root key as an age file, base64", { required: true }),
  recovery: field.string("A hash of `wrapped` as an age file under the recovery key, base64", { required: true }),
  authentication: field.string("HMAC-SHA-256 of all that under the root key, base64", { required: true }),
  proofs: field.strings("The same under each identity that was there when it was made", { required: true }),
} as const;

type Stored = Values<typeof storedFields>;

const stanza = "writ-recovery 1";
const boundPath = "core/seal";
const boundVersion = 1;

const invalid = (text: string): VaultError => new VaultError("invalid", text);
const hashOf = (file: Uint8Array): Buffer => createHash("sha256").update(file).digest();

/** Of everything in the record that says something. */
function macOf(key: Uint8Array, purpose: string, stored: Omit<Stored, "authentication" | "proofs">): Buffer {
  const { type, shares, threshold, wrapped, recovery } = stored;
  const derived = hkdf(key, Buffer.alloc(0), `writ recipients ${purpose} 1`);
  const mac = createHmac("sha256", derived).update(JSON.stringify([type, shares, threshold, wrapped, recovery]));
  zero(derived);
  return mac.digest();
}

/** One for each identity; none for a passphrase, under which nobody else can make a file. */
const proofsOf = (key: Key, stored: Omit<Stored, "authentication" | "proofs">): readonly Buffer[] =>
  key.kind === "passphrase" ? [] : key.identities.map((text) => macOf(Buffer.from(text), "identity", stored));

class RecipientsSeal implements Seal {
  readonly type = "recipients";
  readonly #settings: Settings;
  readonly #given = new Shares();

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async wrap(rootKey: Uint8Array, counts: Counts): Promise<WrappedRoot> {
    checkCounts(counts);
    const key = await keyOf(this.#settings);
    const file = await encryptTo(key, this.#settings.recipients, rootKey);
    const again = await openFile(key, file);
    const opens = again !== null && equalBytes(again, rootKey);
    zero(again);
    if (!opens) {
      throw invalid(
        "seal: the identity is none of the recipients, so the server could not start by itself: add its own",
      );
    }
    const recoveryKey = randomKey(keySize);
    try {
      const recovery = encryptBound(stanzaKey(stanza, recoveryKey), boundPath, boundVersion, hashOf(file));
      const record = {
        type: this.type,
        shares: counts.shares,
        threshold: counts.threshold,
        wrapped: file.toString("base64"),
        recovery: recovery.toString("base64"),
      };
      const stored: Stored = {
        ...record,
        authentication: macOf(rootKey, "record", record).toString("base64"),
        proofs: proofsOf(key, record).map((proof) => proof.toString("base64")),
      };
      return { stored, shares: splitKey(recoveryKey, counts) };
    } finally {
      zero(recoveryKey);
    }
  }

  async open(stored: Readonly<Record<string, unknown>>): Promise<Uint8Array> {
    const { values } = parse(storedFields, stored);
    const key = await keyOf(this.#settings);
    const proofs = proofsOf(key, values);
    const given = values.proofs.map((proof) => Buffer.from(proof, "base64"));
    if (key.kind === "identities" && !proofs.some((proof) => given.some((other) => equalBytes(proof, other)))) {
      throw invalid(`seal: the record was not made with the identity of ${sourceOf(this.#settings)}, or was changed`);
    }
    const rootKey = await openFile(key, Buffer.from(values.wrapped, "base64"));
    if (rootKey === null)
      throw invalid(`seal: the ${key.kind} of ${sourceOf(this.#settings)} does not open the root key`);
    if (equalBytes(macOf(rootKey, "record", values), Buffer.from(values.authentication, "base64"))) return rootKey;
    zero(rootKey);
    throw invalid("seal: the record was changed: restore it from a backup");
  }

  /** Recovery shares. */
  async unwrap(stored: Readonly<Record<string, unknown>>, share: Uint8Array | null): Promise<Uint8Array | null> {
    if (share === null) return null;
    return this.#given.give(share, () => {
      const { values } = parse(storedFields, stored);
      return {
        counts: values,
        use: (recoveryKey) => {
          checkRecovery(recoveryKey, values);
          return this.open(stored);
        },
      };
    });
  }

  progress(stored: Readonly<Record<string, unknown>>): SealProgress {
    return this.#given.progress(parse(storedFields, stored).values);
  }

  reset(): void {
    this.#given.reset();
  }

  fresh(): Seal {
    return new RecipientsSeal(this.#settings);
  }
}

/** Null where the key does not open it. */
async function openFile(key: Key, file: Buffer): Promise<Buffer | null> {
  const fileKey = await fileKeyOf(key, file);
  if (fileKey === null) return null;
  try {
    return openPayload(fileKey, file.subarray(parseHeader(file).size));
  } catch (error) {
    if (error instanceof AgeError) return null;
    throw error;
  } finally {
    zero(fileKey);
  }
}

/** Throws VaultError `invalid` where the key is not the one of this record. */
function checkRecovery(recoveryKey: Uint8Array, stored: Stored): void {
  const key = stanzaKey(stanza, recoveryKey);
  const file = Buffer.from(stored.recovery, "base64");
  try {
    const hash = decryptBound((name) => (name === stanza ? key : null), boundPath, boundVersion, file);
    if (equalBytes(hash, hashOf(Buffer.from(stored.wrapped, "base64")))) return;
  } catch (error) {
    if (!(error instanceof AgeError)) throw error;
  }
  throw invalid("these are not the recovery shares of this vault, or one is wrong; start over with all shares");
}

export const plugin: SealPlugin = {
  type: "recipients",
  description: "age recipients or a passphrase: the server unseals by itself with an identity that lies beside it",
  fields: settingFields,
  examine: async (settings) => {
    const { values } = parse(settingFields, settings);
    const { kind } = await keyOf(values);
    return ok(`${sourceOf(values)} holds ${kind === "passphrase" ? "a passphrase" : "identities"}`);
  },
  create: (settings) => new RecipientsSeal(parse(settingFields, settings).values),
};
