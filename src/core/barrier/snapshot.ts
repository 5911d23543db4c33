// Everything in storage as it was at one moment, while writes go on: what a write is about to replace and nobody has read
// yet is read first and kept.
// Must hold: every entry of that moment comes once, in byte order, with the bytes that it had; none that came later.
// Known gap: what is kept stays in memory until it is read; a reader that is slower than the writers is cut off.

import { compareUtf8 } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { StorageBackend, Stored } from "../../sdk/storage.ts";
import { counted, emptySum, encodeSum, replaced, sameSum, type Sum, sumKey } from "./sum.ts";
import { keysAfter } from "./walk.ts";
import type { Change, Observer, Writer } from "./writer.ts";

export interface Held {
  readonly key: string;
  readonly stored: Stored;
}

export interface SnapshotOptions {
  readonly storage: StorageBackend;
  readonly writer: Writer;
  readonly seal: (key: string, version: number, value: Uint8Array) => Uint8Array;
  /** Throws VaultError `sealed` after a seal. */
  readonly check: () => void;
  readonly mostBytes?: number;
}

const step = 64;
const mostBytes = 256 * 1024 * 1024;

export class Snapshot implements Observer {
  readonly #options: SnapshotOptions;
  readonly #leave: () => void;
  /** Of the moment; null where none is kept or known. */
  readonly #sum: Sum | null;
  /** What was replaced since, in front of the cursor; null where there was nothing. */
  readonly #kept = new Map<string, Stored | null>();
  #keptBytes = 0;
  /** Null once everything has been read. */
  #cursor: string | null = "";
  #failure: VaultError | null = null;
  #found: Sum = emptySum;
  #entries = 0;

  private constructor(options: SnapshotOptions) {
    this.#options = options;
    this.#sum = options.writer.sums.current;
    this.#leave = options.writer.observe(this);
  }

  /** Of a moment when no write is under way. */
  static take(options: SnapshotOptions): Promise<Snapshot> {
    return new Promise((resolve, reject) => {
      // An empty write ends behind those before it, and in front of those behind it.
      options.writer.add([], (error) => (error === null ? resolve(new Snapshot(options)) : reject(error)));
    });
  }

  get entries(): number {
    return this.#entries;
  }

  /** False where the entries are not those that were written. Of what has been read. */
  get holds(): boolean {
    return this.#sum === null || sameSum(this.#sum, this.#found);
  }

  async begins(changes: readonly Change[]): Promise<void> {
    // The sum's record is in no list of changes, and changes with all of them.
    const keys = [...changes.map(({ key }) => key), sumKey].filter((key) => this.#ahead(key) && !this.#kept.has(key));
    try {
      const found = await Promise.all(keys.map((key) => this.#options.storage.get(key)));
      for (const [at, key] of keys.entries()) if (this.#ahead(key)) this.#keep(key, found[at] ?? null);
    } catch (error) {
      // The write is not to blame.
      this.#fail(
        new VaultError("storage", "storage: an entry could not be read before it was replaced", { cause: error }),
      );
    }
  }

  landed(): void {}
  lost(): void {}

  /** Lets go of what is kept. */
  close(): void {
    this.#leave();
    this.#cursor = null;
    this.#kept.clear();
  }

  /** All entries, once. The sum's record is the last where this store has none. Throws what storage throws. */
  async *read(): AsyncGenerator<Held> {
    try {
      while (this.#cursor !== null) yield* await this.#step(this.#cursor);
      if (this.#failure !== null) throw this.#failure;
      if (this.#options.writer.sums.kept) return;
      this.#entries += 1;
      const value = this.#options.seal(sumKey, 1, encodeSum(this.#found));
      yield { key: sumKey, stored: { version: 1, value } };
    } finally {
      this.close();
    }
  }

  #ahead(key: string): boolean {
    return this.#cursor !== null && compareUtf8(key, this.#cursor) > 0;
  }

  #keep(key: string, stored: Stored | null): void {
    this.#kept.set(key, stored);
    this.#keptBytes += stored?.value.length ?? 0;
    if (this.#keptBytes <= (this.#options.mostBytes ?? mostBytes)) return;
    this.#fail(new VaultError("storage", "the backup was read too slowly for what was written meanwhile; try again"));
  }

  #fail(failure: VaultError): void {
    this.#failure ??= failure;
    this.close();
  }

  async #step(cursor: string): Promise<Held[]> {
    const { storage, writer, check } = this.#options;
    const keys = await keysAfter(storage, cursor, step);
    const read = await Promise.all(keys.map((key) => storage.get(key)));
    check();
    if (this.#failure !== null) throw this.#failure;
    // From here on in one turn. What a read found that a write had overtaken is in `kept` as it was.
    const last = keys.length < step ? null : (keys.at(-1) ?? null);
    const page: Held[] = [];
    for (const [at, key] of keys.entries()) {
      const stored = read[at] ?? null;
      if (stored !== null && !this.#kept.has(key)) page.push({ key, stored });
    }
    for (const [key, stored] of this.#kept) {
      if (last !== null && compareUtf8(key, last) > 0) continue;
      this.#kept.delete(key);
      this.#keptBytes -= stored?.value.length ?? 0;
      if (stored !== null) page.push({ key, stored });
    }
    this.#cursor = last;
    page.sort((a, b) => compareUtf8(a.key, b.key));
    this.#entries += page.length;
    for (const { key, stored } of page) {
      if (counted(key)) this.#found = replaced(this.#found, null, writer.sums.elementOf(key, stored));
    }
    return page;
  }
}
