// The grammar of HCL 1 as far as policies use it, and of JSON, into one tree that keeps where everything stands.
// Must hold: a text that is neither is an error with line and column; nothing is guessed, nothing is evaluated
// (a `${…}` is text; `null`, which HCL lacks, is read for the sake of what is printed from Git). JSON is held to JSON: no comments, no commas too many.

/** Offset into the text: only an error needs to know the line. */
export type At = number;

/** "line:column", both counted from 1, columns in UTF-16 units as editors count. */
export function placeOf(text: string, at: At): string {
  const before = text.slice(0, at);
  return `${before.split("\n").length}:${before.length - before.lastIndexOf("\n")}`;
}

export type Tree =
  | { readonly is: "scalar"; readonly at: At; readonly value: string | number | boolean | null }
  | { readonly is: "list"; readonly at: At; readonly items: readonly Tree[] }
  | { readonly is: "object"; readonly at: At; readonly items: readonly Item[] };

/** `key "label" … value` */
export interface Item {
  readonly at: At;
  readonly key: string;
  readonly labels: readonly string[];
  readonly value: Tree;
}

export class SyntaxFault extends Error {
  readonly at: At;
  override readonly name = "SyntaxFault";
  constructor(at: At, message: string) {
    super(message);
    this.at = at;
  }
}

export const fail = (at: At, message: string): never => {
  throw new SyntaxFault(at, message);
};

/** A fault for whoever sent the text, and for the logs that his answer ends up in: words of the text that it quotes are left
 *  out, unless they are `own`, the language's. */
export const withoutWords = (message: string, own: ReadonlySet<string>): string =>
  message.replaceAll(/"(?:[^"\\]|\\.)*"/g, (quoted) =>
    /^"\\?.?"$/.test(quoted) || own.has(quoted.slice(1, -1)) ? quoted : '"…"',
  );

