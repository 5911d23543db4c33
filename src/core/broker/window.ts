// The newest lines of the chain, in memory: what devices have not kept yet, and what they are most likely to ask for.
// Must hold: a line that no device has kept stays, and so the window may not grow without bound (`full`); a line that one
// device has kept may go, since the others can be sent it from there.

import { hash as sha256 } from "node:crypto";
import { firstPrev, lineHash, linkText } from "../../sdk/chain.ts";
import type { Batch, Head } from "../../sdk/audit.ts";

interface Chunk {
  readonly first: number;
  readonly last: number;
  /** All its lines, one after the other. */
  readonly bytes: Buffer;
  readonly lines: readonly Uint8Array[];
  /** Of the last line. */
  readonly hash: string;
}

export interface Bounds {
  /** Bytes kept for devices that are behind. */
  readonly spare: number;
  /** Bytes that may wait for the first device. */
  readonly most: number;
}

/** What a line has beside its body, at most: its link with the longest number, and the newline. */
const linkSize = linkText(Number.MAX_SAFE_INTEGER, firstPrev).length + 1;
const newline = 0x0a;
/** Bytes that one UTF-16 unit takes at most. */
const utf8Most = 3;
/** Enough for one write: more would only make the next entries wait longer. */
const batchBytes = 4 * 1024 * 1024;

export class Window {
  readonly #bounds: Bounds;
  readonly #chunks: Chunk[] = [];
  #bytes = 0;
  #head: Head;
  /** Where lines are written before their length is known. */
  #draft = Buffer.allocUnsafe(64 * 1024);

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

  /** Chains entries and adds them. `bodies` are the texts behind `prev`. */
  append(bodies: readonly string[]): void {
    const ends: number[] = [];
    const first = this.#head.seq + 1;
    let { seq, hash } = this.#head;
    let at = 0;
    for (const body of bodies) {
      const buffer = this.#room(at, linkSize + utf8Most * body.length);
      // Written in two parts: joined, the body would be copied once more.
      let end = at + buffer.write(linkText(++seq, hash), at, "latin1");
      end += buffer.write(body, end, "utf8");
      hash = sha256("sha256", buffer.subarray(at, end), "hex");
      buffer[end++] = newline;
      ends.push(end);
      at = end;
    }
    const bytes = Buffer.from(this.#draft.subarray(0, at));
    const lines = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
    this.#chunks.push({ first, last: seq, bytes, lines, hash });
    this.#bytes += at;
    this.#head = { seq, hash };
  }

  /** The draft, with `more` bytes behind `at`: how long a text is in bytes costs as much to ask as to write it. */
  #room(at: number, more: number): Buffer {
    if (this.#draft.length < at + more) {
      const larger = Buffer.allocUnsafe(2 * (at + more));
      this.#draft.copy(larger, 0, 0, at);
      this.#draft = larger;
    }
    return this.#draft;
  }

  /** What follows line `from - 1`, about 4 MiB at most, and the hash of its last line; null where `from` is not here. */
  batch(from: number): { readonly batch: Batch; readonly head: Head } | null {
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
    if (taken.length === 1 && from === opening.first) {
      return { batch: { first: from, lines: opening.lines, bytes: opening.bytes }, head };
    }
    const lines = taken.flatMap((chunk) => chunk.lines).slice(from - opening.first);
    return { batch: { first: from, lines, bytes: Buffer.concat(lines) }, head };
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
      this.#bytes -= chunk.bytes.length;
      drop++;
    }
    if (drop > 0) this.#chunks.splice(0, drop);
  }
}
