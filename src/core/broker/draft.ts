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

export class Draft {
  #bytes = Buffer.allocUnsafe(startSize);
  #size = 0;
  #round = 0;

  get size(): number {
    return this.#size;
  }

  /** Starts over. */
  clear(): void {
    if (this.#bytes.length > keptSize) this.#bytes = Buffer.allocUnsafe(startSize);
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

  /** What was written, in memory of its own; `clear` is next. What is large and fills its
   *  memory is given away instead of copied. */
  take(): Buffer {
    const written = this.#bytes.subarray(0, this.#size);
    if (this.#size <= keptSize || this.#size < 0.75 * this.#bytes.length) return Buffer.from(written);
    this.#bytes = Buffer.allocUnsafe(startSize);
    return written;
  }

  #room(more: number): void {
    if (this.#bytes.length >= this.#size + more) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#size + more + startSize));
    this.#bytes.copy(larger, 0, 0, this.#size);
    this.#bytes = larger;
  }
}
