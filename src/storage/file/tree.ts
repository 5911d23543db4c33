// The entries that stand in files, as the store's thread reads them. Another thread writes them (spread.ts).

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compareUtf8 } from "../../lib/bytes.ts";
import { codeOf } from "../../sdk/folder.ts";
import type { Stored } from "../../sdk/storage.ts";
import { readEntry } from "./entry.ts";
import { entryPath, folderPath, readName } from "./names.ts";

/** Of all lists together. */
const mostNames = 500_000;

const absent = (error: unknown): boolean => codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR";

export class Tree {
  readonly #folder: string;
  /** By prefix; folders end in "/". */
  readonly #lists = new Map<string, readonly string[]>();
  #names = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Throws Damaged, or the system's error. */
  get(key: string): Stored | null {
    let file: Buffer;
    try {
      file = readFileSync(join(this.#folder, entryPath(key)));
    } catch (error) {
      if (absent(error)) return null;
      throw error;
    }
    return readEntry(key, file);
  }

  /** Names one level below `prefix` in byte order, as of some time since `changed` was called last. */
  list(prefix: string): readonly string[] {
    const known = this.#lists.get(prefix);
    if (known !== undefined) return known;
    const names = new Set<string>();
    gather(join(this.#folder, folderPath(prefix)), "", names);
    const list = [...names].sort(compareUtf8);
    if (this.#names + list.length > mostNames) this.changed();
    this.#names += list.length + 1;
    this.#lists.set(prefix, list);
    return list;
  }

  /** Whether a key below `prefix` (which ends in "/") is there that `gone` does not name. Ends at the first one, so that it
   *  costs no more than `gone` has keys. */
  holds(prefix: string, gone: (key: string) => boolean): boolean {
    for (const name of this.list(prefix)) {
      if (name.endsWith("/") ? this.holds(prefix + name, gone) : !gone(prefix + name)) return true;
    }
    return false;
  }

  /** Files were written or removed. */
  changed(): void {
    this.#lists.clear();
    this.#names = 0;
  }
}

/** Adds the names of a folder, whose pieces so far say `before`. */
function gather(path: string, before: string, names: Set<string>): void {
  let files: string[];
  try {
    files = readdirSync(path);
  } catch (error) {
    if (absent(error)) return;
    throw error;
  }
  for (const file of files) {
    const name = readName(file, before);
    if (name === null) continue;
    if (name.kind === "piece") gather(join(path, file), name.text, names);
    else names.add(name.kind === "entry" ? name.segment : `${name.segment}/`);
  }
}
