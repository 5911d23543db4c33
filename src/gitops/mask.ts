// The line that a problem is about, with everything masked that might be a secret: values of secret and unknown fields,
// comments, and in a document that cannot be read everything but known keys.
// Must hold: what is shown is a key, punctuation, or the value of a known field that is no secret. When in doubt, masked.

import { isMap, isScalar, isSeq } from "yaml";
import type { Field, Fields } from "../sdk/fields.ts";
import type { ParsedDocument, ParsedFile } from "./parse.ts";
import type { Flaw } from "./plain.ts";

const mask = "***";
const longest = 160;

/** What is known of a node: a field, any shown content, or nothing. */
type Shape = Field | "shown" | "hidden" | "reference";

interface Span {
  readonly start: number;
  readonly end: number;
  readonly shown: boolean;
}

const referenceKeys = new Set(["from_secret", "path", "key"]);
/** A key that is a name, as fields have them. Others, above all with digits, might be text that lost its place. */
export const isWord = (name: string): boolean => /^[\p{L}_$][\p{L}_$.-]{0,39}$/u.test(name);
const isPlain = ({ type }: Field): boolean =>
  type === "string" || type === "int" || type === "bool" || type === "duration";

/** Whether a key is shown, and what its value is. */
function member(shape: Shape, name: string): readonly [shown: boolean, value: Shape] {
  if (shape === "shown") return [true, "shown"];
  if (shape === "reference") return [referenceKeys.has(name), "reference"];
  if (shape === "hidden") return [false, "hidden"];
  if (shape.type === "json") return [true, "shown"];
  if (shape.type === "map") return [true, { type: "string", description: "" }];
  if (shape.type !== "object" && shape.type !== "list") return [false, "hidden"];
  const entry = shape.fields !== undefined && Object.hasOwn(shape.fields, name) ? shape.fields[name] : undefined;
  if (entry === undefined) return [isWord(name), "hidden"];
  return [true, entry.secret === true ? "reference" : entry];
}

function item(shape: Shape): Shape {
  if (typeof shape === "string") return shape;
  if (shape.type === "json") return "shown";
  if (shape.type === "strings") return { type: "string", description: "" };
  return shape.type === "list" ? { ...shape, type: "object" } : "hidden";
}

function scalarShown(shape: Shape): boolean {
  if (typeof shape === "string") return shape === "shown";
  return isPlain(shape) || shape.type === "json" || shape.type === "strings";
}

function collect(node: unknown, shape: Shape, source: string, spans: Span[]): void {
  if (isScalar(node)) {
    const [start = 0, end = 0] = node.range ?? [];
    const shown = scalarShown(shape);
    const block = node.type === "BLOCK_LITERAL" || node.type === "BLOCK_FOLDED";
    const line = block || node.type === "PLAIN" ? source.indexOf("\n", start) : -1;
    if (line < 0 || line >= end) spans.push({ start, end, shown });
    // The header of a block scalar may end in a comment, which is no part of the value. A plain one that goes on below its
    // line may have swallowed what was meant to stand for itself.
    else if (block) spans.push({ start: line, end, shown });
    else spans.push({ start, end: line, shown }, { start: line, end, shown: false });
  } else if (isSeq(node)) {
    for (const each of node.items) collect(each, item(shape), source, spans);
  } else if (isMap(node)) {
    // A list may hold maps; a map where a list is meant is not understood.
    const own = typeof shape !== "string" && shape.type === "list" ? "hidden" : shape;
    for (const { key, value } of node.items) {
      const [shown, next] = member(own, isScalar(key) ? String(key.value) : "");
      collect(key, shown ? "shown" : "hidden", source, spans);
      collect(value, next, source, spans);
    }
  }
}

/** Text without what a terminal would obey. */
export const clean = (text: string): string =>
  text.replaceAll("\t", " ").replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");

/** Between scalars there are signs, blanks and comments. */
function signs(gap: string): string {
  const comment = gap.indexOf("#");
  const code = comment < 0 ? gap : gap.slice(0, comment);
  return code.replaceAll(/[^\s{}[\],:?|>-]+/g, mask) + (comment < 0 ? "" : `# ${mask}`);
}

function maskRead(line: string, start: number, spans: readonly Span[]): string {
  let result = "";
  let at = 0;
  for (const span of spans) {
    const from = Math.max(span.start - start, at);
    const to = Math.min(span.end - start, line.length);
    if (to <= from) continue;
    result += signs(line.slice(at, from));
    result += span.shown ? clean(line.slice(from, to)) : mask;
    at = to;
  }
  return result + signs(line.slice(at));
}

const keyed = /^(?<lead>\s*(?:- +)*)(?<quote>["']?)(?<name>[A-Za-z_][A-Za-z0-9_]*)\k<quote>:(?<rest>\s.*)?$/;

/** Where structure is in doubt, only the names that documents have are told from secrets. */
function maskUnread(line: string, words: ReadonlySet<string>): string {
  if (line.trim() === "") return "";
  const { lead = "", name = "", rest = "" } = keyed.exec(line)?.groups ?? {};
  if (!words.has(name)) return `${/^\s*/.exec(line)?.[0] ?? ""}${mask}`;
  return `${lead}${name}:${rest.trim() === "" ? "" : ` ${mask}`}`;
}

/** Makes the excerpts of one file. */
export class Masks {
  readonly #file: ParsedFile;
  readonly #fieldsOf: (document: ParsedDocument) => Fields;
  readonly #words: ReadonlySet<string>;
  readonly #spans = new Map<ParsedDocument, readonly Span[]>();

  /** `fieldsOf` gives the members of a readable document; `words` are the names of all known fields. */
  constructor(file: ParsedFile, fieldsOf: (document: ParsedDocument) => Fields, words: ReadonlySet<string>) {
    this.#file = file;
    this.#fieldsOf = fieldsOf;
    this.#words = words;
  }

  /** The masked line at an offset, at most 160 characters; empty where the line is. */
  excerpt({ offset }: Flaw): string {
    const { start, line } = this.#file.text.lineAt(offset);
    const document = this.#file.documents.find(({ from, to }) => offset >= from && offset < to);
    const text =
      document?.readable === true && start >= document.from
        ? maskRead(line, start, this.#spansOf(document))
        : maskUnread(line, this.#words);
    const short = text.replaceAll("\t", " ").trimEnd();
    return short.length > longest ? `${short.slice(0, longest - 1)}…` : short;
  }

  #spansOf(document: ParsedDocument): readonly Span[] {
    let spans = this.#spans.get(document);
    if (spans === undefined) {
      const found: Span[] = [];
      const root: Field = { type: "object", description: "", fields: this.#fieldsOf(document) };
      collect(document.node, root, this.#file.text.source, found);
      spans = found;
      this.#spans.set(document, spans);
    }
    return spans;
  }
}
