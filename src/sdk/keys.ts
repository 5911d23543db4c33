// The grammar of storage keys and what every backend checks before it touches anything (contract: storage.ts).

import { VaultError } from "./errors.ts";
import type { Op } from "./storage.ts";

const maxKey = 1024;

const wrong = (what: string): VaultError => new VaultError("invalid", `storage: ${what}`);

/** Segments divided by "/", none empty, no NUL, well-formed, at most 1,024 bytes. Throws VaultError `invalid`. */
export function checkKey(key: string): void {
  if (key.length === 0 || key.startsWith("/") || key.endsWith("/") || key.includes("//")) {
    throw wrong("a key has an empty segment");
  }
  if (key.includes("\0") || !key.isWellFormed()) throw wrong("a key is no UTF-8 text without NUL");
  if (key.length > maxKey || (key.length * 3 > maxKey && Buffer.byteLength(key) > maxKey)) {
    throw wrong(`a key is longer than ${maxKey} bytes`);
  }
}

/** "" or a key followed by "/". */
export function checkPrefix(prefix: string): void {
  if (prefix === "") return;
  if (!prefix.endsWith("/")) throw wrong('a prefix to list must be empty or end in "/"');
  checkKey(prefix.slice(0, -1));
}

/** Keys, sizes and versions of one write; a key stands in it once. Throws VaultError `invalid`. */
export function checkOps(ops: readonly Op[], maxValue: number): void {
  for (let at = 0; at < ops.length; at++) {
    const { key, value, version, expect } = ops[at] as Op;
    checkKey(key);
    if (value !== null && value.length > maxValue) throw wrong(`a value is larger than ${maxValue} bytes`);
    if (value !== null && !isVersion(version)) throw wrong("a version is no whole number above 0");
    if (expect !== undefined && expect !== "absent" && !isVersion(expect)) throw wrong("an expected version is wrong");
  }
  if (ops.length > 1 && new Set(ops.map((op) => op.key)).size < ops.length) {
    throw wrong("one write names a key twice");
  }
}

const isVersion = (version: number): boolean => Number.isSafeInteger(version) && version > 0;

/** What a write whose expectation failed throws. */
export const conflict = (): VaultError =>
  new VaultError("conflict", "storage: the entry has changed since it was read; read it again and retry");
