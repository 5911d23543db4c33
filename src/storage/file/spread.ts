// Puts what a file of the journal says into files of entries, and lets the journal's file go.
// Must hold: an entry's file is written beside its place, synced, and then renamed, so that none is ever half written; the
// journal's file goes only after every file and every folder that was changed is synced.

import {
  chmodSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
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
export const draftsFolder = (folder: string): string => join(folder, "drafts");

export class Spreader {
  readonly #folder: string;
  readonly #root: string;
  readonly #draft: string;
  readonly #usual: number;
  /** Folders whose names changed. */
  readonly #changed = new Set<string>();

  constructor(folder: string, usual = usualSize) {
    this.#folder = folder;
    this.#usual = usual;
    this.#root = entriesFolder(folder);
    this.#draft = join(draftsFolder(folder), "entry");
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
    retire(this.#folder, first, this.#usual);
  }

  #put(key: string, stored: Stored): void {
    const bytes = composeEntry(key, stored);
    const fd = openSync(this.#draft, "w", 0o600);
    try {
      fchmodSync(fd, 0o600);
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
      synced(() => fsyncSync(fd));
    } finally {
      closeSync(fd);
    }
    const path = join(this.#root, entryPath(key));
    try {
      renameSync(this.#draft, path);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      this.#makeFolder(dirname(path));
      renameSync(this.#draft, path);
    }
    this.#changed.add(dirname(path));
  }

  #makeFolder(path: string): void {
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (error) {
      if (codeOf(error) === "EEXIST") return;
      if (codeOf(error) !== "ENOENT") throw error;
      this.#makeFolder(dirname(path));
      mkdirSync(path, { mode: 0o700 });
    }
    chmodSync(path, 0o700);
    this.#changed.add(dirname(path));
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
    }
    this.#changed.add(this.#root);
  }
}
