// YAML nodes as plain data: maps with text for keys, lists, strings, exact numbers, true, false, null.
// Must hold: what is returned can be written as JSON and read back the same; no key stands twice, none is a name that
// JavaScript objects have by nature.

import { isAlias, isMap, isScalar, isSeq, type ParsedNode, type YAMLMap } from "yaml";

/** What is wrong, at an offset into the text. */
export interface Flaw {
  readonly offset: number;
  readonly message: string;
}

const forbiddenKeys = new Set(["__proto__", "constructor", "prototype"]);
const printableKey = (key: string): string =>
  /^[\p{L}\p{N}_$./ <-]{1,64}$/u.test(key) ? `the key "${key}"` : "this key";

/** A key as text: 1 and "1" are the same. */
const nameOf = (value: unknown): string =>
  typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : "";

/** Turns nodes into plain data and names what plain data cannot hold. */
export class Conversion {
  readonly flaws: Flaw[] = [];
  /** Whether every value could be told. */
  whole = true;

  value(node: unknown): unknown {
    if (isScalar(node)) return this.#scalar(node.value, node.range?.[0] ?? 0, node.type === "PLAIN" ? node.source : "");
    if (isMap(node)) return this.#map(node);
    if (isSeq(node)) return node.items.map((item) => this.value(item));
    // An alias is named by its sign already.
    if (isAlias(node)) this.whole = false;
    return null;
  }

  #scalar(value: unknown, offset: number, plain: string | undefined): unknown {
    if (typeof value === "number") return this.#number(value, offset, plain ?? "");
    if (typeof value === "string") {
      if (value.includes("\0") || !value.isWellFormed()) {
        return this.#unusable(offset, "the text holds a NUL or half of a surrogate pair");
      }
      return value;
    }
    return typeof value === "boolean" ? value : null;
  }

  #number(value: number, offset: number, plain: string): unknown {
    if (!Number.isFinite(value)) return this.#unusable(offset, "this is no finite number; quote it if it is text");
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      return this.#unusable(offset, "this number is too large to be exact; quote it if it is text");
    }
    if (/^[-+]?0\d/.test(plain)) {
      return this.#unusable(
        offset,
        "a number with leading zeros is octal to some readers; quote it, or drop the zeros",
      );
    }
    // Minus zero has no place in JSON.
    return value + 0;
  }

  #unusable(offset: number, message: string): null {
    this.flaws.push({ offset, message });
    this.whole = false;
    return null;
  }

  #map(node: YAMLMap): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    const seen = new Set<string>();
    for (const { key, value } of node.items) {
      const name = this.#key(key, seen);
      // The value is looked through all the same: its faults are reported with the key's.
      const member = this.value(value);
      if (name !== null) result[name] = member;
    }
    return result;
  }

  /** The name, or null where the pair is refused. */
  #key(key: unknown, seen: Set<string>): string | null {
    if (!isScalar(key)) {
      const offset = (key as ParsedNode | null)?.range?.[0] ?? 0;
      this.flaws.push({ offset, message: "a key is a word, not a list or a map" });
      this.whole = false;
      return null;
    }
    const offset = key.range?.[0] ?? 0;
    const name = nameOf(key.value);
    const fault = this.#keyFault(key.value, name, seen.has(name));
    seen.add(name);
    if (fault === null) return name;
    this.flaws.push({ offset, message: fault });
    return null;
  }

  #keyFault(value: unknown, name: string, twice: boolean): string | null {
    if (twice) return `${printableKey(name)} stands twice in one map; remove one`;
    if (name === "<<") return "merge keys (<<) are not used here; write the fields out";
    // JSON.parse of current Node versions garbles other names once it has read such a one (src/api/body.ts).
    if (name === "\\") return "a key must not be a backslash alone";
    if (forbiddenKeys.has(name)) return `${printableKey(name)} is not allowed`;
    if (typeof value !== "string") return "a key must be text: put it in quotes";
    if (/[\p{Cc}\p{Cs}]/u.test(name)) return "a key holds a control character";
    return null;
  }
}
