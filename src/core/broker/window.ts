// The newest lines of the chain, in memory: what devices have not kept yet, and what they are most likely to ask for.
// Must hold: a line that no device has kept stays, and so the window may not grow without bound (`full`); a line that one
// device has kept may go, since the others can be sent it from there.

import { hash as sha256 } from "node:crypto";
import { lineHash, linkText } from "../../sdk/chain.ts";
import type { Batch, Head } from "../../sdk/audit.ts";
import { Draft } from "./draft.ts";
import type { Entry } from "./entry.ts";

/** The lines of one turn. */
class Chunk {
  readonly first: number;
  readonly last: number;
  /** All its lines, one after the other. */
  readonly bytes: Buffer;
  /** Of the last line. */
  readonly hash: string;
  /** Batches under way that have its memory. */
  users = 0;
  /** Where each line ends. */
  readonly #ends: readonly number[];

  constructor(first: number, last: number, bytes: Buffer, ends: readonly number[], hash: string) {
    this.first = first;
    this.last = last;
    this.bytes = bytes;
    this.hash = hash;
    this.#ends = ends;
  }

  /** Bytes that it holds: its memory is up to twice what its lines take, or a part of one that others have too. */
  get held(): number {
    const { length, buffer } = this.bytes;
    return buffer.byteLength <= 2 * length ? buffer.byteLength : length;
  }

  get lines(): readonly Uint8Array[] {
    return this.#ends.map((end, index) => this.bytes.subarray(this.#ends[index - 1] ?? 0, end));
  }
}

/** What a device is sent. `done` follows once it lets go of it: the memory is then written over. */
export interface Loan {
  readonly batch: Batch;
  readonly head: Head;
  done(): void;
}

export interface Bounds {
  /** Bytes kept for devices that are behind. */
  readonly spare: number;
  /** Bytes that may wait for the first device. */
  readonly most: number;
}

const newline = 0x0a;
/** Enough for one write: more would only make the next entries wait longer. */
const batchBytes = 4 * 1024 * 1024;

export class Window {
  readonly #bounds: Bounds;
  readonly #chunks: Chunk[] = [];
  #bytes = 0;
  #head: Head;
  readonly #draft = new Draft();

  /** `head` is the last line before the window. */
  constructor(head: Head, bounds: Bounds) {
    this.#head = head;
    this.#bounds = bounds;
  }

  /** The last line of the chain. */
  get head(): Head {
    return this.#head;
  }

  get full(): boolean {
    return this.#bytes >= this.#bounds.most;
  }

  /** The oldest line that is still here; one behind the head where none is. */
  get first(): number {
    return this.#chunks[0]?.first ?? this.#head.seq + 1;
  }

  /** Chains entries and adds them. */
  append(entries: readonly Entry[]): void {
    const draft = this.#draft;
    const ends: number[] = [];
    const first = this.#head.seq + 1;
    let { seq, hash } = this.#head;
    draft.clear();
    for (const { opening, shared, rest } of entries) {
      const start = draft.size;
      draft.add(linkText(++seq, hash) + opening);
      if (shared !== null) draft.addShared(shared);
      for (const piece of rest) draft.add(piece);
      hash = sha256("sha256", draft.view(start), "hex");
      draft.addByte(newline);
      ends.push(draft.size);
    }
    const chunk = new Chunk(first, seq, draft.take(), ends, hash);
    this.#chunks.push(chunk);
    this.#bytes += chunk.held;
    this.#head = { seq, hash };
  }

  /** What follows line `from - 1`, about 4 MiB at most, and the hash of its last line; null where `from` is not here. */
  batch(from: number): Loan | null {
    const start = this.#chunks.findIndex((chunk) => from <= chunk.last);
    const opening = this.#chunks[start];
    if (opening === undefined || from < opening.first) return null;
    let end = start + 1;
    let size = opening.bytes.length;
    for (
      let next = this.#chunks[end];
      next !== undefined && size + next.bytes.length <= batchBytes;
      next = this.#chunks[end]
    ) {
      size += next.bytes.length;
      end++;
    }
    const taken = this.#chunks.slice(start, end);
    const { last: seq, hash } = taken.at(-1) ?? opening;
    const head = { seq, hash };
    for (const chunk of taken) chunk.users++;
    const done = (): void => {
      for (const chunk of taken) chunk.users--;
    };
    if (from === opening.first) {
      const bytes = taken.length === 1 ? opening.bytes : Buffer.concat(taken.map((chunk) => chunk.bytes));
      return {
        done,
        head,
        batch: {
          first: from,
          head,
          bytes,
          // Asked for by few devices: views are not made before.
          get lines() {
            return taken.flatMap((chunk) => chunk.lines);
          },
        },
      };
    }
    const lines = taken.flatMap((chunk) => chunk.lines).slice(from - opening.first);
    return { batch: { first: from, head, lines, bytes: Buffer.concat(lines) }, head, done };
  }

  /** The hash of a line that is here. */
  hashOf(seq: number): string | null {
    if (seq === this.#head.seq) return this.#head.hash;
    const chunk = this.#chunks.find((one) => seq >= one.first && seq <= one.last);
    const line = chunk?.lines[seq - chunk.first];
    return line === undefined ? null : lineHash(line);
  }

  /** Lets go of what is not needed: everything up to `all`, which every device has; beyond the spare, everything up to
   *  `some`, which one device has. */
  trim(all: number, some: number): void {
    let drop = 0;
    for (const chunk of this.#chunks) {
      if (chunk.last > all && (chunk.last > some || this.#bytes <= this.#bounds.spare)) break;
      this.#bytes -= chunk.held;
      if (chunk.users === 0) this.#draft.give(chunk.bytes);
      drop++;
    }
    if (drop > 0) this.#chunks.splice(0, drop);
  }
}
