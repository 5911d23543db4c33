// The file store on its own thread: writes go to the journal, many with one sync, and are in memory until the spreading
// thread has put them into files; reads look in memory, then at the files.
// Must hold: what `commit` returned is in a synced record; memory holds exactly what the journal holds and the files may not
// yet; after a failed sync everything is refused, and nothing is tried again.

import { compareUtf8 } from "../../lib/bytes.ts";
import type { Op, Stored } from "../../sdk/storage.ts";
import { NotWritten, type Outcome, reasonOf, StoreLost, type ThreadStore } from "../../sdk/thread/store.ts";
import { Damaged } from "./entry.ts";
import { dropSpares, journals, journalPath, scanJournal, Segment, sizeOf, usualSize } from "./journal.ts";
import type { Lock } from "./lock.ts";
import type { Report } from "./spreader.ts";
import { entriesFolder } from "./spread.ts";
import { Tree } from "./tree.ts";

/** An operation that the files may not show yet; `value` is null where the key was deleted. */
interface Pending {
  readonly value: Uint8Array | null;
  readonly version: number;
  readonly segment: Segment;
}

/** How many times the usual size files of the journal may have together before writes wait until some are spread. What is in
 *  them is in memory. */
export const mostWaiting = 32;
/** Bytes in one record, if there is more than one write in it. */
const largestBatch = 16 * 1024 * 1024;

export class FileStore implements ThreadStore {
  readonly #folder: string;
  readonly #usual: number;
  readonly #lock: Lock;
  readonly #tree: Tree;
  readonly #spread: (first: number) => void;
  readonly #pending = new Map<string, Pending>();
  /** Full ones, in order; the spreading thread knows of them. */
  readonly #full: Segment[] = [];
  #current: Segment;
  /** Why spreading does not go on; null where it does. */
  #stuck: string | null = null;
  #lost: StoreLost | null = null;
  readonly notes: string[] = [];
  onRelief: () => void = () => {};
  onClose: () => void = () => {};

