// A store that lives as long as the process: for tests, and for trying things out.
// Must hold: it keeps the storage contract like any other backend; values are copied on the way in and out.
// Known gap: nothing is durable, and nothing keeps a second process from having a store of its own.

import { compareUtf8 } from "../../lib/bytes.ts";
import { VaultError } from "../../sdk/errors.ts";
import { checkKey, checkOps, checkPrefix, conflict } from "../../sdk/keys.ts";
import type { Leadership, Op, Page, StorageBackend, StoragePlugin, Stored } from "../../sdk/storage.ts";

const maxValue = 32 * 1024 * 1024;

class MemoryStorage implements StorageBackend {
  readonly type = "memory";
  readonly atomic = true;
  readonly maxValue = maxValue;
  readonly #entries = new Map<string, Stored>();
  /** The keys in byte order. */
  readonly #keys: string[] = [];
  #epoch = 0;
  #led = false;
  #closed = false;

  async get(key: string): Promise<Stored | null> {
    this.#check();
    checkKey(key);
    const entry = this.#entries.get(key);
    return entry === undefined ? null : { value: new Uint8Array(entry.value), version: entry.version };
  }

  async write(ops: readonly Op[]): Promise<void> {
    this.#check();
    checkOps(ops, maxValue);
    for (const { key, expect } of ops) {
      if (expect !== undefined && (this.#entries.get(key)?.version ?? "absent") !== expect) throw conflict();
    }
    for (const { key, value, version } of ops) {
      const at = this.#position(key);
      const there = this.#keys[at] === key;
      if (value === null) {
        if (there) this.#keys.splice(at, 1);
        this.#entries.delete(key);
      } else {
        if (!there) this.#keys.splice(at, 0, key);
        this.#entries.set(key, { value: new Uint8Array(value), version });
      }
    }
  }

  async list(prefix: string, page: Page = {}): Promise<string[]> {
    this.#check();
    checkPrefix(prefix);
    const names: string[] = [];
    const limit = page.limit ?? Infinity;
    for (let at = this.#position(prefix); at < this.#keys.length && names.length < limit; at++) {
      const key = this.#keys[at] ?? "";
      if (!key.startsWith(prefix)) break;
      const end = key.indexOf("/", prefix.length);
      const name = key.slice(prefix.length, end < 0 ? undefined : end + 1);
      if (names.at(-1) === name || (page.after !== undefined && compareUtf8(name, page.after) <= 0)) continue;
      names.push(name);
    }
    return names;
  }

  async lead(_onLost: () => void): Promise<Leadership> {
    this.#check();
    if (this.#led) throw new VaultError("conflict", `storage: process ${process.pid} leads already`);
    this.#led = true;
    this.#epoch += 1;
    let held = true;
    return {
      epoch: this.#epoch,
      release: async () => {
        if (held) this.#led = false;
        held = false;
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#entries.clear();
    this.#keys.length = 0;
  }

  #check(): void {
    if (this.#closed) throw new VaultError("storage", "storage: closed");
  }

  /** Of the first key that is not below `key`. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareUtf8(this.#keys[middle] ?? "", key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export const plugin: StoragePlugin = {
  type: "memory",
  description: "Keeps everything in memory: for tests",
  fields: {},
  open: async () => new MemoryStorage(),
};
