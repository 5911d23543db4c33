// A file of lines that only grows, for one writer. Calls go through the thread pool, so that a disk that hangs stops this file
// and nothing else; but without `sync` and on a file system of this machine, a write is a copy into memory that takes less
// time than a thread's way to it and back, and is made at once. After one that was slow, none is until the disk has been quick
// for a while: a process that had to wait for its turn on a busy machine looks the same, and is over.
// Must hold: after `append` resolves, the bytes are with the system (with `sync`, on the disk); after it rejects, none of
// them will be read: what was half written is cut off before anything else is. Only lines that end in a newline count;
// what a crash left behind the last one is moved aside when the file is opened. A failed sync is never tried again: the
// system may have dropped the pages that it could not write, and would report the next sync as done.
// Known gap: without `sync`, a power cut may lose lines that were kept; and a disk of this machine that hangs within a write
// that is made at once holds up the process until it goes on.

import { close, constants, fchmod, fdatasync, fstat, ftruncate, open, read, write, writeSync } from "node:fs";
import { mkdir, open as openHandle, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";

const calls = {
  open: promisify(open),
  close: promisify(close),
  fchmod: promisify(fchmod),
  fdatasync: promisify(fdatasync),
  fstat: promisify(fstat),
  ftruncate: promisify(ftruncate),
};

const newline = 0x0a;
const block = 64 * 1024;
/** Linux's numbers (statfs(2)) of ext, XFS, Btrfs, F2FS, ZFS, tmpfs and overlayfs. */
const local: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0x01021994, 0x794c7630,
]);
/** Milliseconds: a copy into memory takes a thousandth of it. */
const slowMs = 50;
/** Milliseconds without a slow write until one is made at once again: the first time, and at most. */
const firstPause = 1_000;
const longestPause = 60_000;

export interface JournalOptions {
  /** Permissions, such as 0o600. */
  readonly mode: number;
  /** Whether `append` waits for the disk. */
  readonly sync: boolean;
  /** Told of a cut last line that was moved aside: to which file, and how many bytes. */
  readonly torn?: (aside: string, bytes: number) => void;
  /** Told of a write that was made at once and took that many milliseconds, and for how many none is. */
  readonly slow?: (took: number, pause: number) => void;
  /** Milliseconds, for tests: steady, from anywhere. */
  readonly clock?: () => number;
}

export class JournalError extends Error {
  override readonly name = "JournalError";
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | null)?.code;

/** Reads all of a range, or what there is of it. */
export async function readAt(fd: number, at: number, length: number): Promise<Buffer> {
  const out = Buffer.allocUnsafe(length);
  let have = 0;
  while (have < length) {
    const from = have;
    const got = await new Promise<number>((resolve, reject) => {
      read(fd, out, from, length - from, at + from, (error, count) =>
        error === null ? resolve(count) : reject(error),
      );
    });
    if (got === 0) break;
    have += got;
  }
  return out.subarray(0, have);
}

const writeSome = (fd: number, bytes: Uint8Array, from: number): Promise<number> =>
  new Promise((resolve, reject) => {
    write(fd, bytes, from, bytes.length - from, null, (error, count) =>
      error === null ? resolve(count) : reject(error),
    );
  });

/** Offset behind the last newline before `end`; 0 where there is none. */
async function lineEnd(fd: number, end: number): Promise<number> {
  for (let to = end; to > 0;) {
    const from = Math.max(0, to - block);
    const at = (await readAt(fd, from, to - from)).lastIndexOf(newline);
    if (at >= 0) return from + at + 1;
    to = from;
  }
  return 0;
}

/** Offset behind the first newline at or after `at`; `size` where there is none. */
async function nextLine(fd: number, at: number, size: number): Promise<number> {
  for (let from = at; from < size; from += block) {
    const found = (await readAt(fd, from, Math.min(block, size - from))).indexOf(newline);
    if (found >= 0) return from + found + 1;
  }
  return size;
}

/** The last of the whole lines that end before `size`, with its newline; null where there is none. */
export async function lastLine(fd: number, size: number): Promise<Buffer | null> {
  const end = await lineEnd(fd, size);
  if (end === 0) return null;
  const start = await lineEnd(fd, end - 1);
  return readAt(fd, start, end - start);
}

/** Offset of the first line whose `order` is 0 or more; `size` where there is none. `order` grows from line to line, so
 *  that halving finds it without an index. */
export async function seekLine(fd: number, size: number, order: (line: Uint8Array) => number): Promise<number> {
  const whole = await lineEnd(fd, size);
  let low = 0;
  let high = whole;
  // Invariant: lines that start before `low` are below, the line that starts at `high` (if any) is not.
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const start = middle === low ? low : Math.min(await nextLine(fd, middle - 1, whole), high);
    const at = start === high ? low : start;
    const end = await nextLine(fd, at, whole);
    if (order(await readAt(fd, at, end - at)) < 0) low = end;
    else high = at;
  }
  return low < whole ? low : size;
}

/** Whole lines from offset `at` on, at most `limit` lines and about `bytes` bytes, at least one if there is one. */
export async function takeLines(fd: number, at: number, limit: number, bytes: number): Promise<Uint8Array[]> {
  let size = bytes;
  for (;;) {
    const piece = await readAt(fd, at, size);
    const lines: Uint8Array[] = [];
    for (let from = 0; lines.length < limit;) {
      const end = piece.indexOf(newline, from);
      if (end < 0) break;
      lines.push(piece.subarray(from, end + 1));
      from = end + 1;
    }
    if (lines.length > 0 || piece.length < size) return lines;
    size *= 2;
  }
}

