// Untrusted bytes by key. A storage backend sees ciphertext and key names, never a plaintext.
// Must hold (test/conformance/storage.ts proves it for each backend):
//  - a write resolves only once it is durable, and is all or nothing where `atomic` is true; elsewhere its operations
//    land in order, so that callers may order them such that every prefix is safe;
//  - an expectation that fails throws VaultError `conflict` and changes nothing;
//  - after an unclear failure a backend reads back before it answers, and never retries a failed sync into success.

import type { Logger } from "../lib/log.ts";
import type { Finding } from "./examine.ts";
import type { Fields } from "./fields.ts";

export interface Stored {
  readonly value: Uint8Array;
  /** As given by the writer. */
  readonly version: number;
}

/** A put, or a delete where `value` is null. The barrier chooses versions: unique over the life of the store, so that a
 *  version names one write of one key and compare-and-swap cannot be fooled by a delete in between. */
export interface Op {
  readonly key: string;
  readonly value: Uint8Array | null;
  /** Version of the value put; a safe integer > 0. Ignored for deletes. */
  readonly version: number;
  /** What must be stored now: this version, or nothing. Not checked where left out. */
  readonly expect?: number | "absent";
}

/** `after` excludes names <= it in byte order; `limit` counts returned names. */
export interface Page {
  readonly after?: string;
  readonly limit?: number;
}

export interface Leadership {
  /** Grows by one each time a process takes the store. */
  readonly epoch: number;
  release(): Promise<void>;
}

/** Keys are non-empty UTF-8 strings of segments divided by "/", at most 1,024 bytes, with no empty segment and no NUL. */
export interface StorageBackend {
  readonly type: string;
  readonly atomic: boolean;
  /** Bytes; a larger value is refused with VaultError `invalid` before anything is written. */
  readonly maxValue: number;
  get(key: string): Promise<Stored | null>;
  write(ops: readonly Op[]): Promise<void>;
  /** Names one level below `prefix` ("" or ending in "/"), in byte order, each once; folders end in "/". */
  list(prefix: string, page?: Page): Promise<string[]>;
  /** Makes this the one active process, or throws VaultError `conflict` naming the holder. `onLost` is called at most once. */
  lead(onLost: () => void): Promise<Leadership>;
  close(): Promise<void>;
}

/** The same storage, but for what `own` does in its place. */
export const storageWith = (inner: StorageBackend, own: Partial<StorageBackend>): StorageBackend => ({
  type: inner.type,
  atomic: inner.atomic,
  maxValue: inner.maxValue,
  get: (key) => inner.get(key),
  list: (prefix, page) => inner.list(prefix, page),
  lead: (onLost) => inner.lead(onLost),
  close: () => inner.close(),
  write: (ops) => inner.write(ops),
  ...own,
});

/** What a storage folder's index.ts exports as `plugin`. */
export interface StoragePlugin {
  readonly type: string;
  readonly description: string;
  /** Settings below `storage:` in the server config, beside `type`. */
  readonly fields: Fields;
  /** Where its data is to be, for `writ doctor`; changes nothing. */
  examine?(settings: Readonly<Record<string, unknown>>): Finding;
  open(settings: Readonly<Record<string, unknown>>, log: Logger): Promise<StorageBackend>;
}
