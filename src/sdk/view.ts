// What the rest of the program sees of storage: a prefix of the decrypted tree. Keys are relative to it.
// Must hold: what a view returns was written by this vault under exactly this key and version; anything else is an error.

import type { Page } from "./storage.ts";

/** Plain readonly data. Objects that a view hands out are shared with its cache: frozen, never to be changed. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface ViewEntry<T> {
  readonly value: T;
  readonly version: number;
}

export interface ViewOp {
  readonly key: string;
  /** An object is stored as JSON, null deletes. The caller gives the object away: the view freezes and caches it. True is a
   *  mark, for a key that says all there is (an index): it reads as {}, and costs a fifth of an object. */
  readonly value: Uint8Array | object | true | null;
  /** What must be there now. Say "absent" where the key is new by its making: storage need not be asked then what is
   *  overwritten. */
  readonly expect?: number | "absent";
}

export interface View {
  /** Bytes as written. Throws VaultError `storage` where the entry does not decrypt, `sealed` after a seal. */
  get(key: string): Promise<ViewEntry<Uint8Array> | null>;
  /** The parsed entry, deeply frozen; the same object for as long as it stays in the cache. */
  getJson<T extends object>(key: string): Promise<ViewEntry<T> | null>;
  /** The same where the answer is in memory, without a promise; undefined where storage has to be asked. */
  peekJson<T extends object>(key: string): ViewEntry<T> | null | undefined;
  /** All or nothing on atomic stores, in order elsewhere. Returns the versions written, 0 for deletes. */
  write(ops: readonly ViewOp[]): Promise<number[]>;
  /** Names one level below, in byte order; folders end in "/". Asked for whole, it is the same frozen list each time while
   *  no name comes or goes. */
  list(prefix: string, page?: Page): Promise<readonly string[]>;
  /** The view below `prefix`, which ends in "/". */
  sub(prefix: string): View;
}

/** Names one level below `folder`, at most `limit` at a time: memory does not grow with how many there are. What was given may
 *  be deleted meanwhile. */
export async function* pagesOf(
  view: Pick<View, "list">,
  folder: string,
  limit: number,
): AsyncGenerator<readonly string[]> {
  for (let after = ""; ;) {
    const names = await view.list(folder, { after, limit });
    if (names.length > 0) yield names;
    if (names.length < limit) return;
    after = names.at(-1) ?? "";
  }
}
