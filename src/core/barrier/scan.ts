// Reads the whole store once, beside the writes that go on: opens every entry, and holds the sum of what is there against
// the sum that is kept. Finds what was changed before anybody reads it, and what was put back or taken away.
// Must hold: at every moment the sum found so far is that of the entries up to the cursor: a write that lands in front of
// it is counted by the walk, one behind it by its change. Where the end of a write is not known, the walk starts anew.
// Known gap: of an entry that was put back or taken away only the fact is found, not which it is.

import { compareUtf8 } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { StorageBackend, Stored } from "../../sdk/storage.ts";
import { keyringKey } from "./keyring.ts";
import { counted, emptySum, replaced, sameSum, type Sum } from "./sum.ts";
import { keysAfter } from "./walk.ts";
import type { Change, Observer, State, Writer } from "./writer.ts";

export interface Findings {
  /** Entries read. */
  readonly entries: number;
  /** Keys of entries that do not open: the first hundred, and how many in all. */
  readonly damaged: readonly string[];
  readonly damagedEntries: number;
  /** Null on stores without transactions, which keep no sum. */
  readonly sum: { readonly holds: boolean; readonly expected: number; readonly found: number } | null;
}

export interface ScanOptions {
  readonly storage: StorageBackend;
  readonly writer: Writer;
  /** Throws VaultError `sealed` after a seal. */
  readonly opens: (key: string, stored: Stored) => boolean;
  /** Between two steps; rejects to stop. */
  readonly pause: () => Promise<void>;
  readonly progress?: (entries: number) => void;
  /** Makes what is found the sum that is kept. */
  readonly accept?: () => boolean;
}

const step = 32;
const named = 100;
const restarts = 5;

export class Scan implements Observer {
  readonly #options: ScanOptions;
  /** Null once everything has been walked over. */
  #cursor: string | null = "";
  #found: Sum = emptySum;
  /** What a write under way changes. */
  #under: readonly Change[] = [];
  /** What has been written since the current step began, and what a write under way replaces. */
  #touched: Map<string, State | null> | null = null;
  #lost = false;
  #entries = 0;
  #damaged: string[] = [];
  #damagedEntries = 0;

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  begins(changes: readonly Change[]): void {
    this.#under = changes;
    if (this.#touched === null) return;
    for (const { key, before } of changes) if (!this.#touched.has(key)) this.#touched.set(key, before ?? null);
  }

  landed(changes: readonly Change[]): void {
    this.#under = [];
    for (const { key, before, after } of changes) {
      this.#touched?.set(key, after);
      if (counted(key) && this.#passed(key))
        this.#found = replaced(this.#found, before?.element ?? null, after?.element ?? null);
    }
  }

  lost(): void {
    this.#under = [];
    this.#lost = true;
  }

  /** Throws what storage throws, and `sealed`. */
  async run(): Promise<Findings> {
    const { writer } = this.#options;
    const leave = writer.observe(this);
    try {
      for (let left = restarts; left > 0; left--) {
        this.#restart();
        while (this.#cursor !== null && !this.#lost) {
          await this.#step(this.#cursor);
          await this.#options.pause();
        }
        if (!this.#lost && (!writer.sums.kept || writer.sums.current !== null)) return await this.#end();
      }
    } finally {
      leave();
    }
    throw new VaultError("storage", "storage: writes failed again and again during the scan: it did not end");
  }

  #restart(): void {
    this.#cursor = "";
    this.#found = emptySum;
    this.#lost = false;
    this.#entries = this.#damagedEntries = 0;
    this.#damaged = [];
  }

  async #end(): Promise<Findings> {
    const { writer, accept } = this.#options;
    const [expected, found] = [writer.sums.current, this.#found];
    const findings: Findings = {
      entries: this.#entries,
      damaged: this.#damaged,
      damagedEntries: this.#damagedEntries,
      sum: expected === null ? null : { holds: sameSum(expected, found), expected: expected.count, found: found.count },
    };
    if (accept?.() === true && findings.sum?.holds === false) await writer.correct(found);
    return findings;
  }

  #passed(key: string): boolean {
    return this.#cursor === null || compareUtf8(key, this.#cursor) <= 0;
  }

  async #step(cursor: string): Promise<void> {
    const { storage, writer, progress } = this.#options;
    const touched = new Map<string, State | null>(this.#under.map(({ key, before }) => [key, before ?? null]));
    this.#touched = touched;
    const keys = await keysAfter(storage, cursor, step);
    const read = await Promise.all(keys.map((key) => storage.get(key)));
    // From here on in one turn.
    this.#touched = null;
    const last = keys.length < step ? null : (keys.at(-1) ?? null);
    const states = new Map<string, State | null>();
    for (const [at, key] of keys.entries()) {
      const stored = read[at] ?? null;
      if (stored === null) continue;
      this.#check(key, stored);
      states.set(key, writer.stateOf(key, stored));
    }
    for (const [key, state] of touched) {
      if (compareUtf8(key, cursor) > 0 && (last === null || compareUtf8(key, last) <= 0)) states.set(key, state);
    }
    for (const [key, state] of states) {
      if (state !== null && counted(key)) this.#found = replaced(this.#found, null, state.element);
    }
    this.#cursor = last;
    progress?.(this.#entries);
  }

  #check(key: string, stored: Stored): void {
    this.#entries += 1;
    // The seal's record is in clear, and the keyring opened at unseal.
    if (key === "core/seal" || key === keyringKey || this.#options.opens(key, stored)) return;
    this.#damagedEntries += 1;
    if (this.#damaged.length < named) this.#damaged.push(key);
  }
}
