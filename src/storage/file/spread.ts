// Puts what a file of the journal says into files of entries, and lets the journal's file go.
// Must hold: the journal's file goes only after every file and every folder that was changed is synced. Until then nobody
// reads these files, here or after a restart: what they are to say is in the journal and in memory. So they are written in
// place, and a half one harms nobody.

import {
  chmodSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { codeOf, syncFolder } from "../../sdk/folder.ts";
import type { Op, Stored } from "../../sdk/storage.ts";
import { composeEntry } from "./entry.ts";
import { journalPath, retire, scanJournal, synced, usualSize } from "./journal.ts";
import { entryPath } from "./names.ts";

export const entriesFolder = (folder: string): string => join(folder, "entries");

export class Spreader {
  readonly #folder: string;
  readonly #root: string;
  readonly #usual: number;
  /** Whether the umask takes from the owner. */
  readonly #masked = (process.umask() & 0o700) !== 0;
  /** Folders whose names changed. */
  readonly #changed = new Set<string>();
  /** Folders that are there. */
  readonly #there = new Set<string>();

  constructor(folder: string, usual = usualSize) {
    this.#folder = folder;
    this.#root = entriesFolder(folder);
    this.#usual = usual;
  }

  /** May be done again after it threw, unless that was StoreLost. */
  spread(first: number): void {
    const last = new Map<string, Op>();
    for (const { ops } of scanJournal(journalPath(this.#folder, first), first).records) {
      for (const op of ops) last.set(op.key, op);
    }
    for (const { key, value, version } of last.values()) {
      if (value === null) this.#remove(key);
      else this.#put(key, { value, version });
    }
    for (const folder of this.#changed) synced(() => syncFolder(folder));
    this.#changed.clear();
    this.#there.clear();
    retire(this.#folder, first, this.#usual);
  }

  #put(key: string, stored: Stored): void {
    const bytes = composeEntry(key, stored);
    const path = join(this.#root, entryPath(key));
    this.#makeFolder(dirname(path));
    this.#changed.add(dirname(path));
    const fd = openSync(path, "w", 0o600);
    try {
      if (this.#masked) fchmodSync(fd, 0o600);
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
      synced(() => fsyncSync(fd));
    } finally {
      closeSync(fd);
    }
  }

  #makeFolder(folder: string): void {
    if (this.#there.has(folder) || folder === this.#root) return;
    this.#makeFolder(dirname(folder));
    try {
      mkdirSync(folder, { mode: 0o700 });
      if (this.#masked) chmodSync(folder, 0o700);
      this.#changed.add(dirname(folder));
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    this.#there.add(folder);
  }

  #remove(key: string): void {
    const path = join(this.#root, entryPath(key));
    try {
      unlinkSync(path);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
    // Folders that a crash left empty go too.
    for (let folder = dirname(path); folder !== this.#root; folder = dirname(folder)) {
      try {
        rmdirSync(folder);
      } catch (error) {
        if (codeOf(error) === "ENOENT") continue;
        if (codeOf(error) !== "ENOTEMPTY" && codeOf(error) !== "EEXIST") throw error;
        this.#changed.add(folder);
        return;
      }
      this.#changed.delete(folder);
      this.#there.delete(folder);
    }
    this.#changed.add(this.#root);
  }
}
