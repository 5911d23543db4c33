// The keys of a vault: one 32-byte key a term, which wraps the file keys of what is written in that term, and one secret
// that outlives all terms. Stored as an age file to an X25519 recipient derived from the root key.
// Must hold: the recipient may become public. Whoever knows it can write a file that decrypts, so the content carries an
// HMAC under a second key derived from the root key, and the version of its entry.
// Known gap: X25519 alone, so a recorded keyring falls with X25519; age-encryption works on copies that nobody wipes.

import { createHmac, createSecretKey, hkdfSync, webcrypto, type KeyObject } from "node:crypto";
import { Decrypter, Encrypter, identityToRecipient } from "age-encryption";
import { stanzaKey, type StanzaKey } from "../../lib/age.ts";
import { equalBytes, randomBuffer, zero } from "../../lib/bytes.ts";
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

export interface Keyring {
  /** By the name in the stanza. */
  readonly terms: ReadonlyMap<string, Term>;
  readonly active: Term;
  /** Of which everything that must not change with a term is derived. */
  readonly secret: KeyObject;
}

/** The stanza's name for a term: `writ-keyring 1`. */
export const stanzaName = (term: number): string => `writ-keyring ${term}`;

const magic = Buffer.from("writ keyring 1\n");
const macSize = 32;
const termSize = 4 + 8 + keySize;
// RFC 8410: the DER in front of the 32 bytes of an X25519 private key.
const x25519Prefix = Buffer.from("302e020100300506032b656e04220420", "hex");

const derive = (rootKey: Uint8Array, purpose: string): Buffer =>
  Buffer.from(hkdfSync("sha256", rootKey, Buffer.alloc(0), `writ keyring ${purpose} 1`, keySize));

function checkRoot(rootKey: Uint8Array): void {
  if (rootKey.length !== keySize) throw new VaultError("invalid", `the root key must have ${keySize} bytes`);
}

async function identityOf(rootKey: Uint8Array): Promise<webcrypto.CryptoKey> {
  const scalar = derive(rootKey, "identity");
  const der = Buffer.concat([x25519Prefix, scalar]);
  try {
    return await webcrypto.subtle.importKey("pkcs8", der, { name: "X25519" }, false, ["deriveBits"]);
  } finally {
    zero(scalar, der);
  }
}

function macOf(rootKey: Uint8Array, content: Uint8Array): Buffer {
  const key = derive(rootKey, "authentication");
  const mac = createHmac("sha256", key).update(content).digest();
  zero(key);
  return mac;
}

/** A keyring in raw bytes, which the caller wipes. */
export interface KeyringBytes {
  readonly active: number;
  /** `created` in milliseconds since 1970; `key` 32 bytes. */
  readonly terms: readonly { readonly id: number; readonly created: number; readonly key: Uint8Array }[];
  readonly secret: Uint8Array;
}

/** magic, version (8), active term (4), number of terms (2), terms: id (4), created in ms (8), key (32); secret (32);
 *  HMAC-SHA-256 of all that (32). Numbers are big-endian. */
function compose(rootKey: Uint8Array, version: number, { active, terms, secret }: KeyringBytes): Buffer {
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
  macOf(rootKey, content.subarray(0, at)).copy(content, at);
  return content;
}

/** The age file of a keyring. `version` is that of its entry. */
export async function encryptKeyring(rootKey: Uint8Array, version: number, keys: KeyringBytes): Promise<Uint8Array> {
  checkRoot(rootKey);
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(await identityOf(rootKey)));
  const content = compose(rootKey, version, keys);
  try {
    return await encrypter.encrypt(content);
  } finally {
    zero(content);
  }
}

/** The age file of a new keyring with one term. `created` in milliseconds since 1970. */
export async function createKeyring(rootKey: Uint8Array, version: number, created: number): Promise<Uint8Array> {
  const [key, secret] = [randomBuffer(keySize), randomBuffer(keySize)];
  try {
    return await encryptKeyring(rootKey, version, { active: 1, terms: [{ id: 1, created, key }], secret });
  } finally {
    zero(key, secret);
  }
}

/** Null where `content` was not made with this root key for this version. */
function read(rootKey: Uint8Array, version: number, content: Buffer): Keyring | null {
  const least = magic.length + 14 + termSize + keySize + macSize;
  if (content.length < least || (content.length - least) % termSize !== 0) return null;
  const end = content.length - macSize;
  if (!equalBytes(macOf(rootKey, content.subarray(0, end)), content.subarray(end))) return null;
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
    const key = content.subarray(at + 12, at + termSize);
    const created = Number(content.readBigUInt64BE(at + 4));
    terms.set(stanzaName(id), { id, created, key: createSecretKey(key), stanza: stanzaKey(stanzaName(id), key) });
  }
  const term = terms.get(stanzaName(active));
  return term === undefined ? null : { terms, active: term, secret: createSecretKey(content.subarray(at, end)) };
}

/** Throws VaultError `invalid` where the root key does not open it, or where it was forged: the two look alike. */
export async function openKeyring(rootKey: Uint8Array, version: number, file: Uint8Array): Promise<Keyring> {
  checkRoot(rootKey);
  const refused = new VaultError("invalid", "the key does not open this vault, or its keyring is damaged");
  const decrypter = new Decrypter();
  decrypter.addIdentity(await identityOf(rootKey));
  const content = await decrypter.decrypt(file).then(
    (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    () => null,
  );
  if (content === null) throw refused;
  try {
    const keyring = read(rootKey, version, content);
    if (keyring === null) throw refused;
    return keyring;
  } finally {
    zero(content);
  }
}
