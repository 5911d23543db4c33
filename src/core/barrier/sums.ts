// The sum that a store keeps over its entries (sum.ts), as it goes from write to write.
// Must hold: it is what storage has: a new one counts once its write has landed, and after a failure the record is read
// again; one that is older than what this process has seen is refused.

import type { KeyObject } from "node:crypto";
import type { Logger } from "../../lib/log.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import type { Op, StorageBackend, Stored } from "../../sdk/storage.ts";
import {
  corrected,
  counted,
  decodeSum,
  elementOf,
  emptySum,
  encodeSum,
  replaced,
  sameSum,
  type Sum,
  sumKey,
} from "./sum.ts";
import { keysAfter } from "./walk.ts";
import type { Change } from "./writer.ts";

export interface SumsOptions {
  readonly storage: StorageBackend;
  readonly log: Logger;
  /** Keys the elements. */
  readonly mac: KeyObject;
  readonly seal: (key: string, version: number, value: Uint8Array) => Uint8Array;
  /** Throws VaultError `storage` where it does not open. */
  readonly open: (key: string, stored: Stored) => Buffer;
}

/** A sum on its way to storage. */
export interface NextSum {
  readonly op: Op;
  /** Once it has landed. */
  readonly landed: () => void;
}

const countAtOnce = 256;

const lost = (): VaultError =>
  new VaultError("storage", `storage: ${sumKey} was changed by somebody else; nothing is written until a restart`);

export class Sums {
  readonly #options: SumsOptions;
  /** The newest version of the record that storage is known to have had, 0 for none; and the sum in it. */
  #version = 0;
  #sum: Sum = emptySum;
  /** False after a failure: storage may have the next one. */
  #sure = true;
  /** What the next sum is to be corrected by. */
  #correction: Sum = emptySum;

  constructor(options: SumsOptions) {
    this.#options = options;
  }

  /** Whether one is kept: where storage has transactions. */
  get kept(): boolean {
    return this.#options.storage.atomic;
  }

  /** Of what has landed. Null where none is kept, or while it is not known. */
  get current(): Sum | null {
    return this.kept && this.#sure ? this.#sum : null;
  }

  /** Whether there is something to write although nothing else is. */
  get waits(): boolean {
    return this.#correction !== emptySum;
  }

  /** At unseal. One that is missing or damaged counts as that of an empty store: the scan tells. */
  async open(): Promise<void> {
    if (!this.kept) return;
    const stored = await this.#options.storage.get(sumKey);
    const sum = stored === null ? null : this.#read(stored);
    if (sum === null) this.#options.log.security("the sum over all entries is missing from storage or damaged");
    this.#version = stored?.version ?? 0;
    this.#sum = sum ?? emptySum;
  }

  /** Starts one for a store that has none, from all that is there. `check` may throw to stop. */
  async count(check: () => void): Promise<void> {
    if (this.kept) this.#sum = await this.#counted(check);
  }

  /** Whether `record`, of another store, is that of everything that is there. */
  async verify(record: Stored, check: () => void): Promise<boolean> {
    const sum = this.#read(record);
    return sum !== null && sameSum(sum, await this.#counted(check));
  }

  /** Makes the next one `found` in place of what it is now, whatever is written meanwhile. */
  correct(found: Sum): void {
    const { count, total } = this.#sum;
    this.#correction = { count: found.count - count, total: found.total - total };
  }

  elementOf(key: string, stored: Stored): bigint {
    return elementOf(this.#options.mac, key, stored);
  }

  /** The sum after `changes`. Null where none is kept. */
  next(changes: readonly Change[]): NextSum | null {
    if (!this.kept) return null;
    const correction = this.#correction;
    let sum = corrected(this.#sum, correction);
    for (const { key, before, after } of changes) {
      if (counted(key)) sum = replaced(sum, before?.element ?? null, after?.element ?? null);
    }
    const version = this.#version + 1;
    const value = this.#options.seal(sumKey, version, encodeSum(sum));
    return {
      op: { key: sumKey, value, version, expect: this.#version === 0 ? "absent" : this.#version },
      landed: () => {
        this.#sum = sum;
        this.#version = version;
        if (this.#correction === correction) this.#correction = emptySum;
      },
    };
  }

  /** Whether `settle` has nothing to do. */
  get settled(): boolean {
    return this.#sure || !this.kept;
  }

  /** After a write whose end is not known. */
  doubt(): void {
    this.#sure = false;
  }

  /** Before a write: takes the record from storage where that is needed. It is that of the last write that landed, ours or
   *  not. */
  async settle(fresh: boolean): Promise<void> {
    if (!this.kept || (this.#sure && !fresh)) return;
    const stored = await this.#options.storage.get(sumKey);
    const version = stored?.version ?? 0;
    if (version !== this.#version) {
      const sum = stored === null || version < this.#version ? null : this.#read(stored);
      if (sum === null) {
        this.#options.log.security("the sum over all entries was removed or rolled back while the vault was running");
        throw lost();
      }
      this.#version = version;
      this.#sum = sum;
    }
    this.#sure = true;
  }

  async #counted(check: () => void): Promise<Sum> {
    const { storage } = this.#options;
    let sum = emptySum;
    let keys: readonly string[] = [];
    do {
      keys = await keysAfter(storage, keys.at(-1) ?? "", countAtOnce);
      const found = await Promise.all(keys.map((key) => storage.get(key)));
      check();
      for (const [at, key] of keys.entries()) {
        const stored = found[at] ?? null;
        if (stored !== null && counted(key)) sum = replaced(sum, null, this.elementOf(key, stored));
      }
    } while (keys.length === countAtOnce);
    return sum;
  }

  #read(stored: Stored): Sum | null {
    try {
      return decodeSum(this.#options.open(sumKey, stored));
    } catch (error) {
      if (isVaultError(error, "storage")) return null;
      throw error;
    }
  }
}
