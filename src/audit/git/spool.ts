// The spool: lines on the local disk that are kept, and not committed yet. The serving thread appends, the worker reads
// and throws away what is committed. Files are named by their first line's number, so that their order is that of names.

import { readdirSync } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { Journal, type JournalOptions, lastLine, seekLine, takeLines } from "../../lib/journal.ts";
import type { Batch, Head } from "../../sdk/audit.ts";
import { lineHash, linkOf } from "../../sdk/chain.ts";

/** A file that has grown to this many bytes is followed by another. */
const fileBytes = 8 * 1024 * 1024;
const digits = 16;
const nameOf = (first: number): string => `${String(first).padStart(digits, "0")}.jsonl`;
const pattern = /^(\d{16})\.jsonl$/;

interface SpoolFile {
  readonly first: number;
  readonly path: string;
}

function filesIn(folder: string): SpoolFile[] {
  const names = readdirSync(folder).filter((name) => pattern.test(name));
  return names.sort().map((name) => ({ first: Number(name.slice(0, digits)), path: join(folder, name) }));
}

/** The writing end. One call at a time. */
export class Spool {
  readonly #folder: string;
  readonly #options: JournalOptions;
  #journal: Journal | null = null;
  #head: Head | null = null;

  constructor(folder: string, options: JournalOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /** The last whole line; null where the spool holds none. */
  get head(): Head | null {
    return this.#head;
  }

  /** Goes on with the newest file, its half line at the end moved aside. */
  async open(): Promise<void> {
    const files = filesIn(this.#folder);
    for (const { path } of files.reverse()) {
      const journal = await Journal.open(path, this.#options);
      if (this.#journal === null) this.#journal = journal;
      const line = await lastLine(journal.fd, journal.size);
      if (journal !== this.#journal) await journal.close();
      if (line === null) continue;
      const link = linkOf(line);
      if (link === null) throw new Error(`${path} holds something other than audit lines`);
      this.#head = { seq: link.seq, hash: lineHash(line) };
      return;
    }
  }

  async append(batch: Batch): Promise<void> {
    if (this.#journal === null || this.#journal.size >= fileBytes) {
      const next = await Journal.open(join(this.#folder, nameOf(batch.first)), this.#options);
      await this.#journal?.close();
      this.#journal = next;
    }
    await this.#journal.append(batch.bytes);
    this.#head = batch.head;
  }

  async close(): Promise<void> {
    await this.#journal?.close();
    this.#journal = null;
  }
}

/** Lines behind number `seq`, about `bytes` of them at most; none where there are none. */
export async function spooledAfter(folder: string, seq: number, limit: number, bytes: number): Promise<Uint8Array[]> {
  const files = filesIn(folder);
  const start = Math.max(
    0,
    files.findLastIndex((file) => file.first <= seq + 1),
  );
  for (const { path } of files.slice(start)) {
    const handle = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
      // Committed and thrown away since the folder was listed.
      if (error.code === "ENOENT") return null;
      throw error;
    });
    if (handle === null) continue;
    try {
      const { size } = await handle.stat();
      const at = await seekLine(handle.fd, size, (line) => (linkOf(line)?.seq ?? 0) - (seq + 1));
      const lines = at === size ? [] : await takeLines(handle.fd, at, limit, Math.min(bytes, size - at));
      if (lines.length > 0) return lines;
    } finally {
      await handle.close();
    }
  }
  return [];
}

/** Removes files whose lines are all at or before number `seq`; never the newest, which is being written. */
export async function forgetSpooled(folder: string, seq: number): Promise<void> {
  const files = filesIn(folder);
  for (const [at, { path }] of files.entries()) {
    const next = files[at + 1];
    if (next === undefined || next.first > seq + 1) return;
    await unlink(path);
  }
}
