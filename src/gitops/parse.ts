// The text of a document file: strict YAML 1.2 with the place of each value. What would make a file mean something else
// than it looks like (aliases, tags, directives; merge keys and odd keys in plain.ts) is refused.
// Must hold: nothing here throws on any bytes; time is in proportion to the size; no message repeats the text beyond
// the name of a key in a document that could be read.
// Columns count UTF-16 units, as editors do.

import { isUtf8 } from "node:buffer";
import { Composer, type CST, type Document, isMap, isScalar, isSeq, type ParsedNode, Parser, Schema } from "yaml";
import { Conversion, type Flaw } from "./plain.ts";

/** Bounds on one file. `tokens` counts scalars, brackets, spaces, ends of lines. */
export interface ParseLimits {
  readonly fileBytes: number;
  readonly depth: number;
  readonly tokens: number;
}

export interface ParsedDocument {
  /** Extent in the text, with what stands before it. */
  readonly from: number;
  readonly to: number;
  /** Where its content starts. */
  readonly start: number;
  readonly node: ParsedNode;
  /** Plain data; null where `readable` is false. */
  readonly value: unknown;
  /** False where syntax, aliases or the like leave open what is meant. */
  readonly readable: boolean;
  readonly flaws: readonly Flaw[];
}

export interface ParsedFile {
  readonly text: Text;
  readonly documents: readonly ParsedDocument[];
  /** Faults of no one document. */
  readonly flaws: readonly Flaw[];
}

/** A text with the offsets of its lines. */
export class Text {
  readonly source: string;
  #starts: number[] | null = null;

  constructor(source: string) {
    this.source = source;
  }

  #lines(): number[] {
    if (this.#starts !== null) return this.#starts;
    const starts = [0];
    for (let at = this.source.indexOf("\n"); at >= 0; at = this.source.indexOf("\n", at + 1)) starts.push(at + 1);
    this.#starts = starts;
    return starts;
  }

  /** Both count from 1. */
  place(offset: number): { readonly line: number; readonly column: number } {
    const starts = this.#lines();
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 };
  }

  /** The line that an offset is in, without its end: where it starts and what it says. */
  lineAt(offset: number): { readonly start: number; readonly line: string } {
    const start = offset - this.place(offset).column + 1;
    const end = this.source.indexOf("\n", start);
    return { start, line: this.source.slice(start, end < 0 ? undefined : end).replace(/\r$/, "") };
  }
}

/** The parser's own messages may quote the text, so only its codes are used. */
const syntax: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "indented with a tab; use spaces",
  BAD_INDENT: "wrong indentation, or a bracket that is not closed",
  MISSING_CHAR: "a character is missing: the end of a quote, a bracket, a comma, or the space after a colon",
  BLOCK_AS_IMPLICIT_KEY: "wrong indentation, or a colon in a value that needs quotes",
  MULTILINE_IMPLICIT_KEY: "wrong indentation, or a key without its colon",
  BLOCK_IN_FLOW: "inside brackets everything is written with brackets",
  BAD_DQ_ESCAPE: 'a backslash in double quotes that starts no escape; write "\\\\" or use single quotes',
  BAD_SCALAR_START: "a value cannot begin with this character; put it in quotes",
  KEY_OVER_1024_CHARS: "a key of more than 1,024 characters",
};
const brokenMessage = "this is not valid YAML";
const aliasMessage =
  "anchors and aliases (& and *) are not used here, so that a document says what it means; write the value out, or quote it";
const tagMessage = "tags (!) are not used here; a value that begins with ! needs quotes";
const directiveMessage = "directives (%) are not used here: documents are YAML 1.2";

const schema = new Schema({ schema: "core", resolveKnownTags: false, merge: false });
/** YAML 1.2.2, 5.1: what is not printable; and a carriage return that ends no line. */
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const unprintable = /[\0-\x08\v\f\x0E-\x1F\x7F-\x84\x86-\x9F\uFEFF\uFFFE\uFFFF]|\r(?!\n)/;

/** A file that is no UTF-8 has its flaw where a lenient reading first has to guess. */
function decode(bytes: Uint8Array): { readonly text: Text; readonly flaw: Flaw | null } {
  const text = new Text(new TextDecoder().decode(bytes));
  if (isUtf8(bytes)) return { text, flaw: null };
  const offset = Math.max(text.source.indexOf("\uFFFD"), 0);
  return { text, flaw: { offset, message: "the file is not UTF-8 text; save it as UTF-8" } };
}

/** Signs that are refused wherever they stand. */
const refusals: Readonly<Record<string, string>> = {
  "&": aliasMessage,
  "*": aliasMessage,
  "!": tagMessage,
  "%": directiveMessage,
};

/** Counts what the lexer gives, lexeme by lexeme, and takes no more once a bound is passed: before anything recurses. */
class CountingParser extends Parser {
  readonly #limits: ParseLimits;
  readonly refused: Flaw[] = [];
  #count = 0;
  #scalar = false;
  /** Why reading stopped. */
  excess: Flaw | null = null;

  constructor(limits: ParseLimits) {
    super();
    this.#limits = limits;
  }