  /** `spread` tells the spreading thread of a file of the journal. Throws Damaged, StoreLost or the system's error. */
  constructor(folder: string, lock: Lock, spread: (first: number) => void, usual = usualSize) {
    this.#folder = folder;
    this.#usual = usual;
    this.#lock = lock;
    this.#spread = spread;
    this.#tree = new Tree(entriesFolder(folder));
    dropSpares(folder);
    const firsts = journals(folder);
    if (firsts.length === 0 && this.#tree.list("").length > 0) {
      throw new Damaged("there are entries but no journal: restore the folder as a whole from a backup");
    }
    for (const first of firsts) this.#replay(first);
    const last = this.#full.pop();
    this.#current = last ?? Segment.make(folder, 1, 0, usual);
    for (const segment of this.#full) spread(segment.first);
  }

  #replay(first: number): void {
    const before = this.#full.at(-1);
    if (before !== undefined && before.next !== first) {
      throw new Damaged(`the journal lacks records from ${before.next} on: restore the folder from a backup`);
    }
    const scan = scanJournal(journalPath(this.#folder, first), first);
    if (scan.torn)
      this.notes.push(`record ${scan.next} of the journal was not whole and never answered: it is cut off`);
    const segment = Segment.open(this.#folder, first, scan);
    for (const { ops } of scan.records) this.#keep(segment, ops);
    this.#full.push(segment);
  }

  #keep(segment: Segment, ops: readonly Op[]): void {
    for (const { key, value, version } of ops) {
      this.#pending.set(key, { value, version, segment });
      segment.keys.add(key);
    }
  }

  get(key: string): Stored | null {
    this.#check();
    const pending = this.#pending.get(key);
    if (pending === undefined) return this.#tree.get(key);
    return pending.value === null ? null : { value: pending.value, version: pending.version };
  }

  /** One level of the files, with what is pending laid over it. */
  list(prefix: string, after: string, limit: number): string[] {
    this.#check();
    const changes = this.#changes(prefix);
    const added = [...changes].flatMap(([name, there]) => (there ? [name] : [])).sort(compareUtf8);
    const names: string[] = [];
    const list = this.#tree.list(prefix);
    for (let at = past(list, after), more = past(added, after); names.length < limit;) {
      const old = list[at];
      const fresh = added[more];
      if (old === undefined && fresh === undefined) break;
      if (fresh === undefined || (old !== undefined && compareUtf8(old, fresh) < 0)) {
        at += 1;
        if (old !== undefined && !changes.has(old)) names.push(old);
      } else {
        more += 1;
        names.push(fresh);
      }
    }
    return names;
  }

  /** Names below `prefix` that pending operations decide: whether each is there. */
  #changes(prefix: string): Map<string, boolean> {
    const changes = new Map<string, boolean>();
    for (const [key, { value }] of this.#pending) {
      if (!key.startsWith(prefix)) continue;
      const slash = key.indexOf("/", prefix.length);
      const name = key.slice(prefix.length, slash < 0 ? undefined : slash + 1);
      if (value !== null) changes.set(name, true);
      else if (!changes.has(name)) changes.set(name, false);
    }
    const gone = (key: string): boolean => this.#pending.get(key)?.value === null;
    for (const [name, there] of changes) {
      // A folder out of which things were deleted is there as long as anything else is in it.
      if (!there && name.endsWith("/")) changes.set(name, this.#tree.holds(prefix + name, gone));
    }
    return changes;
  }

  commit(writes: readonly (readonly Op[])[]): Outcome[] {
    const outcomes: Outcome[] = [];
    for (let from = 0; from < writes.length;) {
      let to = from;
      for (let size = 0; to < writes.length; to++) {
        size += sizeOf(writes[to] ?? []);
        if (to > from && size > largestBatch) break;
      }
      outcomes.push(...this.#record(writes.slice(from, to)));
      from = to;
    }
    return outcomes;
  }

  /** One record for all of `writes` that are done. */
  #record(writes: readonly (readonly Op[])[]): Outcome[] {
    this.#check();
    const changed = new Map<string, number | "absent">();
    const all: Op[] = [];
    const outcomes = writes.map((ops): Outcome => {
      for (const { key, expect } of ops) {
        if (expect !== undefined && (changed.get(key) ?? this.#version(key)) !== expect) return "conflict";
      }
      for (const op of ops) {
        changed.set(op.key, op.value === null ? "absent" : op.version);
        all.push(op);
      }
      return "done";
    });
    if (all.length > 0) this.#append(all);
    return outcomes;
  }

  #append(ops: readonly Op[]): void {
    try {
      const size = sizeOf(ops);
      if (!this.#current.fits(size)) this.#turn(size);
      this.#current.append(ops);
    } catch (error) {
      if (error instanceof StoreLost) this.#lose(error);
      throw error instanceof StoreLost || error instanceof NotWritten
        ? error
        : new NotWritten(`nothing was written: ${reasonOf(error)}`, { cause: error });
    }
    this.#keep(this.#current, ops);
  }

  /** Goes on in a new file of the journal; the old one is spread. */
  #turn(size: number): void {
    if (this.#crowded && this.#stuck !== null) {
      throw new NotWritten(`nothing was written: entries cannot be put into files (${this.#stuck})`);
    }
    const before = this.#current;
    this.#current = Segment.make(this.#folder, before.next, size, this.#usual);
    // One without a record has the same name: it was replaced.
    if (before.first === before.next) return before.close();
    this.#full.push(before);
    this.#spread(before.first);
  }

  #version(key: string): number | "absent" {
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending.value === null ? "absent" : pending.version;
    return this.#tree.get(key)?.version ?? "absent";
  }

  /** Writes wait while too much is to be spread; they do not where nothing is being spread. */
  get pressed(): boolean {
    return this.#crowded && this.#stuck === null && this.#lost === null;
  }

  get #crowded(): boolean {
    return this.#full.reduce((bytes, { size }) => bytes + size, 0) >= mostWaiting * this.#usual;
  }

  /** What the spreading thread says. */
  hear(report: Report): void {
    if (report.kind === "lost") this.#lose(new StoreLost(report.text));
    else if (report.kind === "again") this.#stuck = report.text;
    else {
      this.#stuck = null;
      const done = this.#full.shift();
      if (done !== undefined) this.#forget(done);
    }
    this.onRelief();
  }

  #forget(segment: Segment): void {
    segment.close();
    this.#tree.changed();
    for (const key of segment.keys) if (this.#pending.get(key)?.segment === segment) this.#pending.delete(key);
  }

  lead(): number {
    this.#check();
    return this.#lock.next();
  }

  close(): void {
    for (const segment of [...this.#full, this.#current]) segment.close();
    this.onClose();
    this.#lock.release();
  }

  #check(): void {
    if (this.#lost !== null) throw this.#lost;
  }

  #lose(error: StoreLost): void {
    this.#lost ??= error;
  }
}

/** Index of the first name that comes after `after`. */
function past(names: readonly string[], after: string): number {
  if (after === "") return 0;
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(names[middle] ?? "", after) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
