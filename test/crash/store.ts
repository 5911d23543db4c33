// A store in memory whose writes can be cut short: after any of their operations where it has no transactions, or failing
// whole, failing though they landed, or being the last thing that the process did.

import { compareUtf8 } from "../../src/lib/bytes.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { checkKey, checkOps, checkPrefix, conflict } from "../../src/sdk/keys.ts";
import type { Leadership, Op, Page, StorageBackend, Stored } from "../../src/sdk/storage.ts";

export type Entries = ReadonlyMap<string, Stored>;

/** What becomes of one write, counted from 0: so many of its operations land, then it fails. */
export interface Fault {
  readonly write: number;
  readonly landed: number;
  /** Nothing can be asked of the store any more, as if the process had ended. */
  readonly stops: boolean;
}

export const secretPath = "/srv/of-the-operator/storage";

export class FaultyStore implements StorageBackend {
  readonly type = "faulty";
  readonly atomic: boolean;
  readonly maxValue = 32 * 1024 * 1024;
  /** The operations of each write so far, and what was there before it. */
  readonly writes: { readonly ops: readonly Op[]; readonly before: Entries }[] = [];
  entries: Map<string, Stored>;
  fault: Fault | null = null;
  /** Whether the fault has come. */
  met = false;
  #stopped = false;

  constructor(atomic: boolean, entries: Entries = new Map()) {
    this.atomic = atomic;
    this.entries = new Map(entries);
  }

  async get(key: string): Promise<Stored | null> {
    this.#check();
    checkKey(key);
    const found = this.entries.get(key);
    return found === undefined ? null : { ...found, value: Uint8Array.from(found.value) };
  }

  async write(ops: readonly Op[]): Promise<void> {
    this.#check();
    checkOps(ops, this.maxValue);
    const { fault } = this;
    const number = this.writes.length;
    for (const { key, expect } of ops) {
      if (expect !== undefined && (this.entries.get(key)?.version ?? "absent") !== expect) throw conflict();
    }
    this.writes.push({ ops, before: new Map(this.entries) });
    const hit = fault?.write === number;
    this.entries = apply(this.entries, hit ? ops.slice(0, fault.landed) : ops);
    if (!hit) return;
    this.met = true;
    this.#stopped = fault.stops;
    // As backends do: the path is in the cause alone.
    const cause = new Error(`EIO: i/o error, write '${secretPath}/writ.db'`);
    throw new VaultError("storage", "storage: write: EIO", { cause });
  }

  async list(prefix: string, page: Page = {}): Promise<string[]> {
    this.#check();
    checkPrefix(prefix);
    const names = new Set<string>();
    for (const key of this.entries.keys()) {
      if (!key.startsWith(prefix)) continue;
      const end = key.indexOf("/", prefix.length);
      names.add(key.slice(prefix.length, end < 0 ? undefined : end + 1));
    }
    const { after = "", limit = Infinity } = page;
    return [...names]
      .filter((name) => compareUtf8(name, after) > 0)
      .sort(compareUtf8)
      .slice(0, limit);
  }

  async lead(): Promise<Leadership> {
    return { epoch: 1, release: async () => {} };
  }

  async close(): Promise<void> {
    this.#stopped = true;
  }

  #check(): void {
    if (this.#stopped) throw new Error("the process has ended");
  }
}

/** The entries after some operations. */
export function apply(entries: Entries, ops: readonly Op[]): Map<string, Stored> {
  const after = new Map(entries);
  for (const { key, value, version } of ops) {
    if (value === null) after.delete(key);
    else after.set(key, { value: Uint8Array.from(value), version });
  }
  return after;
}
