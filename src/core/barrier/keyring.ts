// The keys of a vault: one 32-byte key a term, which wraps the file keys of what is written in that term, and one secret
// that outlives all terms. Stored as an age file to an X25519 recipient derived from the root key.
// Must hold: the recipient may become public. Whoever knows it can write a file that decrypts, so the content carries an
// HMAC under a second key derived from the root key, and the version of its entry. An open keyring holds that second key
// and the recipient: enough to write its successor, and not enough to open what is stored. The root key is not kept.
// Known gap: X25519 alone, so a recorded keyring falls with X25519.

import { createHmac, createSecretKey, type KeyObject } from "node:crypto";
import { AgeError, hkdf, stanzaKey, type StanzaKey } from "../../lib/age.ts";
import { equalBytes, randomKey, zero } from "../../lib/bytes.ts";
import { stanzaName } from "../../sdk/keyring.ts";
import { decryptX25519, encryptToX25519, x25519Identity, type X25519Identity } from "../../lib/x25519.ts";
import { VaultError } from "../../sdk/errors.ts";

export const keyringKey = "core/keyring";
export const keySize = 32;

export interface Term {
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly created: number;
  readonly key: KeyObject;
  readonly stanza: StanzaKey;
}

/** What the root key is needed for, without the root key. */
interface Writer {
  readonly recipient: Uint8Array;
  readonly authentication: KeyObject;
}

export interface Keyring extends Writer {
  /** Of the entry that holds it. */
  readonly version: number;
  /** By the name in the stanza. */
  readonly terms: ReadonlyMap<string, Term>;
  readonly active: Term;
  /** Of which everything that must not change with a term is derived. */
  readonly secret: KeyObject;
}

/** A keyring and the age file that holds it. */
export interface WrittenKeyring {
  readonly file: Uint8Array;
  readonly keyring: Keyring;
}

/** The name of the term that an entry's file is under; null where it is no such file. */
export function nameIn(file: Uint8Array): string | null {
  const line = Buffer.from(file.buffer, file.byteOffset, Math.min(file.length, 128)).toString("latin1").split("\n")[1];
  const id = line?.startsWith("-> writ-keyring ") ? Number(line.split(" ")[2]) : undefined;
  return id === undefined ? null : stanzaName(id);
}

const magic = Buffer.from("writ keyring 1\n");
const macSize = 32;
const termSize = 4 + 8 + keySize;
const mostTerms = 0xffff;

function checkRoot(rootKey: Uint8Array): void {
  if (rootKey.length !== keySize) throw new VaultError("invalid", `the root key must have ${keySize} bytes`);
}

function derive<T>(rootKey: Uint8Array, purpose: string, use: (key: Buffer) => T): T {
  checkRoot(rootKey);
  const key = hkdf(rootKey, Buffer.alloc(0), `writ keyring ${purpose} 1`);
  try {
    return use(key);
  } finally {
    zero(key);
  }
}

const identityOf = (rootKey: Uint8Array): X25519Identity => derive(rootKey, "identity", x25519Identity);

const writerOf = (rootKey: Uint8Array, { recipient }: X25519Identity): Writer => ({
  recipient,
  authentication: derive(rootKey, "authentication", createSecretKey),
});

const macOf = ({ authentication }: Writer, content: Uint8Array): Buffer =>
  createHmac("sha256", authentication).update(content).digest();

/** A keyring in raw bytes, which the caller wipes. */
export interface KeyringBytes {
  readonly active: number;
  /** `created` in milliseconds since 1970; `key` 32 bytes. */
  readonly terms: readonly { readonly id: number; readonly created: number; readonly key: Uint8Array }[];
  readonly secret: Uint8Array;
}

/** magic, version (8), active term (4), number of terms (2), terms: id (4), created in ms (8), key (32); secret (32);
 *  HMAC-SHA-256 of all that (32). Numbers are big-endian. */
function compose(writer: Writer, version: number, { active, terms, secret }: KeyringBytes): Buffer {
  const content = Buffer.alloc(magic.length + 14 + terms.length * termSize + keySize + macSize);
  let at = magic.copy(content);
  at = content.writeBigUInt64BE(BigInt(version), at);
  at = content.writeUInt32BE(active, at);
  at = content.writeUInt16BE(terms.length, at);
  for (const { id, created, key } of terms) {
    at = content.writeUInt32BE(id, at);
    at = content.writeBigUInt64BE(BigInt(created), at);
    content.set(key, at);
    at += keySize;
  }
  content.set(secret, at);
  at += keySize;
  macOf(writer, content.subarray(0, at)).copy(content, at);
  return content;
}

