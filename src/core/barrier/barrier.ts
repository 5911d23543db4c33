// The barrier: what stands between the program and storage. Sealed, it has no key and gives nothing; unsealed, it hands
// out views of the decrypted tree.
// Must hold: a call that began before a seal never returns data after it.
// Known gap: keys and entries that were dropped stay in memory until the garbage collector takes them; parsed JSON cannot
// be wiped. An entry that was deleted or replaced by an earlier version of itself is noticed by the scan alone (scan.ts).

import type { KeyObject } from "node:crypto";
import { systemClock, type Clock } from "../../lib/clock.ts";
import { encryptBound } from "../../lib/bound.ts";
import type { Logger } from "../../lib/log.ts";
import { Mutex } from "../../lib/mutex.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import type { Op, Page, StorageBackend, Stored } from "../../sdk/storage.ts";
import type { View, ViewEntry, ViewOp } from "../../sdk/view.ts";
import { addTerm, changeRoot, createKeyring, type Keyring, keyringKey, openKeyring } from "./keyring.ts";
import type { Findings } from "./scan.ts";
import type { Snapshot } from "./snapshot.ts";
import { copyOf, sealed, Session } from "./session.ts";
import { firstMark, formatMark, markOp, storageFormat, versionsKey } from "./versions.ts";
import { keysAfter } from "./walk.ts";

export interface BarrierOptions {
  readonly storage: StorageBackend;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Bytes of decrypted entries to keep; 64 MiB unless given. */
  readonly cacheBytes?: number;
  /** Of the storage, as the seal's record has it; the current one unless given. */
  readonly format?: () => number;
  /** False where the sum is looked at by somebody else. */
  readonly summed?: boolean;
}

const keyringVersion = 1;

export class Barrier {
  readonly #storage: StorageBackend;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #cacheBytes: number;
  readonly #format: () => number;
  readonly #summed: boolean;
  readonly #life = new Mutex();
  #session: Session | null = null;
  /** Counts seals, so that an unseal under way does not undo one. */
  #seals = 0;

  constructor(options: BarrierOptions) {
    this.#storage = options.storage;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    this.#cacheBytes = options.cacheBytes ?? 64 * 1024 * 1024;
    this.#summed = options.summed ?? true;
    this.#format = options.format ?? (() => storageFormat);
  }

  get sealed(): boolean {
    return this.#session === null;
  }

  async initialized(): Promise<boolean> {
    return (await this.#storage.get(keyringKey)) !== null;
  }

  /** Makes the keyring; the barrier stays sealed. `rootKey` has 32 bytes and stays the caller's to wipe. Throws VaultError
   *  `invalid` where there is a keyring already. */
  initialize(rootKey: Uint8Array): Promise<void> {
    return this.#life.run("life", async () => {
      if (await this.initialized()) throw new VaultError("invalid", "Vault is already initialized");
      const file = createKeyring(rootKey, keyringVersion, this.#clock.now());
      const keyring = openKeyring(rootKey, keyringVersion, file);
      // The mark first: a store that is not atomic and stops in between is one without a keyring, and begins anew. Its
      // mark is then of a key that nobody has.
      const left = this.#storage.atomic ? null : await this.#storage.get(versionsKey);
      const seal = (version: number): Uint8Array =>
        encryptBound(keyring.active.stanza, versionsKey, version, formatMark);
      const session = new Session(this.#storage, this.#log, keyring, 0);
      try {
        await session.replace([
          markOp({ seal }, firstMark, left?.version ?? "absent"),
          { key: keyringKey, value: file, version: keyringVersion, expect: "absent" },
        ]);
      } finally {
        session.close();
      }
    });
  }

  /** Throws VaultError `uninitialized`, or `invalid` where `rootKey` does not open the keyring. `rootKey` stays the
   *  caller's to wipe. */
  unseal(rootKey: Uint8Array): Promise<void> {
    return this.#life.run("life", async () => {
      if (this.#session !== null) throw new VaultError("invalid", "Vault is already unsealed");
      const seals = this.#seals;
      const stored = await this.#storage.get(keyringKey);
      if (stored === null) throw new VaultError("uninitialized", "Vault is not initialized");
      const keyring = this.#openKeyring(rootKey, stored);
      const session = new Session(this.#storage, this.#log, keyring, this.#cacheBytes);
      await session.open(this.#format(), this.#summed);
      if (seals !== this.#seals) {
        session.close();
        throw sealed();
      }
      this.#session = session;
    });
  }

  #openKeyring(rootKey: Uint8Array, stored: Stored): Keyring {
    try {
      return openKeyring(rootKey, stored.version, stored.value);
    } catch (error) {
      this.#log.security("the keyring did not open: a wrong key, or a keyring that was changed");
      throw error;
    }
  }

  /** Makes a store of format 1 one of the current format. `record` is the seal's record that says so. */
  adopt(record: Op): Promise<void> {
    return this.#life.run("life", () => this.#open().adopt(record));
  }

  /** Reads the whole store beside the writes that go on, and says what is wrong with it. */
  scan(options: Parameters<Session["scan"]>[0]): Promise<Findings> {
    return this.#open().scan(options);
  }

  /** Everything in storage as it is at this moment, for whoever reads it soon. */
  snapshot(mostBytes?: number): Promise<Snapshot> {
    return this.#open().snapshot(mostBytes);
  }

  /** Whether `record`, which came with a backup, is the sum over everything in storage. */
  verify(record: Stored): Promise<boolean> {
    return this.#open().verify(record);
  }

  /** A new term, active once it is durable; what is under older terms stays readable. */
  rotate(): Promise<void> {
    return this.#life.run("life", () =>
      this.#open().replaceKeyring((before, version) => addTerm(before, version, this.#clock.now())),
    );
  }