const deepest = 32;
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  a: "\u0007",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};
const word = /[\p{L}_][\p{L}\p{Nd}_.-]*/uy;
const numeral = /(?:0x[0-9a-fA-F]+|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\p{L}\p{Nd}_.])/uy;
const heredoc = /<<(-?)([\p{L}\p{Nd}_]+)\r?\n/uy;
const blank = /(?:\s+|#[^\n]*|\/\/[^\n]*|\/\*[^]*?\*\/)*/y;
const jsonBlank = /[ \t\r\n]*/y;

class Reader {
  readonly #text: string;
  readonly json: boolean;
  #index = 0;

  constructor(text: string) {
    this.#text = text;
    this.json = /^\s*\{/.test(text);
  }

  /** Where the next thing that counts starts. */
  at(): At {
    return this.#skip();
  }

  /** The next character that counts; "" at the end. */
  peek(): string {
    return this.#text.charAt(this.#skip());
  }

  take(character: string): boolean {
    if (this.peek() !== character) return false;
    this.#index += 1;
    return true;
  }

  expect(character: string, where: string): void {
    if (!this.take(character)) this.unexpected(`"${character}" ${where}`);
  }

  unexpected(wanted: string): never {
    const found = this.peek();
    return fail(this.at(), `expected ${wanted}, found ${found === "" ? "the end of the text" : JSON.stringify(found)}`);
  }

  match(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#skip();
    const found = expression.exec(this.#text);
    if (found !== null) this.#index = expression.lastIndex;
    return found;
  }

  /** At a quotation mark. */
  string(): string {
    const start = this.at();
    this.#index += 1;
    let value = "";
    for (;;) {
      const character = this.#text.charAt(this.#index++);
      if (character === '"') return value;
      if (character === "" || character === "\n") return fail(start, 'this text has no closing `"` on its line');
      value += character === "\\" ? this.#escape() : character;
    }
  }

  /** After `<<WORD`: up to a line that holds the word alone. */
  heredoc(start: At, indented: boolean, end: string): string {
    const lines: string[] = [];
    while (this.#index < this.#text.length) {
      const newline = this.#text.indexOf("\n", this.#index);
      const stop = newline < 0 ? this.#text.length : newline;
      const line = this.#text.slice(this.#index, stop).replace(/\r$/, "");
      this.#index = stop + 1;
      if ((indented ? line.trim() : line) === end) {
        const least = (shift: number, text: string): number => Math.min(shift, text.search(/\S|$/));
        const shift = indented ? lines.reduce(least, Number.POSITIVE_INFINITY) : 0;
        return lines.map((text) => `${text.slice(shift)}\n`).join("");
      }
      lines.push(line);
    }
    return fail(start, `no line ends this text with ${end}`);
  }

  #escape(): string {
    const index = this.#index - 1;
    const character = this.#text.charAt(this.#index++);
    const digits = { u: 4, U: 8, x: 2 }[character];
    if (digits === undefined) return escapes[character] ?? fail(index, `\\${character} is no escape`);
    const hex = this.#text.slice(this.#index, this.#index + digits);
    const point = /^[0-9a-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : Number.NaN;
    if (!(point <= 0x10ffff)) return fail(index, `\\${character} needs ${digits} hexadecimal digits`);
    this.#index += digits;
    return digits === 4 ? String.fromCharCode(point) : String.fromCodePoint(point);
  }

  #skip(): number {
    const expression = this.json ? jsonBlank : blank;
    expression.lastIndex = this.#index;
    expression.exec(this.#text);
    this.#index = Math.max(this.#index, expression.lastIndex);
    return this.#index;
  }
}

function readKey(reader: Reader): string {
  const at = reader.at();
  if (reader.peek() === '"') {
    const name = reader.string();
    // What is stored as JSON must be read as it was written (see src/lib/json.ts).
    return name === "\\" ? fail(at, "a name must not be a backslash alone") : name;
  }
  return (reader.json ? null : reader.match(word)?.[0]) ?? reader.unexpected("a name");
}

function readItem(reader: Reader, depth: number): Item {
  const at = reader.at();
  const key = readKey(reader);
  if (reader.json) {
    reader.expect(":", "after the name");
    return { at, key, labels: [], value: readValue(reader, depth) };
  }
  if (reader.take("=")) return { at, key, labels: [], value: readValue(reader, depth) };
  const labels: string[] = [];
  while (reader.peek() !== "{") {
    if (reader.peek() !== '"') {
      if (reader.match(word) === null) reader.unexpected("`=` or `{`");
      fail(at, "put the text before the block in quotation marks");
    }
    labels.push(reader.string());
  }
  return { at, key, labels, value: readValue(reader, depth) };
}

/** Up to `close`, which is taken; commas as the dialect wants them. */
function readItems<T>(reader: Reader, close: string, commas: boolean, read: () => T): readonly T[] {
  const items: T[] = [];
  for (;;) {
    if (reader.take(close)) return items;
    items.push(read());
    const comma = reader.take(",");
    if (reader.json && comma && reader.peek() === close) return reader.unexpected("another entry after the comma");
    if (commas && !comma && reader.peek() !== close) return reader.unexpected(`"," or "${close}"`);
  }
}

function readValue(reader: Reader, depth: number): Tree {
  const at = reader.at();
  if (depth > deepest) fail(at, `nested deeper than ${deepest}`);
  const next = reader.peek();
  if (next === '"') return { is: "scalar", at, value: reader.string() };
  if (next === "[") {
    reader.take("[");
    return { is: "list", at, items: readItems(reader, "]", true, () => readValue(reader, depth + 1)) };
  }
  if (next === "{") {
    reader.take("{");
    return { is: "object", at, items: readItems(reader, "}", reader.json, () => readItem(reader, depth + 1)) };
  }
  const number = reader.match(numeral);
  if (number !== null) {
    const value = Number(number[0]);
    // JSON has no such number: what is stored would be another one.
    return Number.isFinite(value) ? { is: "scalar", at, value } : fail(at, "this number is too large");
  }
  const text = reader.json ? null : reader.match(heredoc);
  if (text !== null) return { is: "scalar", at, value: reader.heredoc(at, text[1] === "-", text[2] ?? "") };
  const name = reader.match(word)?.[0];
  if (name === "true" || name === "false") return { is: "scalar", at, value: name === "true" };
  if (name === "null") return { is: "scalar", at, value: null };
  if (name !== undefined) return fail(at, "put this word in quotation marks");
  return reader.unexpected("a value");
}

export interface Document {
  readonly json: boolean;
  readonly items: readonly Item[];
}

/** Throws SyntaxFault. */
export function parseSyntax(text: string): Document {
  const reader = new Reader(text);
  if (reader.json) {
    const tree = readValue(reader, 0);
    if (reader.peek() !== "") reader.unexpected("the end of the text");
    return { json: true, items: tree.is === "object" ? tree.items : [] };
  }
  const items: Item[] = [];
  while (reader.peek() !== "") {
    items.push(readItem(reader, 0));
    reader.take(",");
  }
  return { json: false, items };
}