export class Journal {
  readonly path: string;
  readonly #options: JournalOptions;
  #fd: number;
  #size: number;
  /** Set while bytes behind `#size` wait to be cut off. */
  #dirty = false;
  #broken: JournalError | null = null;
  /** Whether writes may be made at once, and from when on. */
  readonly #inline: boolean;
  #quickFrom = Number.NEGATIVE_INFINITY;
  #pause = firstPause / 2;

  private constructor(path: string, options: JournalOptions, fd: number, size: number, inline: boolean) {
    this.#inline = inline;
    this.path = path;
    this.#options = options;
    this.#fd = fd;
    this.#size = size;
  }

  /** Opens or makes the file (and its folder, 0700). Refuses what is not a regular file of its own: a symbolic link, a
   *  device, a pipe, anything that may be executed. Throws JournalError, or the system's error. */
  static async open(path: string, options: JournalOptions): Promise<Journal> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
    const flags = O_APPEND | O_CREAT | O_RDWR | O_NOFOLLOW | O_NONBLOCK;
    const fd = await calls.open(path, flags, options.mode).catch((error: unknown) => {
      if (codeOf(error) === "ELOOP") throw new JournalError(`${path} is a symbolic link; name the file itself`);
      throw error;
    });
    try {
      const stat = await calls.fstat(fd);
      if (!stat.isFile()) throw new JournalError(`${path} is no regular file`);
      if ((stat.mode & 0o111) !== 0) throw new JournalError(`${path} may be executed; it must not be`);
      if ((stat.mode & 0o777) !== options.mode) await calls.fchmod(fd, options.mode);
      const size = await lineEnd(fd, stat.size);
      if (size < stat.size) await moveAside(path, fd, size, stat.size, options);
      if (options.sync) await syncFolder(dirname(path));
      const inline = !options.sync && (await isLocal(path));
      return new Journal(path, options, fd, size, inline);
    } catch (error) {
      await calls.close(fd);
      throw error;
    }
  }

  get fd(): number {
    return this.#fd;
  }

  /** Bytes of whole lines. */
  get size(): number {
    return this.#size;
  }

  /** Adds whole lines. One call at a time. */
  async append(bytes: Uint8Array): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    if (this.#dirty) await this.#cut();
    try {
      for (let done = 0; done < bytes.length;) {
        const count = this.#inline ? this.#writeTimed(bytes, done) : writeSome(this.#fd, bytes, done);
        done += typeof count === "number" ? count : await count;
      }
    } catch (error) {
      this.#dirty = true;
      await this.#cut().catch(() => {}); // tried again before the next line
      throw error;
    }
    if (this.#options.sync) await this.#sync();
    this.#size += bytes.length;
  }

  async close(): Promise<void> {
    await calls.close(this.#fd);
  }

  /** At once, unless a write was slow a short time ago. */
  #writeTimed(bytes: Uint8Array, from: number): number | Promise<number> {
    const clock = this.#options.clock ?? performance.now.bind(performance);
    const began = clock();
    const atOnce = began >= this.#quickFrom;
    const ended = (count: number): number => {
      const now = clock();
      if (now - began <= slowMs) return count;
      if (atOnce) {
        this.#pause = Math.min(2 * this.#pause, longestPause);
        this.#options.slow?.(Math.round(now - began), this.#pause);
      }
      this.#quickFrom = now + this.#pause;
      return count;
    };
    if (!atOnce) return writeSome(this.#fd, bytes, from).then(ended);
    return ended(writeSync(this.#fd, bytes, from, bytes.length - from, null));
  }

  async #cut(): Promise<void> {
    const { size } = await calls.fstat(this.#fd);
    // Somebody else may have cut the file shorter: growing it again would fill it with zeros.
    if (size > this.#size) await calls.ftruncate(this.#fd, this.#size);
    else this.#size = size;
    this.#dirty = false;
  }

  async #sync(): Promise<void> {
    try {
      await calls.fdatasync(this.#fd);
    } catch (error) {
      this.#broken = new JournalError(
        `a sync failed (${codeOf(error) ?? "unknown error"}): check the disk, then restart`,
        { cause: error },
      );
      throw this.#broken;
    }
  }
}

async function isLocal(path: string): Promise<boolean> {
  const { type } = await statfs(path);
  return process.platform === "linux" && local.has(type);
}

async function moveAside(path: string, fd: number, from: number, to: number, options: JournalOptions): Promise<void> {
  const bytes = await readAt(fd, from, to - from);
  let aside = `${path}.torn-${from}`;
  for (let again = 1; ; again++) {
    try {
      const handle = await openHandle(aside, "wx", 0o600);
      try {
        await handle.writeFile(bytes);
      } finally {
        await handle.close();
      }
      break;
    } catch (error) {
      if (codeOf(error) !== "EEXIST" || again > 1000) throw error;
      aside = `${path}.torn-${from}-${again}`;
    }
  }
  await calls.ftruncate(fd, from);
  if (options.sync) await calls.fdatasync(fd);
  options.torn?.(aside, bytes.length);
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await openHandle(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
