// The write-ahead journal: files of records, each record all operations that share a sync. A file is made at its full
// size beforehand, so that a sync writes data and no sizes, and so that a full disk is met when a file is made and not
// in the middle of a record.
// A record is: "WJR1", size of its content (4 bytes), number (8), the first 16 bytes of SHA-256 over these and the content;
// then for each operation: size of the key (2), version (8), size of the value (4; 2^32 - 1 deletes), key, value.
// Numbers are big-endian. Records are numbered without a gap over the life of the store; a file is named by its first.
// Must hold: a record is read whole or not at all. A last record that is not whole was never answered, since its sync had
// not ended: it is cut off. A record that is not whole with a later one behind it is damage, and an error.
// Known gap: damage of the very last record looks like one that was cut off; the log tells of each.

import {
  closeSync,
  fchmodSync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { codeOf, syncFolder } from "../../sdk/folder.ts";
import type { Op } from "../../sdk/storage.ts";
import { StoreLost } from "../../sdk/thread/store.ts";
import { Damaged, digest } from "./entry.ts";

const magic = Buffer.from("WJR1");
const headSize = 32;
const numberSize = 16; // magic, size, number
const none = 0xffffffff;
const fileName = /^journal-(\d{16})$/;
const spareName = "journal-spare";
const draftName = "journal-draft";

export interface Record {
  readonly number: number;
  readonly ops: readonly Op[];
}

export interface Scan {
  readonly records: readonly Record[];
  /** Offset and number of the record that comes next. */
  readonly end: number;
  readonly next: number;
  /** Whether a record begins at `end` that is not whole. */
  readonly torn: boolean;
}

export const journalPath = (folder: string, first: number): string =>
  join(folder, `journal-${String(first).padStart(16, "0")}`);

/** First numbers of the journal's files, in order. */
export const journals = (folder: string): number[] =>
  readdirSync(folder)
    .flatMap((name) => fileName.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);

export function sizeOf(ops: readonly Op[]): number {
  let size = headSize;
  for (const { key, value } of ops) size += 14 + Buffer.byteLength(key) + (value?.length ?? 0);
  return size;
}

function compose(number: number, ops: readonly Op[]): Buffer {
  const record = Buffer.allocUnsafe(sizeOf(ops));
  magic.copy(record);
  record.writeUInt32BE(record.length - headSize, 4);
  record.writeBigUInt64BE(BigInt(number), 8);
  let at = headSize;
  for (const { key, value, version } of ops) {
    const head = at;
    at += 14;
    const size = record.write(key, at);
    at += size;
    record.writeUInt16BE(size, head);
    record.writeBigUInt64BE(BigInt(value === null ? 0 : version), head + 2);
    record.writeUInt32BE(value === null ? none : value.length, head + 10);
    if (value === null) continue;
    record.set(value, at);
    at += value.length;
  }
  sum(record).copy(record, numberSize);
  return record;
}

const sum = (record: Buffer): Buffer => digest(record.subarray(0, numberSize), record.subarray(headSize));

/** Bytes of a file, unless one record needs more. Files of this size are used again. Writes that wait for a file to be
 *  spread wait as long as that takes: many small ones are better than few large ones. */
export const usualSize = 512 * 1024;

/** The record that begins at `at`; null where none does that is whole. */
function whole(file: Buffer, at: number): Buffer | null {
  if (at + headSize > file.length || !file.subarray(at, at + 4).equals(magic)) return null;
  const end = at + headSize + file.readUInt32BE(at + 4);
  if (end > file.length) return null;
  const record = file.subarray(at, end);
  return sum(record).equals(record.subarray(numberSize, headSize)) ? record : null;
}

const numberOf = (record: Buffer): number => Number(record.readBigUInt64BE(8));

/** The number of what looks like the beginning of a record; 0 where nothing does. */
const claimed = (file: Buffer, at: number): number =>
  at + headSize <= file.length && file.subarray(at, at + 4).equals(magic) ? Number(file.readBigUInt64BE(at + 8)) : 0;

function operations(record: Buffer): Op[] {
  const ops: Op[] = [];
  for (let at = headSize; at < record.length;) {
    const size = record.readUInt16BE(at);
    const version = Number(record.readBigUInt64BE(at + 2));
    const valueSize = record.readUInt32BE(at + 10);
    const key = record.toString("utf8", at + 14, at + 14 + size);
    at += 14 + size;
    if (valueSize === none) {
      ops.push({ key, value: null, version: 0 });
      continue;
    }
    ops.push({ key, version, value: record.subarray(at, at + valueSize) });
    at += valueSize;
  }
  return ops;
}

/** Reads a file of the journal. Throws Damaged. */
export function scanJournal(path: string, first: number): Scan {
  const file = readFileSync(path);
  const records: Record[] = [];
  let at = 0;
  for (let record = whole(file, 0); record !== null && numberOf(record) === first + records.length;) {
    records.push({ number: numberOf(record), ops: operations(record) });
    at += record.length;
    record = whole(file, at);
  }
  const next = first + records.length;
  // Behind the end are zeros, or records of an earlier use of the file, which have lower numbers.
  for (let from = file.indexOf(magic, at + 1); from >= 0; from = file.indexOf(magic, from + 1)) {
    if (claimed(file, from) < next || whole(file, from) === null) continue;
    throw new Damaged(`the journal is damaged at record ${next}: restore the folder from a backup`);
  }
  return { records, end: at, next, torn: claimed(file, at) === next };
}

/** A step that only a medium that cannot be trusted any more fails. Throws StoreLost. */
export function synced(step: () => void): void {
  try {
    step();
  } catch (error) {
    const code = typeof error === "object" && error !== null && "code" in error ? String(error.code) : "unknown error";
    throw new StoreLost(`a sync failed (${code}); check the disk, then restart`, { cause: error });
  }
}

function writeAll(fd: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
}

/** One file of the journal. */
export class Segment {
  readonly path: string;
  readonly first: number;
  /** That its records name. */
  readonly keys = new Set<string>();
  readonly size: number;
  readonly #fd: number;
  #next: number;
  #end: number;

  private constructor(path: string, first: number, scan: Scan) {
    this.path = path;
    this.first = first;
    this.#next = scan.next;
    this.#end = scan.end;
    this.#fd = openSync(path, "r+");
    this.size = statSync(path).size;
  }

  static open(folder: string, first: number, scan: Scan): Segment {
    const segment = new Segment(journalPath(folder, first), first, scan);
    if (scan.torn) segment.#cut();
    return segment;
  }

  /** A file for records from `first` on with at least `size` bytes. Where this throws StoreLost, a sync failed; otherwise
   *  nothing has changed. */
  static make(folder: string, first: number, size: number, usual: number): Segment {
    const path = journalPath(folder, first);
    if (size > usual || !takeSpare(folder, path)) {
      const draft = join(folder, draftName);
      fill(draft, Math.max(size, usual));
      renameSync(draft, path);
    }
    synced(() => syncFolder(folder));
    return new Segment(path, first, { records: [], end: 0, next: first, torn: false });
  }

  get next(): number {
    return this.#next;
  }

  fits(size: number): boolean {
    return this.#end + size <= this.size;
  }

  /** Durable when it returns. Throws StoreLost where a sync failed; after any other error nothing was written. */
  append(ops: readonly Op[]): void {
    const record = compose(this.#next, ops);
    try {
      writeAll(this.#fd, record, this.#end);
    } catch (error) {
      this.#cut();
      throw error;
    }
    synced(() => fdatasyncSync(this.#fd));
    this.#end += record.length;
    this.#next += 1;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Lets no later record be taken for the continuation of a half one. */
  #cut(): void {
    synced(() => {
      writeAll(this.#fd, Buffer.alloc(headSize), this.#end);
      fdatasyncSync(this.#fd);
    });
  }
}

function fill(draft: string, size: number): void {
  rmSync(draft, { force: true });
  const fd = openSync(draft, "wx", 0o600);
  try {
    fchmodSync(fd, 0o600);
    const zeros = Buffer.alloc(Math.min(size, 1024 * 1024));
    for (let at = 0; at < size; at += zeros.length)
      writeAll(fd, zeros.subarray(0, Math.min(zeros.length, size - at)), at);
    synced(() => fsyncSync(fd));
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

function takeSpare(folder: string, path: string): boolean {
  try {
    renameSync(join(folder, spareName), path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

/** At the start: a spare file may be of a state that was there before the folder was restored. */
export function dropSpares(folder: string): void {
  for (const name of [spareName, draftName]) rmSync(join(folder, name), { force: true });
}

/** After everything in it is in files: the file is kept for the next one to use. The folder is synced, so that after a
 *  power cut this file is not there without those that follow it. */
export function retire(folder: string, first: number, usual: number): void {
  const path = journalPath(folder, first);
  if (statSync(path).size === usual) renameSync(path, join(folder, spareName));
  else rmSync(path);
  synced(() => syncFolder(folder));
}