  override *next(lexeme: string): Generator<CST.Token, void> {
    if (this.excess !== null) return;
    const message = this.#scalar ? undefined : refusals[lexeme[0] ?? ""];
    // U+001F is the lexer's sign that a plain or block scalar follows; the text itself cannot hold it.
    this.#scalar = lexeme === "\u001F";
    if (message !== undefined) this.refused.push({ offset: this.offset, message });
    this.#count += 1;
    yield* super.next(lexeme);
    const { depth, tokens } = this.#limits;
    if (this.#count > tokens) this.excess = { offset: this.offset, message: "the file holds too much; split it" };
    else if (this.stack.length > depth) {
      this.excess = { offset: this.offset, message: `nested deeper than ${depth} levels` };
    }
  }

  override *end(): Generator<CST.Token, void> {
    // What stands on the stack of a refused file is of no use, and may be deep.
    if (this.excess === null) yield* super.end();
  }
}

type Composed = Document.Parsed<ParsedNode>;

/** The last quote or bracket that is opened and not closed; null where there is none. */
function unclosed(node: unknown, source: string): number | null {
  const [start = 0, end = 0] = (isScalar(node) || isMap(node) || isSeq(node)) && node.range ? node.range : [];
  if (isScalar(node)) {
    const quoted = node.type === "QUOTE_DOUBLE" || node.type === "QUOTE_SINGLE";
    return quoted && (end - start < 2 || source[end - 1] !== source[start]) ? start : null;
  }
  if (!isMap(node) && !isSeq(node)) return null;
  for (const item of node.items.toReversed()) {
    const inner = isScalar(item) || isMap(item) || isSeq(item) ? unclosed(item, source) : lastOf(item, source);
    if (inner !== null) return inner;
  }
  const open = source[start] === "[" ? "]" : "}";
  return node.flow === true && source[end - 1] !== open ? start : null;
}

const lastOf = (pair: unknown, source: string): number | null => {
  const { key, value } = pair as { readonly key?: unknown; readonly value?: unknown };
  return unclosed(value, source) ?? unclosed(key, source);
};

/** What the parser found. What it misses at the end of a text is shown where it was opened. */
function syntaxFlaws({ errors, warnings, contents }: Composed, source: string): readonly Flaw[] {
  return [...errors, ...warnings].map(({ code, pos: [offset] }) => {
    const atEnd = source.slice(offset).trim() === "" && (code === "MISSING_CHAR" || code === "BAD_INDENT");
    const opened = atEnd ? unclosed(contents, source) : null;
    if (opened === null) return { offset, message: syntax[code] ?? brokenMessage };
    return { offset: opened, message: "this quote or bracket is not closed" };
  });
}

function readDocument(
  document: Composed,
  extent: { readonly from: number; readonly to: number },
  refused: readonly Flaw[],
  source: string,
): ParsedDocument {
  const { from, to } = extent;
  const node = document.contents as ParsedNode;
  const found = syntaxFlaws(document, source);
  // A sign that is refused makes the parser complain about what follows from it; the sign is what is to be mended.
  const signs = refused.filter(({ offset }) => offset >= from && offset < to);
  const outer = signs.length > 0 ? signs : found;
  const base = { from, to, start: node.range[0], node };
  if (outer.length > 0) return { ...base, value: null, readable: false, flaws: distinct(outer) };
  const conversion = new Conversion();
  const value = conversion.value(node);
  const { whole, flaws } = conversion;
  return { ...base, value: whole ? value : null, readable: whole, flaws: distinct(flaws) };
}

/** One fault a place is enough, and a hundred a document. */
function distinct(flaws: readonly Flaw[]): readonly Flaw[] {
  const seen = new Set<number>();
  const first = flaws.filter(({ offset }) => !seen.has(offset) && seen.add(offset));
  return first.sort((a, b) => a.offset - b.offset).slice(0, 100);
}

/** Nothing but blanks and comments: `---` twice, or a file without content. */
const isEmpty = ({ contents }: Composed): boolean =>
  isScalar(contents) && contents.value === null && (contents.source ?? "") === "";

/** Reads a whole file. Never throws. */
export function parseFile(bytes: Uint8Array, limits: ParseLimits): ParsedFile {
  if (bytes.length > limits.fileBytes) {
    const message = `the file has ${bytes.length} bytes; at most ${limits.fileBytes} are read`;
    return { text: new Text(""), documents: [], flaws: [{ offset: 0, message }] };
  }
  const { text, flaw } = decode(bytes);
  const refuse = (one: Flaw): ParsedFile => ({ text, documents: [], flaws: [one] });
  if (flaw !== null) return refuse(flaw);
  const odd = unprintable.exec(text.source);
  if (odd !== null) {
    const message =
      odd[0] === "\r"
        ? "a carriage return that ends no line; save the file with LF or CRLF line ends"
        : "a control character, which no YAML text holds";
    return refuse({ offset: odd.index, message });
  }
  try {
    return compose(text, limits);
  } catch {
    // The library's own limits (the call stack) come after ours; whatever is beyond them is refused.
    return refuse({ offset: 0, message: "the file cannot be read: it is nested too deeply, or not YAML" });
  }
}

function compose(text: Text, limits: ParseLimits): ParsedFile {
  const parser = new CountingParser(limits);
  const tokens = [...parser.parse(text.source)];
  const { excess, refused } = parser;
  if (excess !== null) {
    return { text, documents: [], flaws: [{ ...excess, offset: Math.min(excess.offset, text.source.length) }] };
  }
  const composer = new Composer({ version: "1.2", schema, strict: true, uniqueKeys: false, logLevel: "silent" });
  const composed = [...composer.compose(tokens, false, text.source.length)] as Composed[];
  // Faults of the stream that no document takes up stay with the composer.
  const left = composer.streamInfo();
  const documents: ParsedDocument[] = [];
  let from = 0;
  for (const [at, document] of composed.entries()) {
    const to = at === composed.length - 1 ? text.source.length + 1 : document.range[2];
    const read = readDocument(document, { from, to }, refused, text.source);
    from = to;
    if (read.flaws.length > 0 || !isEmpty(document)) documents.push(read);
  }
  const stray = [
    ...left.errors.map(({ code, pos }) => ({ offset: pos[0], message: syntax[code] ?? brokenMessage })),
    ...(composed.length === 0 ? refused : []),
  ];
  return { text, documents, flaws: distinct(stray) };
}
