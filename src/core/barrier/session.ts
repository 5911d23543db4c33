// What is open between unseal and seal: the keys, the cache of decrypted entries, and the reads and writes under way.
// Must hold:
//  - nothing is returned after `close`, not even by calls that began before it;
//  - an entry is returned only where it decrypts under a key of the keyring as this very key and version;
//  - the cache never holds what is older than storage: a write enters it once it is durable, a write that failed empties
//    its place, and a read that a write has overtaken is not kept.

import { createHmac, createPrivateKey, createSecretKey, type KeyObject } from "node:crypto";
import { AgeError, type StanzaKey, wipe } from "../../lib/age.ts";
import { decryptBound, encryptBound } from "../../lib/bound.ts";
import { zero } from "../../lib/bytes.ts";
import { forgetHmac, type Hmac, hmacOf } from "../../lib/hmac.ts";
import { encodeIdentity } from "../../sdk/keyring.ts";
import type { Logger } from "../../lib/log.ts";
import { Lru } from "../../lib/lru.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import { checkKey } from "../../sdk/keys.ts";
import type { Op, Page, StorageBackend, Stored } from "../../sdk/storage.ts";
import type { ViewEntry, ViewOp } from "../../sdk/view.ts";
import { deepFreeze, freezePlain } from "./json.ts";
import { isUnder, keyringKey, nameIn, type Keyring, type WrittenKeyring } from "./keyring.ts";
import { Lists } from "./lists.ts";
import { createMark, isMark } from "./mark.ts";
import { type Findings, Scan, type ScanOptions } from "./scan.ts";
import { Snapshot } from "./snapshot.ts";
import { sumKey } from "./sum.ts";
import { formatMark, summedFormat, Versions, versionsKey } from "./versions.ts";
import { type State, Writer } from "./writer.ts";

/** One decrypted entry. A mark has neither bytes nor an object, and reads as an empty one. */
export interface Entry {
  /** Null once it was parsed: one form is enough to keep. */
  bytes: Buffer | null;
  readonly version: number;
  /** Made when first asked for. */
  json: ViewEntry<object> | null;
  /** Of the text. */
  readonly size: number;
  /** As the sum counts it. */
  readonly element: bigint;
}

export const sealed = (): VaultError => new VaultError("sealed", "Vault is sealed");
// RFC 8410: the DER in front of the 32 bytes of an Ed25519 private key.
const ed25519Prefix = Buffer.from("302e020100300506032b657004220420", "hex");
const reserved: ReadonlySet<string> = new Set([keyringKey, versionsKey, sumKey]);

/** Bytes that an entry takes: parsed JSON is about three times its text. */
const listBytes = 16 * 1024 * 1024;
const absentWeight = 200;
const weigh = (key: string, entry: Entry): number => 360 + 2 * key.length + 4 * entry.size;

function checkReserved(key: string): void {
  if (reserved.has(key)) throw new VaultError("internal", "storage: this key belongs to the barrier");
}

