// One document file, compiled as far as it can be without the others: the unit that is cached.
// Must hold: the same path, bytes and kinds give the same result; problems are masked here, where the text is.

import { isMap, isScalar, isSeq, type ParsedNode } from "yaml";
import type { Problem } from "../sdk/errors.ts";
import { declarationKey, type Declaration } from "../sdk/kind.ts";
import type { DocumentFault } from "./faults.ts";
import { mountOf, type MountPoint } from "./kinds.ts";
import { Masks } from "./mask.ts";
import { type ParsedDocument, type ParsedFile, parseFile, type ParseLimits } from "./parse.ts";
import type { Flaw } from "./plain.ts";
import type { Reference } from "./spec.ts";
import { type Beyond, type Catalog, fieldsOf, validate } from "./validate.ts";

/** What one document says of itself. */
export interface Entry {
  readonly key: string;
  readonly kind: string;
  readonly mount: string | null;
  readonly name: string;
  readonly source: NonNullable<Declaration["source"]>;
  readonly external: boolean;
  readonly declaration: Declaration | null;
  /** What it mounts, where it is a mount. */
  readonly mounts: MountPoint | null;
}

/** A document with what is still to be asked of it; `at` counts the documents of its file. */
export interface Unit {
  readonly at: number;
  readonly entry: Entry | null;
  readonly references: readonly Reference[];
  readonly beyond: readonly Beyond[];
}

export interface CompiledFile {
  readonly units: readonly Unit[];
  readonly problems: readonly Problem[];
  /** Text that could not be read, lower case: who knows which names are in it. */
  readonly unread: readonly string[];
}

/** Where a fault is to be shown: the value, or the key that it hangs from where the value spans lines. */
function offsetOf(document: ParsedDocument, { path, key }: Pick<DocumentFault, "path" | "key">): number {
  let node: unknown = document.node;
  let offset = document.start;
  for (const step of key === undefined ? path : [...path, key]) {
    const found = isMap(node) ? memberOf(node.items, step) : null;
    if (found !== null) {
      offset = (found.key as ParsedNode).range[0];
      node = found.value;
    } else if (isSeq(node) && typeof step === "number") {
      node = node.items[step];
      offset = (node as ParsedNode | undefined)?.range[0] ?? offset;
    } else return offset;
  }
  if (key !== undefined) return offset;
  const inline = isScalar(node) ? node.value !== null : (isMap(node) || isSeq(node)) && node.flow === true;
  return inline ? (node as ParsedNode).range[0] : offset;
}

function memberOf(
  items: readonly { readonly key: unknown; readonly value: unknown }[],
  step: string | number,
): { readonly key: unknown; readonly value: unknown } | null {
  return items.find(({ key }) => isScalar(key) && String(key.value) === String(step)) ?? null;
}

/** A file that is open for questions about places. */
export class OpenFile {
  readonly path: string;
  readonly parsed: ParsedFile;
  readonly #masks: Masks;

  constructor(path: string, bytes: Uint8Array, catalog: Catalog, limits: ParseLimits) {
    this.path = path;
    this.parsed = parseFile(bytes, limits);
    this.#masks = new Masks(this.parsed, (document) => fieldsOf(catalog, document.value), catalog.words);
  }

  problem(flaw: Flaw): Problem {
    const excerpt = this.#masks.excerpt(flaw);
    const place = this.parsed.text.place(flaw.offset);
    return { file: this.path, ...place, message: flaw.message, ...(excerpt !== "" && { excerpt }) };
  }

  /** A fault of the document that is number `at`. */
  fault(at: number, fault: Pick<DocumentFault, "path" | "key" | "message">): Problem {
    const document = this.parsed.documents[at];
    const offset = document === undefined ? 0 : offsetOf(document, fault);
    return this.problem({ offset, message: fault.message });
  }
}

function entryOf(
  file: string,
  place: { readonly line: number; readonly column: number },
  { identity, external, declaration }: ReturnType<typeof validate>,
): Entry | null {
  if (identity === null) return null;
  const { kind, mount, name } = identity;
  return {
    key: declarationKey(kind, mount, name),
    kind,
    mount,
    name,
    source: Object.freeze({ file, ...place }),
    external,
    declaration,
    mounts: mountOf(kind, name, declaration?.spec ?? null),
  };
}

/** Compiles one file. Never throws, whatever the bytes. */
export function compileFile(path: string, bytes: Uint8Array, catalog: Catalog, limits: ParseLimits): CompiledFile {
  const file = new OpenFile(path, bytes, catalog, limits);
  const { documents, flaws, text } = file.parsed;
  const problems = flaws.map((flaw) => file.problem(flaw));
  const unread: string[] = [];
  const units: Unit[] = [];
  if (flaws.length > 0) unread.push(text.source.toLowerCase());
  for (const [at, document] of documents.entries()) {
    problems.push(...document.flaws.map((flaw) => file.problem(flaw)));
    if (!document.readable) {
      unread.push(text.source.slice(document.from, document.to).toLowerCase());
      continue;
    }
    const place = text.place(document.start);
    const validated = validate(catalog, document.value, { file: path, ...place });
    problems.push(...validated.faults.map((fault) => file.fault(at, fault)));
    const entry = entryOf(path, place, validated);
    if (entry === null) unread.push(text.source.slice(document.from, document.to).toLowerCase());
    const { references, beyond } = validated;
    // A key that stands twice leaves the document readable, but not to be taken at its word.
    const sound = document.flaws.length === 0;
    units.push({ at, entry: entry === null || sound ? entry : { ...entry, declaration: null }, references, beyond });
  }
  return { units, problems, unread };
}