  /** At most `limit` keys of storage behind `after`, in byte order; fewer only at its end. */
  async keysAfter(after: string, limit: number): Promise<string[]> {
    const session = this.#open();
    const keys = await keysAfter(this.#storage, after, limit);
    session.check();
    return keys;
  }

  /** Encrypts an entry anew where it is under an older term. */
  renew(key: string): Promise<"renewed" | "left" | "damaged"> {
    return this.#open().renew(key);
  }

  /** Puts the same keys under another root key, which stays the caller's to wipe. `before` lands in the same write, in
   *  front of the keyring. */
  changeRoot(rootKey: Uint8Array, before: readonly Op[]): Promise<void> {
    return this.#life.run("life", () =>
      this.#open().replaceKeyring((keyring, version) => changeRoot(keyring, version, rootKey), before),
    );
  }

  /** Whether the stored keyring opens with `rootKey`, which stays the caller's to wipe. */
  async isUnder(rootKey: Uint8Array): Promise<boolean> {
    const stored = await this.#storage.get(keyringKey);
    if (stored === null) return false;
    try {
      openKeyring(rootKey, stored.version, stored.value);
      return true;
    } catch (error) {
      if (isVaultError(error, "invalid")) return false;
      throw error;
    }
  }

  /** Whether `rootKey`, which stays the caller's to wipe, is the one that the keyring is under. */
  holds(rootKey: Uint8Array): boolean {
    return this.#open().isUnder(rootKey);
  }

  /** The active term, and how many entries were encrypted in it since the last unseal or rotation. */
  get term(): { readonly id: number; readonly created: number; readonly encryptions: number } {
    return this.#open().term;
  }

  /** The keys of all terms, in clear, as an identity of the age command. */
  exportTerms(): string {
    return this.#open().exportTerms();
  }

  /** Drops keys and caches at once. */
  seal(): void {
    this.#seals += 1;
    this.#session?.close();
    this.#session = null;
  }

  /** The tree below `prefix`, which is "" or ends in "/". Works across seals: each call needs an unsealed barrier. */
  view(prefix: string): View {
    if (prefix !== "" && !prefix.endsWith("/")) throw new VaultError("internal", "a view's prefix must end in a slash");
    return new BarrierView(() => this.#open(), prefix);
  }

  /** An HMAC-SHA-256 key for one purpose, the same for the life of the vault. Throws VaultError `sealed`. */
  mac(purpose: string): KeyObject {
    return this.#open().mac(purpose);
  }

  /** An Ed25519 private key for one purpose, the same for the life of the vault. Throws VaultError `sealed`. */
  signingKey(purpose: string): KeyObject {
    return this.#open().signingKey(purpose);
  }

  #open(): Session {
    if (this.#session === null) throw sealed();
    return this.#session;
  }
}

class BarrierView implements View {
  readonly #session: () => Session;
  readonly #prefix: string;

  constructor(session: () => Session, prefix: string) {
    this.#session = session;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<ViewEntry<Uint8Array> | null> {
    const session = this.#session();
    const hit = session.peek(this.#prefix + key);
    if (hit !== undefined) return hit === null ? null : copyOf(hit);
    const entry = await session.load(this.#prefix + key);
    session.check();
    return entry === null ? null : copyOf(entry);
  }

  peekJson<T extends object>(key: string): ViewEntry<T> | null | undefined {
    const session = this.#session();
    const hit = session.peek(this.#prefix + key);
    return hit ? (session.parse(hit) as ViewEntry<T>) : hit;
  }

  async getJson<T extends object>(key: string): Promise<ViewEntry<T> | null> {
    const session = this.#session();
    const hit = session.peek(this.#prefix + key);
    const entry = hit === undefined ? await session.load(this.#prefix + key) : hit;
    // What is stored under a key has the type that the writer of that key gave it.
    return entry === null ? null : (session.parse(entry) as ViewEntry<T>);
  }

  async write(ops: readonly ViewOp[]): Promise<number[]> {
    return this.#session().write(ops.map((op) => ({ ...op, key: this.#prefix + op.key })));
  }

  async list(prefix: string, page?: Page): Promise<readonly string[]> {
    return this.#session().list(this.#prefix + prefix, page);
  }

  sub(prefix: string): View {
    if (!prefix.endsWith("/")) throw new VaultError("internal", "a view's prefix must end in a slash");
    return new BarrierView(this.#session, this.#prefix + prefix);
  }
}
