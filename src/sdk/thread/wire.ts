// What the main thread and a store's thread send each other: flat arrays of cells, and all values of a batch in one
// buffer that changes hands. Structured clone pays for each object and each array buffer, little for cells.
// A call is: id, kind, then
//   get:   key
//   write: count, then for each operation: key, size of the value (-1 deletes), version, expected version (0 means
//          absent, -1 not checked); the values follow each other in `bytes`
//   list:  prefix, after ("" for none), limit
//   lead, close: nothing
// A reply is: id, kind, then
//   found: version, size (its bytes are next in `bytes`); none; done; conflict
//   names: count, names…; epoch: number; failed: text; lost: text (this call failed, and so will every later one)

export type Cell = string | number;

export interface Frame {
  readonly cells: readonly Cell[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What the thread says first. */
export type Greeting =
  | { readonly ready: true; readonly notes: readonly string[] }
  | { readonly ready: false; readonly held: boolean; readonly text: string };

/** Reads a frame from its beginning. */
export class Reader {
  readonly #frame: Frame;
  #cell = 0;
  #byte = 0;

  constructor(frame: Frame) {
    this.#frame = frame;
  }

  get done(): boolean {
    return this.#cell >= this.#frame.cells.length;
  }

  text(): string {
    return String(this.#frame.cells[this.#cell++]);
  }

  number(): number {
    return Number(this.#frame.cells[this.#cell++]);
  }

  bytes(size: number): Uint8Array {
    this.#byte += size;
    return this.#frame.bytes.subarray(this.#byte - size, this.#byte);
  }
}

/** Gathers cells and values. */
export class Writer {
  #cells: Cell[] = [];
  #values: Uint8Array[] = [];
  #size = 0;

  get empty(): boolean {
    return this.#cells.length === 0;
  }

  add(...cells: readonly Cell[]): void {
    for (const cell of cells) this.#cells.push(cell);
  }

  value(bytes: Uint8Array): void {
    this.#values.push(bytes);
    this.#size += bytes.length;
  }

  /** Everything gathered so far; starts anew. */
  take(): Frame {
    const bytes = new Uint8Array(this.#size);
    let at = 0;
    for (const value of this.#values) {
      bytes.set(value, at);
      at += value.length;
    }
    const frame = { cells: this.#cells, bytes };
    this.#cells = [];
    this.#values = [];
    this.#size = 0;
    return frame;
  }
}
