// Where lines are written before they are handed on. Most of a line was written before: what both entries of a request
// share, and what a token, a mount or a secret looks like in every entry. It is encoded once and copied after that.

/** UTF-8 text: a string yet to be encoded, or bytes that are. */
export type Piece = string | Uint8Array;

/** What both entries of a request have in common. */
export class Shared {
  readonly pieces: readonly Piece[];
  /** Where it stands in the draft of that round; none before it was written. */
  round = 0;
  start = 0;
  end = 0;

  constructor(pieces: readonly Piece[]) {
    this.pieces = pieces;
  }
}

/** Bytes that one UTF-16 unit takes at most. */
const utf8Most = 3;

const startSize = 64 * 1024;
/** What one large batch needed is not held for ever. */
const keptSize = 1024 * 1024;
/** Memories that were given back: as many batches are under way at most times. */
const mostSpare = 2;

export class Draft {
  #bytes: Buffer = Buffer.allocUnsafe(startSize);
  #size = 0;
  #round = 0;
  /** New memory of this size costs more than to write it full: its pages have to be found first. */
  readonly #spare: Buffer[] = [];

  get size(): number {
    return this.#size;
  }

  /** Starts over. */
  clear(): void {
    if (this.#bytes.length > keptSize) this.#bytes = this.#fresh();
    this.#size = 0;
    this.#round += 1;
  }

  add(piece: Piece): void {
    if (typeof piece === "string") {
      // How long a text is in bytes costs as much to ask as to write it.
      this.#room(utf8Most * piece.length);
      this.#size += this.#bytes.write(piece, this.#size);
    } else {
      this.#room(piece.length);
      this.#bytes.set(piece, this.#size);
      this.#size += piece.length;
    }
  }

  addShared(shared: Shared): void {
    const start = this.#size;
    if (shared.round === this.#round) {
      this.#room(shared.end - shared.start);
      this.#bytes.copyWithin(start, shared.start, shared.end);
      this.#size += shared.end - shared.start;
      return;
    }
    for (const piece of shared.pieces) this.add(piece);
    shared.round = this.#round;
    shared.start = start;
    shared.end = this.#size;
  }

  addByte(byte: number): void {
    this.#room(1);
    this.#bytes[this.#size++] = byte;
  }

  /** A view, good until the next change. */
  view(start: number): Uint8Array {
    return this.#bytes.subarray(start, this.#size);
  }

  /** What was written, in memory of its own; `clear` is next. What fills a good part of its memory is given away with
   *  it instead of copied. */
  take(): Buffer {
    const written = this.#bytes.subarray(0, this.#size);
    if (4 * this.#size < this.#bytes.length) return Buffer.from(written);
    this.#bytes = this.#fresh();
    return written;
  }

  /** Takes back what `take` gave, from whom nobody else has it any more: it will be written over. */
  give(written: Buffer): void {
    const { byteLength } = written.buffer;
    if (this.#spare.length >= mostSpare || written.byteOffset !== 0) return;
    if (byteLength >= startSize && byteLength <= keptSize) this.#spare.push(Buffer.from(written.buffer));
  }

  #fresh(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafe(startSize);
  }

  #room(more: number): void {
    if (this.#bytes.length >= this.#size + more) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#size + more + startSize));
    this.#bytes.copy(larger, 0, 0, this.#size);
    this.#bytes = larger;
  }
}
