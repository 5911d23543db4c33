// The text of the server configuration: strict YAML 1.2 with the place of each key and value.
// Must hold: no message repeats anything of the text but key names.

import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml";
import type { Problem } from "./sdk/errors.ts";

/** All that is wrong with the file; the message is one line a fault. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[];
  override readonly name = "ConfigError";
  constructor(problems: readonly Problem[]) {
    super(problems.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`).join("\n"));
    this.problems = problems;
  }
}

/** What is wrong, and the way to the value that it is about; with `key` the place is that key of the value. */
export interface Fault {
  readonly at: readonly (string | number)[];
  readonly key?: string;
  readonly message: string;
}

export interface ConfigText {
  readonly value: unknown;
  /** The faults at their places, in the order of the file. */
  error(faults: readonly Fault[]): ConfigError;
}

/** The parser's own messages may quote the text, so only its codes are used. */
const syntax: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: "this key stands twice in one map; remove one",
  TAB_AS_INDENT: "indented with a tab; use spaces",
  BAD_INDENT: "wrong indentation",
  MISSING_CHAR: "a character is missing here: an end of a quote, a bracket, or the space after a colon",
  BLOCK_AS_IMPLICIT_KEY: "wrong indentation, or a colon in a value that needs quotes",
  MULTIPLE_DOCS: "one configuration is one document; remove the line ---",
  TAG_RESOLVE_FAILED: "tags (!) are not used here",
};

/** Refuses what makes a file mean something else than it looks like. */
function oddities(document: ReturnType<typeof parseDocument>): readonly { offset: number; message: string }[] {
  const found: { offset: number; message: string }[] = [];
  visit(document, (key, node) => {
    if (!isNode(node)) return;
    const offset = node.range?.[0] ?? 0;
    if (isAlias(node) || node.anchor !== undefined) {
      found.push({
        offset,
        message: "anchors and aliases (& and *) are not used here; write the value out, or quote it",
      });
    } else if (node.tag !== undefined && !node.tag.startsWith("tag:yaml.org,2002:")) {
      found.push({ offset, message: "tags (!) are not used here" });
    }
    if (key === "key" && !(isScalar(node) && typeof node.value === "string")) {
      found.push({ offset, message: "keys are plain words" });
    }
  });
  return found;
}

/** Throws ConfigError where the text is no YAML. `file` names it in errors. */
export function parseConfigText(text: string, file: string): ConfigText {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    version: "1.2",
    schema: "core",
    strict: true,
    uniqueKeys: true,
    prettyErrors: false,
    lineCounter: lines,
  });
  const problem = (offset: number, message: string): Problem => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1), message };
  };
  const offsetOf = ({ at, key }: Fault): number => {
    let node: unknown = document.contents;
    let offset = 0;
    for (const step of key === undefined ? at : [...at, key]) {
      if (isMap(node)) {
        const pair = node.items.find((each) => isScalar(each.key) && each.key.value === step);
        if (pair === undefined) break;
        if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
        if (isNode(node)) offset = node.range?.[0] ?? offset;
      } else break;
    }
    return offset;
  };
  const all = [...document.errors, ...document.warnings];
  const broken = [
    ...all.map(({ code, pos }) => ({ offset: pos[0], message: syntax[code] ?? "this is not valid YAML" })),
    ...(all.length > 0 ? [] : oddities(document)),
  ];
  if (broken.length > 0) throw new ConfigError(broken.map(({ offset, message }) => problem(offset, message)));
  return {
    value: document.toJS() as unknown,
    error: (faults) => {
      const placed = faults.map((fault) => ({ offset: offsetOf(fault), message: fault.message }));
      placed.sort((a, b) => a.offset - b.offset);
      return new ConfigError(placed.map(({ offset, message }) => problem(offset, message)));
    },
  };
}
