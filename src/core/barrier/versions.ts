// Versions that are unique and growing over the life of a store: counted in memory up to a mark in storage, which is moved
// a million ahead with one write. What a seal or a crash leaves unused is lost; 2^53 is enough for that.
// Must hold: no version is handed out that is not below a mark that is already durable. The mark is the version of its own
// entry: an entry that opens under its version says what the mark is. Its content is the format of the storage, which the
// seal's record says too, but in the open.
// Known gap: whoever rolls the mark's entry back alone makes versions come again, until the scan after unseal finds it.

import { VaultError } from "../../sdk/errors.ts";
import type { Op, StorageBackend, Stored } from "../../sdk/storage.ts";

export const versionsKey = "core/versions";
/** Of everything in storage. Goes up with each change that an older program would not understand or keep. */
export const storageFormat = 2;
/** The first that has a sum over all entries. */
export const summedFormat = 2;
/** The content of the mark's entry. */
export const formatMark = Buffer.from([storageFormat]);
/** The mark of a new store; the keyring's entry has version 1. */
export const firstMark = 2;
const block = 2 ** 20;

interface Crypt {
  seal(version: number): Uint8Array;
  /** Throws VaultError `storage` where it does not open. */
  open(stored: Stored): void;
}

/** The entry with mark `mark`, to be written where there is version `expect` now. */
export function markOp(crypt: Pick<Crypt, "seal">, mark: number, expect: number | "absent"): Op {
  return { key: versionsKey, value: crypt.seal(mark), version: mark, expect };
}

export class Versions {
  readonly #store: Pick<StorageBackend, "get" | "write">;
  readonly #crypt: Crypt;
  #next = 0;
  #end = 0;
  #reserving: Promise<void> | null = null;

  constructor(store: Pick<StorageBackend, "get" | "write">, crypt: Crypt) {
    this.#store = store;
    this.#crypt = crypt;
  }

  /** The first of `count` consecutive versions, or null where they must be reserved first. */
  take(count: number): number | null {
    if (this.#next + count > this.#end) return null;
    this.#next += count;
    return this.#next - count;
  }

  /** Like `take`, after reserving. Throws VaultError `storage` where the mark is missing or damaged. */
  async reserve(count: number): Promise<number> {
    for (;;) {
      const first = this.take(count);
      if (first !== null) return first;
      await this.advance(count);
    }
  }

  /** Moves the mark, and writes `before` in the same write, in front of it. */
  advance(count: number, before: readonly Op[] = []): Promise<void> {
    this.#reserving ??= this.#move(count, before).finally(() => {
      this.#reserving = null;
    });
    return this.#reserving;
  }

  async #move(count: number, before: readonly Op[]): Promise<void> {
    const stored = await this.#store.get(versionsKey);
    if (stored === null) {
      throw new VaultError(
        "storage",
        `storage: ${versionsKey} is missing: restore it from a backup; nothing is written`,
      );
    }
    this.#crypt.open(stored);
    const mark = stored.version;
    if (mark < this.#end) {
      throw new VaultError("storage", `storage: ${versionsKey} does not belong to this state; nothing is written`);
    }
    const end = mark + Math.max(block, count + 1);
    await this.#store.write([...before, markOp(this.#crypt, end, mark)]);
    this.#next = mark + 1;
    this.#end = end;
  }
}
