// The one record that stands in storage outside the barrier: how the vault is sealed. With it a store is a vault, without
// it, it is none.
// Must hold: the record is written as pending before anything else and as final after everything else, so that an
// initialisation that was cut off can be told from a vault; nothing is ever removed that somebody may hold shares of.

import type { Logger } from "../lib/log.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Op, StorageBackend, Stored } from "../sdk/storage.ts";
import { storageFormat } from "./barrier/versions.ts";

export interface SealRecord {
  /** Of the whole storage (barrier/versions.ts). */
  readonly format: number;
  /** True until the shares were handed over: what is stored then is no vault yet. */
  readonly pending: boolean;
  readonly cluster_id: string;
  readonly seal: Readonly<Record<string, unknown>>;
  /** From a rekey until its shares were used: then they are with their holders. */
  readonly former?: FormerSeal;
}

/** What the shares from before a rekey open. */
export interface FormerSeal {
  readonly seal: Readonly<Record<string, unknown>>;
  /** The root key after the rekey, encrypted under the one before it: an age file in base64. */
  readonly bridge: string;
}

export const sealKey = "core/seal";

export class SealRecords {
  readonly #storage: StorageBackend;
  readonly #log: Logger;
  #version = 0;
  /** Null where there is none. */
  current: SealRecord | null = null;

  constructor(storage: StorageBackend, log: Logger) {
    this.#storage = storage;
    this.#log = log;
  }

  /** Throws VaultError `storage` where it is of a format that this program does not know. */
  static parse(stored: Stored): SealRecord {
    const record = JSON.parse(Buffer.from(stored.value).toString("utf8")) as SealRecord;
    if (Number.isInteger(record.format) && record.format >= 1 && record.format <= storageFormat) return record;
    const found = `storage has format ${String(record.format)}, which this version does not know`;
    throw new VaultError("storage", `${found}; run a newer one`);
  }

  async load(): Promise<void> {
    const stored = await this.#storage.get(sealKey);
    if (stored === null) return;
    const record = SealRecords.parse(stored);
    this.current = record;
    this.#version = stored.version;
  }

  save(record: SealRecord): Promise<void> {
    return this.replace(record, (op) => this.#storage.write([op]));
  }

  /** `write` writes the record, with or without more. What storage holds after a failure is read again. */
  async replace(record: SealRecord, write: (op: Op) => Promise<void>): Promise<void> {
    const version = this.#version + 1;
    const value = Buffer.from(JSON.stringify(record));
    try {
      await write({ key: sealKey, value, version, expect: this.#version || "absent" });
    } catch (error) {
      await this.load().catch(() => {});
      throw error;
    }
    this.current = record;
    this.#version = version;
  }

  /** The present shares were used, so they are with their holders: those from before them open nothing any more. Whoever used
   *  them goes on whatever comes of it. */
  async confirm(): Promise<void> {
    if (this.current?.former === undefined) return;
    const { former: _former, ...rest } = this.current;
    await this.save(rest).catch((error: unknown) => {
      this.#log.warn("the shares from before the rekey still open the vault, until new ones are used again", { error });
    });
  }

  /** A rekey that was cut off before the keyring never was: the shares from before it are the only ones. */
  async restoreFormer(): Promise<void> {
    if (this.current?.former === undefined) return;
    const { former, ...rest } = this.current;
    await this.save({ ...rest, seal: former.seal });
  }

  /** Removes what an initialisation left that was cut off before its shares were handed over: nobody can open it. */
  async wipeUnfinished(): Promise<void> {
    const names = await this.#storage.list("");
    if (this.current === null) {
      if (names.length === 0) return;
      const found = "storage holds entries but no seal record";
      throw new VaultError("storage", `${found}: restore the record, or start with an empty storage`);
    }
    this.#log.warn("removing what an unfinished initialisation left");
    const wipe = async (prefix: string): Promise<void> => {
      for (const name of await this.#storage.list(prefix)) {
        const key = `${prefix}${name}`;
        if (name.endsWith("/")) await wipe(key);
        else if (key !== sealKey) await this.#storage.write([{ key, value: null, version: 0 }]);
      }
    };
    await wipe("");
  }
}
