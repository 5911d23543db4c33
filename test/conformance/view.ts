// A view over a map, for tests. Keeps the contract of src/sdk/view.ts: frozen objects, the same object while cached,
// versions that are never used twice, expectations, keys of at most 1,024 bytes; and it can die in the middle of a write
// as a store without transactions does.

import { compareUtf8 } from "../../src/lib/bytes.ts";
import { deepFreeze, freezePlain } from "../../src/core/barrier/json.ts";
import { VaultError } from "../../src/sdk/errors.ts";
import { checkKey, checkPrefix, conflict } from "../../src/sdk/keys.ts";
import type { Page } from "../../src/sdk/storage.ts";
import type { View, ViewEntry, ViewOp } from "../../src/sdk/view.ts";

/** The process is dead: whatever it does next fails the same way, until the kit restarts. */
export class Crash extends Error {
  override readonly name = "Crash";
}

interface Stored {
  readonly bytes: Buffer;
  readonly version: number;
}

/** The entries of a vault, and the faults that a test wants. */
export class TestStore {
  readonly entries = new Map<string, Stored>();
  readonly #lists = new Map<string, readonly string[]>();
  readonly #cache = new Map<string, ViewEntry<object>>();
  readonly #atomic: boolean;
  #version = 0;
  #left = Infinity;
  #dead = false;
  #conflicts = 0;
  /** Operations written so far. */
  written = 0;
  /** Runs before each read of a key: for another client who comes in between. */
  onGet: ((key: string) => Promise<void> | void) | null = null;

  constructor(options: { readonly atomic?: boolean } = {}) {
    this.#atomic = options.atomic ?? true;
  }

  /** Dies once `operations` more have been written; with transactions, before the one that they end in. */
  cut(operations: number): void {
    this.#left = operations;
  }

  /** The next so many writes that expect something lose. */
  conflict(times: number): void {
    this.#conflicts = times;
  }

  /** A new process: nothing is cached, nothing is to fail. */
  restart(): void {
    this.#cache.clear();
    this.#left = Infinity;
    this.#dead = false;
    this.#conflicts = 0;
    this.onGet = null;
  }

  /** Forgets what is cached, as an eviction does. */
  evict(): void {
    this.#cache.clear();
  }

  async get(key: string): Promise<Stored | null> {
    this.#check();
    checkKey(key);
    await this.onGet?.(key);
    return this.entries.get(key) ?? null;
  }

  async getJson<T extends object>(key: string): Promise<ViewEntry<T> | null> {
    const stored = await this.get(key);
    if (stored === null) return null;
    const cached = this.#cache.get(key);
    if (cached?.version === stored.version) return cached as ViewEntry<T>;
    const value = JSON.parse(stored.bytes.toString("utf8")) as T;
    deepFreeze(value);
    const entry = Object.freeze({ value, version: stored.version });
    this.#cache.set(key, entry);
    return entry;
  }

  /** Undefined where a test comes in between when storage is asked. */
  peekJson<T extends object>(key: string): ViewEntry<T> | null | undefined {
    this.#check();
    if (this.onGet) return undefined;
    return this.entries.has(key) ? (this.#cache.get(key) as ViewEntry<T> | undefined) : null;
  }

  async write(ops: readonly ViewOp[]): Promise<number[]> {
    this.#check();
    for (const op of ops) checkKey(op.key);
    if (new Set(ops.map((op) => op.key)).size < ops.length) {
      throw new VaultError("invalid", "storage: one write names a key twice");
    }
    const values = ops.map((op) => bytesOf(op.value));
    await Promise.resolve();
    if (this.#conflicts > 0 && ops.some((op) => op.expect !== undefined)) {
      this.#conflicts -= 1;
      throw conflict();
    }
    for (const op of ops) {
      if (op.expect !== undefined && (this.entries.get(op.key)?.version ?? "absent") !== op.expect) throw conflict();
    }
    if (this.#atomic && this.#left < ops.length) this.#die();
    return ops.map((op, at) => this.#apply(op, values[at] ?? null));
  }

  async list(prefix: string, page: Page = {}): Promise<readonly string[]> {
    this.#check();
    checkPrefix(prefix);
    const names = new Set<string>();
    for (const key of this.entries.keys()) {
      if (!key.startsWith(prefix)) continue;
      const end = key.indexOf("/", prefix.length);
      names.add(key.slice(prefix.length, end < 0 ? undefined : end + 1));
    }
    const { after, limit } = page;
    const all = [...names].sort(compareUtf8).filter((name) => after === undefined || compareUtf8(name, after) > 0);
    if (limit !== undefined) return all.slice(0, limit);
    if (after !== undefined) return all;
    // As the contract says: the same list while no name comes or goes.
    const before = this.#lists.get(prefix);
    if (before?.join("\n") === all.join("\n")) return before;
    this.#lists.set(prefix, Object.freeze(all));
    return all;
  }

  #apply(op: ViewOp, bytes: Buffer | null): number {
    if (this.#left <= 0) this.#die();
    this.#left -= 1;
    this.written += 1;
    this.#cache.delete(op.key);
    if (bytes === null) {
      this.entries.delete(op.key);
      return 0;
    }
    this.#version += 1;
    this.entries.set(op.key, { bytes, version: this.#version });
    if (!(op.value instanceof Uint8Array)) {
      this.#cache.set(op.key, Object.freeze({ value: op.value as object, version: this.#version }));
    }
    return this.#version;
  }

  #check(): void {
    if (this.#dead) throw new Crash("the process is dead");
  }

  #die(): never {
    this.#dead = true;
    throw new Crash("the process died in a write");
  }
}

function bytesOf(value: ViewOp["value"]): Buffer | null {
  if (value === null) return null;
  if (value === true) return Buffer.from("{}");
  if (value instanceof Uint8Array) return Buffer.from(value);
  freezePlain(value);
  return Buffer.from(JSON.stringify(value));
}

export class TestView implements View {
  readonly #store: TestStore;
  readonly #prefix: string;

  constructor(store: TestStore, prefix: string) {
    this.#store = store;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<ViewEntry<Uint8Array> | null> {
    const stored = await this.#store.get(this.#prefix + key);
    return stored === null ? null : { value: Uint8Array.from(stored.bytes), version: stored.version };
  }

  getJson<T extends object>(key: string): Promise<ViewEntry<T> | null> {
    return this.#store.getJson<T>(this.#prefix + key);
  }

  peekJson<T extends object>(key: string): ViewEntry<T> | null | undefined {
    return this.#store.peekJson<T>(this.#prefix + key);
  }

  write(ops: readonly ViewOp[]): Promise<number[]> {
    return this.#store.write(ops.map((op) => ({ ...op, key: this.#prefix + op.key })));
  }

  list(prefix: string, page?: Page): Promise<readonly string[]> {
    return this.#store.list(this.#prefix + prefix, page);
  }

  sub(prefix: string): View {
    return new TestView(this.#store, this.#prefix + prefix);
  }
}