function encrypt(writer: Writer, version: number, keys: KeyringBytes): Buffer {
  const content = compose(writer, version, keys);
  try {
    return encryptToX25519(writer.recipient, content);
  } finally {
    zero(content);
  }
}

/** The age file of a keyring. `version` is that of its entry. */
export const encryptKeyring = (rootKey: Uint8Array, version: number, keys: KeyringBytes): Uint8Array =>
  encrypt(writerOf(rootKey, identityOf(rootKey)), version, keys);

/** The age file of a new keyring with one term. `created` in milliseconds since 1970. */
export function createKeyring(rootKey: Uint8Array, version: number, created: number): Uint8Array {
  const [key, secret] = [randomKey(keySize), randomKey(keySize)];
  try {
    return encryptKeyring(rootKey, version, { active: 1, terms: [{ id: 1, created, key }], secret });
  } finally {
    zero(key, secret);
  }
}

const termOf = (id: number, created: number, key: Uint8Array): Term => ({
  id,
  created,
  key: createSecretKey(key),
  stanza: stanzaKey(stanzaName(id), key, "entries"),
});

function write(keyring: Keyring): WrittenKeyring {
  const { version, terms, active, secret } = keyring;
  const raw = Array.from(terms.values(), ({ id, created, key }) => ({ id, created, key: key.export() }));
  const bytes: KeyringBytes = { active: active.id, terms: raw, secret: secret.export() };
  try {
    return { keyring, file: encrypt(keyring, version, bytes) };
  } finally {
    zero(bytes.secret, ...raw.map(({ key }) => key));
  }
}

/** The same keys and a new active term, to be stored as `version`. */
export function addTerm(before: Keyring, version: number, created: number): WrittenKeyring {
  const id = Math.max(...Array.from(before.terms.values(), (term) => term.id)) + 1;
  if (before.terms.size >= mostTerms) throw new VaultError("invalid", `a keyring holds at most ${mostTerms} terms`);
  const key = randomKey(keySize);
  const active = termOf(id, created, key);
  zero(key);
  return write({ ...before, version, terms: new Map([...before.terms, [stanzaName(id), active]]), active });
}

/** The same keys under another root key, to be stored as `version`. */
export const changeRoot = (before: Keyring, version: number, rootKey: Uint8Array): WrittenKeyring =>
  write({ ...before, version, ...writerOf(rootKey, identityOf(rootKey)) });

export const isUnder = ({ recipient }: Keyring, rootKey: Uint8Array): boolean =>
  rootKey.length === keySize && equalBytes(identityOf(rootKey).recipient, recipient);

/** Null where `content` was not made by this writer for this version. */
function read(writer: Writer, version: number, content: Buffer): Keyring | null {
  const least = magic.length + 14 + termSize + keySize + macSize;
  if (content.length < least || (content.length - least) % termSize !== 0) return null;
  const end = content.length - macSize;
  if (!equalBytes(macOf(writer, content.subarray(0, end)), content.subarray(end))) return null;
  // From here on the content is what this vault wrote.
  let at = magic.length;
  if (!magic.equals(content.subarray(0, at)) || content.readBigUInt64BE(at) !== BigInt(version)) return null;
  const active = content.readUInt32BE(at + 8);
  const count = content.readUInt16BE(at + 12);
  at += 14;
  if (at + count * termSize + keySize !== end) return null;
  const terms = new Map<string, Term>();
  for (let each = 0; each < count; each++, at += termSize) {
    const id = content.readUInt32BE(at);
    const created = Number(content.readBigUInt64BE(at + 4));
    terms.set(stanzaName(id), termOf(id, created, content.subarray(at + 12, at + termSize)));
  }
  const term = terms.get(stanzaName(active));
  if (term === undefined) return null;
  return { ...writer, version, terms, active: term, secret: createSecretKey(content.subarray(at, end)) };
}

/** Throws VaultError `invalid` where the root key does not open it, or where it was forged: the two look alike. */
export function openKeyring(rootKey: Uint8Array, version: number, file: Uint8Array): Keyring {
  const refused = new VaultError("invalid", "the key does not open this vault, or its keyring is damaged");
  const identity = identityOf(rootKey);
  let content: Buffer;
  try {
    content = decryptX25519(identity, file);
  } catch (error) {
    if (error instanceof AgeError) throw refused;
    throw error;
  }
  try {
    const keyring = read(writerOf(rootKey, identity), version, content);
    if (keyring === null) throw refused;
    return keyring;
  } finally {
    zero(content);
  }
}