export class Session {
  readonly #storage: StorageBackend;
  readonly #log: Logger;
  readonly #versions: Versions;
  readonly #writer: Writer;
  /** By key; null where storage is known to hold nothing. */
  readonly #cache: Lru<Entry | null>;
  readonly #lists = new Lists(listBytes);
  readonly #reads = new Map<string, Promise<Entry | null>>();
  readonly #macs = new Map<string, KeyObject>();
  readonly #marks: Hmac;
  readonly #find = (name: string): StanzaKey | null => this.#keyring?.terms.get(name)?.stanza ?? null;
  readonly #seal = (key: string, version: number, value: Uint8Array): Buffer =>
    encryptBound(this.#keys().active.stanza, key, version, value);
  #keyring: Keyring | null;
  #encryptions = 0;

  constructor(storage: StorageBackend, log: Logger, keyring: Keyring, cacheBytes: number) {
    this.#storage = storage;
    this.#log = log;
    this.#keyring = keyring;
    this.#cache = new Lru(cacheBytes);
    this.#marks = hmacOf(this.mac("mark"));
    this.#writer = new Writer({
      storage,
      log,
      mac: this.mac("sum"),
      seal: this.#seal,
      open: (key, stored) => this.#decrypt(key, stored),
      known: (key) => this.#cache.get(key),
      forget: (key) => this.#cache.delete(key),
    });
    const store = { get: (key: string) => storage.get(key), write: (ops: readonly Op[]) => this.#writer.write(ops) };
    this.#versions = new Versions(store, {
      seal: (version) => this.#seal(versionsKey, version, formatMark),
      open: (stored) => void this.#decrypt(versionsKey, stored),
    });
  }

  /** For a store of format `format`. Throws VaultError `storage` where the store knows that it has a newer one. */
  async open(format: number, summed: boolean): Promise<void> {
    const mark = await this.#storage.get(versionsKey);
    // One that is missing or damaged stops all writing, and is told by whoever reads it.
    const known = mark !== null && this.#opens(versionsKey, mark) ? (this.#decrypt(versionsKey, mark)[0] ?? 1) : 0;
    if (known > format) {
      this.#log.security("the seal record was rolled back: it names an older format than the storage has");
      throw new VaultError("storage", `storage: core/seal says format ${format}, where the storage has ${known}`);
    }
    if (summed && format >= summedFormat) await this.#writer.sums.open();
  }

  /** Makes a store of format 1 one of the current format, whole or not at all: `record` is the seal's record that says so. */
  async adopt(record: Op): Promise<void> {
    this.#keys();
    await this.#writer.sums.count(() => void this.#keys());
    await this.#versions.advance(1, [record]);
  }

  /** Reads everything there is. `pause` is awaited between steps. */
  scan(options: Pick<ScanOptions, "pause" | "progress" | "accept">): Promise<Findings> {
    this.#keys();
    const pause = async (): Promise<void> => {
      await options.pause();
      this.#keys();
    };
    const opens = (key: string, stored: Stored): boolean => this.#opens(key, stored);
    return new Scan({ ...options, pause, opens, storage: this.#storage, writer: this.#writer }).run();
  }

  /** Everything there is at this moment. `mostBytes` of what is overwritten meanwhile are kept. */
  snapshot(mostBytes?: number): Promise<Snapshot> {
    const check = (): void => void this.#keys();
    const parts = { storage: this.#storage, writer: this.#writer, seal: this.#seal, check };
    return Snapshot.take({ ...parts, ...(mostBytes !== undefined && { mostBytes }) });
  }

  /** Whether `record`, which came with a backup, is the sum over everything that is there. */
  verify(record: Stored): Promise<boolean> {
    return this.#writer.sums.verify(record, () => void this.#keys());
  }

  #opens(key: string, stored: Stored): boolean {
    this.#keys();
    if (isMark(this.#marks, key, stored)) return true;
    try {
      zero(decryptBound(this.#find, key, stored.version, stored.value));
      return true;
    } catch (error) {
      if (error instanceof AgeError) return false;
      throw error;
    }
  }

  /** Forgets keys and entries. Calls under way reject with `sealed`. */
  close(): void {
    for (const { stanza } of this.#keyring?.terms.values() ?? []) wipe(stanza);
    this.#keyring = null;
    this.#writer.close(sealed());
    for (const entry of this.#cache.values()) {
      if (entry === null) continue;
      zero(entry.bytes);
      entry.json = null;
    }
    this.#cache.clear();
    this.#lists.clear();
    this.#reads.clear();
    for (const key of this.#macs.values()) forgetHmac(key);
    this.#macs.clear();
  }

  /** Throws VaultError `sealed` once closed. */
  check(): void {
    this.#keys();
  }

  /** The cached entry, null where it is known that there is none: no promise on the way. */
  peek(key: string): Entry | null | undefined {
    return this.#cache.get(key);
  }

  /** The entry from storage. Readers of one key share a read until a write of that key ends. */
  load(key: string): Promise<Entry | null> {
    checkReserved(key);
    const under = this.#reads.get(key);
    if (under !== undefined) return under;
    const read: Promise<Entry | null> = this.#fetch(key, () => this.#reads.get(key) === read);
    this.#reads.set(key, read);
    return read;
  }

  async #fetch(key: string, isCurrent: () => boolean): Promise<Entry | null> {
    let current = false;
    let stored: Stored | null;
    try {
      stored = await this.#storage.get(key);
    } finally {
      current = isCurrent();
      if (current) this.#reads.delete(key);
    }
    this.#keys();
    if (stored === null) {
      if (current) this.#cache.set(key, null, absentWeight + key.length);
      return null;
    }
    const bytes = isMark(this.#marks, key, stored) ? null : this.#decrypt(key, stored);
    const { version, element } = this.#writer.stateOf(key, stored);
    const entry: Entry = { bytes, version, element, json: null, size: bytes?.length ?? 0 };
    if (current) this.#cache.set(key, entry, weigh(key, entry));
    return entry;
  }

  #decrypt(key: string, stored: Stored): Buffer {
    const bytes = this.#tryDecrypt(key, stored);
    if (bytes !== null) return bytes;
    throw new VaultError("storage", "storage: an entry is damaged or forged; the server's log names it");
  }

  /** Null, and a line in the security log, where it does not open. */
  #tryDecrypt(key: string, stored: Stored): Buffer | null {
    this.#keys();
    try {
      return decryptBound(this.#find, key, stored.version, stored.value);
    } catch (error) {
      if (!(error instanceof AgeError)) throw error;
      this.#log.security("an entry in storage was changed, moved or forged: it does not open", {
        path: key,
        part: error.part,
      });
      return null;
    }
  }

  /** The parsed entry, the same object each time. Throws where the entry is no JSON object. */
  parse(entry: Entry): ViewEntry<object> {
    this.#keys();
    if (entry.json !== null) return entry.json;
    let value: unknown;
    try {
      value = JSON.parse(textOf(entry));
    } catch {
      throw new VaultError("storage", "storage: an entry that should be JSON is not");
    }
    if (typeof value !== "object" || value === null) {
      throw new VaultError("storage", "storage: an entry that should be a JSON object is not");
    }
    deepFreeze(value);
    zero(entry.bytes);
    entry.bytes = null;
    entry.json = Object.freeze({ value, version: entry.version });
    return entry.json;
  }

  /** `ops` with full keys. */
  async write(ops: readonly ViewOp[]): Promise<number[]> {
    this.#keys();
    for (const { key } of ops) {
      checkKey(key);
      checkReserved(key);
    }
    const texts = ops.map(({ value }) => toBytes(value));
    const first = this.#versions.take(ops.length) ?? (await this.#versions.reserve(ops.length));
    const key = this.#keys().active.stanza;
    const sealedOps = ops.map((op, at): Op => {
      const version = first + at;
      const bytes = texts[at] ?? null;
      let value: Buffer | null = null;
      if (op.value === true) value = createMark(this.#marks, op.key, version);
      else if (bytes !== null) {
        value = encryptBound(key, op.key, version, bytes);
        this.#encryptions += 1;
      }
      return op.expect === undefined
        ? { key: op.key, value, version }
        : { key: op.key, value, version, expect: op.expect };
    });
    for (const [at, { value }] of ops.entries()) if (!(value instanceof Uint8Array)) zero(texts[at]);
    await new Promise<void>((resolve, reject) => {
      const states = this.#writer.add(sealedOps, (error) => {
        for (const [at, op] of ops.entries()) {
          const state = error === null ? (states[at] ?? null) : null;
          this.#finish(op.key, state === null ? null : entryOf(op.value, texts[at] ?? null, state));
        }
        if (this.#keyring === null) reject(sealed());
        else if (error !== null) reject(error);
        else resolve();
      });
    });
    this.#keys();
    return ops.map((op, at) => (op.value === null ? 0 : first + at));
  }

  /** Encrypts an entry that is under an older term in the active one: the same value under the same version, so that
   *  nobody notices. "left" where it is not under an older one, or was written meanwhile; "damaged" where it does not open. */
  async renew(key: string): Promise<"renewed" | "left" | "damaged"> {
    const stored = await this.#storage.get(key);
    const { active } = this.#keys();
    const name = stored === null || key === sumKey ? null : nameIn(stored.value);
    if (stored === null || name === null || name === active.stanza.name) return "left";
    const { version } = stored;
    const bytes = this.#tryDecrypt(key, stored);
    if (bytes === null) return "damaged";
    const op: Op = { key, value: encryptBound(active.stanza, key, version, bytes), version, expect: version };
    zero(bytes);
    this.#encryptions += 1;
    return new Promise((resolve, reject) => {
      const [state] = this.#writer.add([op], (error) => {
        const cached = error === null ? this.#cache.get(key) : null;
        const same = cached?.version === version && state ? { ...cached, element: state.element } : null;
        this.#finish(key, same);
        if (this.#keyring === null) reject(sealed());
        else if (error === null) resolve("renewed");
        else if (isVaultError(error, "conflict")) resolve("left");
        else reject(error);
      });
    });
  }

  /** Writes entries of the barrier's own, which are files already. */
  replace(ops: readonly Op[]): Promise<void> {
    this.#keys();
    return this.#writer.write(ops);
  }

  /** `entry` is what storage now holds; null where that is nothing or not known. */
  #finish(key: string, entry: Entry | null): void {
    // What overwrites an entry that is there changes no list.
    if (entry === null || !this.#cache.get(key)) this.#lists.changed(key);
    this.#reads.delete(key);
    if (entry === null || this.#keyring === null) this.#cache.delete(key);
    else this.#cache.set(key, entry, weigh(key, entry));
  }

  /** The keys of all terms as an identity of the age command (lib/keyringIdentity.ts). */
  exportTerms(): string {
    const terms = [...this.#keys().terms.values()].map(({ id, key }) => ({ id, key: key.export() }));
    try {
      return encodeIdentity(terms);
    } finally {
      zero(...terms.map(({ key }) => key));
    }
  }

  /** The active term, and how many entries were encrypted in it since this session or the term began. */
  get term(): { readonly id: number; readonly created: number; readonly encryptions: number } {
    const { id, created } = this.#keys().active;
    return { id, created, encryptions: this.#encryptions };
  }

  isUnder(rootKey: Uint8Array): boolean {
    return isUnder(this.#keys(), rootKey);
  }

  /** Writes what `make` makes of the keyring, and goes on with it once it is durable: until then, and where it fails,
   *  everything stays as it was. `before` lands in the same write, in front of the keyring. */
  async replaceKeyring(
    make: (before: Keyring, version: number) => WrittenKeyring,
    before: readonly Op[] = [],
  ): Promise<void> {
    this.#keys();
    const version = this.#versions.take(1) ?? (await this.#versions.reserve(1));
    const current = this.#keys();
    const { file, keyring } = make(current, version);
    const op: Op = { key: keyringKey, value: file, version, expect: current.version };
    await this.#writer.write([...before, op]).catch(async (error: unknown) => {
      // A write that landed although it failed is told by its version, which no other write has.
      if ((await this.#storage.get(keyringKey))?.version !== version) throw error;
    });
    this.#keys();
    this.#keyring = keyring;
    if (keyring.active.id !== current.active.id) this.#encryptions = 0;
  }

  /** Frozen where it is the whole list. */
  async list(prefix: string, page?: Page): Promise<readonly string[]> {
    this.#keys();
    const whole = page?.after === undefined && page?.limit === undefined;
    const names = await (whole
      ? this.#lists.get(prefix, () => this.#storage.list(prefix))
      : this.#storage.list(prefix, page));
    this.#keys();
    return names;
  }

  mac(purpose: string): KeyObject {
    const made = this.#macs.get(purpose);
    if (made !== undefined) return made;
    const bytes = this.#derive("mac", purpose);
    const key = createSecretKey(bytes);
    zero(bytes);
    this.#macs.set(purpose, key);
    return key;
  }

  signingKey(purpose: string): KeyObject {
    const seed = this.#derive("signing", purpose);
    const der = Buffer.concat([ed25519Prefix, seed]);
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    zero(seed, der);
    return key;
  }

  /** One block of HKDF-Expand (RFC 5869) of the keyring's secret. */
  #derive(kind: string, purpose: string): Buffer {
    return createHmac("sha256", this.#keys().secret).update(`writ ${kind} 1\0${purpose}\x01`).digest();
  }

  #keys(): Keyring {
    if (this.#keyring === null) throw sealed();
    return this.#keyring;
  }
}

const textOf = ({ bytes, json }: Entry): string => bytes?.toString("utf8") ?? JSON.stringify(json?.value ?? {});

/** A copy, since the cached bytes are wiped at seal and must not change under way. */
export const copyOf = (entry: Entry): ViewEntry<Uint8Array> => {
  const value = entry.bytes === null ? Buffer.from(textOf(entry)) : entry.bytes;
  return { value: new Uint8Array(value), version: entry.version };
};

/** The bytes to store, the session's own copy; freezes objects. */
function toBytes(value: ViewOp["value"]): Buffer | null {
  if (value === null || value === true) return null;
  if (value instanceof Uint8Array) return Buffer.from(value);
  freezePlain(value);
  return Buffer.from(JSON.stringify(value));
}

/** What the cache keeps of a write: of objects `bytes` is only as long as their text. */
function entryOf(value: ViewOp["value"], bytes: Buffer | null, { version, element }: State): Entry | null {
  if (value === true) return { bytes: null, version, element, json: null, size: 0 };
  if (value === null || bytes === null) return null;
  const size = bytes.length;
  if (value instanceof Uint8Array) return { bytes, version, element, json: null, size };
  return { bytes: null, version, element, json: Object.freeze({ value, version }), size };
}
