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
/** Copies of this size and more are made into memory that was used before. */
const reusedSize = 8 * 1024;
/** As large as a batch of entries gets that are not huge alone: no larger memory is kept to be used again. */
const mostReused = 2 * keptSize;
/** Of each size: as many batches are under way at most times. */
const mostSpare = 2;

/** Memory in powers of two, at most twice what is asked for. New memory costs more than to write it full, since its pages
 *  have to be found first, and makes the garbage collector run over the whole heap: it counts what lies outside too. */
class Spare {
  /** By the power. */
  readonly #free: Buffer[][] = [];
  /** What was made here: the memory of a small buffer is shared by all the process. */
  readonly #own = new WeakSet<ArrayBufferLike>();

  /** Holds whatever was there before. */
  take(size: number): Buffer {
    const power = 32 - Math.clz32(size - 1);
    const used = this.#free[power]?.pop();
    if (used !== undefined) return used;
    const made = Buffer.allocUnsafeSlow(2 ** power);
    this.#own.add(made.buffer);
    return made;
  }

  /** Takes nothing that `take` did not give, and nothing that is too large. */
  give({ buffer }: Buffer): void {
    if (buffer.byteLength > mostReused || !this.#own.has(buffer)) return;
    const free = (this.#free[31 - Math.clz32(buffer.byteLength)] ??= []);
    if (free.length < mostSpare) free.push(Buffer.from(buffer));
  }
}

export class Draft {
  #bytes: Buffer = Buffer.allocUnsafe(startSize);
  #size = 0;
  #round = 0;
  readonly #spare = new Spare();

  get size(): number {
    return this.#size;
  }

  /** Starts over. */
  clear(): void {
    if (this.#bytes.length > keptSize) {
      this.#spare.give(this.#bytes);
      this.#bytes = Buffer.allocUnsafe(startSize);
    }
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

  /** What was written, in memory of its own; `clear` is next. What is large and fills half of its
   *  memory is given away instead of copied. */
  take(): Buffer {
    const size = this.#size;
    const written = this.#bytes.subarray(0, size);
    if (size > keptSize && 2 * size >= this.#bytes.length) {
      this.#bytes = Buffer.allocUnsafe(startSize);
      return written;
    }
    if (size < reusedSize || size > keptSize) return Buffer.from(written);
    const copy = this.#spare.take(size);
    copy.set(written);
    return copy.subarray(0, size);
  }

  /** Takes back what `take` gave, from whom nobody else has it any more: it will be written over. */
  give(written: Buffer): void {
    this.#spare.give(written);
  }

  #room(more: number): void {
    if (this.#bytes.length >= this.#size + more) return;
    const size = Math.max(2 * this.#bytes.length, this.#size + more + startSize);
    const larger = size <= mostReused ? this.#spare.take(size) : Buffer.allocUnsafe(size);
    this.#bytes.copy(larger, 0, 0, this.#size);
    this.#spare.give(this.#bytes);
    this.#bytes = larger;
  }
}
