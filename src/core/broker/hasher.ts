// What the audit shows in place of a value: HMAC-SHA-256 under a key of this vault, as Vault prints it. Whoever may ask
// `sys/audit-hash` can tell whether a value that he knows is the one in an entry; nobody can read one out of it.
// Must hold: no string and no number of the input stands in the output, at whatever depth, but under the names that an
// operator has said are no secrets; the names of fields do.

import type { KeyObject } from "node:crypto";
import { Hmac } from "../../lib/hmac.ts";

const prefix = "hmac-sha256:";
/** Levels, and parts in all (a name counts once more for every 64 characters), that are hashed one by one. */
const deepest = 200;
const most = 16_384;
/** Parts of a list that stand in clear. */
const mostClear = 256;
/** Characters of a text that stands in clear. */
const longestClear = 4096;
/** Numbers below this, which versions and counts are for the most part, are hashed once. */
const small = 256;
const tooMuch = new Error("too many parts");

export class Hasher {
  readonly #mac: Hmac;
  /** In quotes: of the empty text, and of small numbers. Nobody learns from them what he could not ask for. */
  #empty = "";
  readonly #numbers: string[] = [];
  #budget = 0;

  /** With prepared blocks of its own, which end with the log. */
  constructor(key: KeyObject) {
    this.#mac = new Hmac(key);
  }

  /** "hmac-sha256:" and 64 hex digits. */
  hash(text: string): string {
    return prefix + this.#mac.hex(text);
  }

  /** The JSON text of a value: strings and numbers hashed (numbers by their JSON text), booleans, null and names kept. A
   *  value with more parts, deeper or with longer names than anybody reads is hashed as one text: what a client sends must
   *  not hold up the server, or fill its log. Under a name of `clear` a text, a number or a list of them stays as it is. */
  json(value: unknown, clear: ReadonlySet<string> | null = null): string {
    this.#budget = most;
    try {
      return this.#json(value, 0, clear);
    } catch (error) {
      if (error !== tooMuch) throw error;
      return `"${prefix}${this.#whole(value)}"`;
    }
  }

  /** The hash of the whole text, which never is there as a whole. */
  #whole(value: unknown): string {
    try {
      return this.#mac.hexOf(gathered(textsOf(value)));
    } catch (error) {
      if (error instanceof RangeError) return this.#mac.hex("nested too deeply");
      throw error;
    }
  }

  #json(value: unknown, depth: number, clear: ReadonlySet<string> | null): string {
    if (--this.#budget < 0 || depth > deepest) throw tooMuch;
    if (typeof value === "string") return value === "" ? (this.#empty ||= this.#quoted("")) : this.#quoted(value);
    if (typeof value === "boolean") return value ? "true" : "false";
    if (typeof value === "number" && Number.isFinite(value)) return this.#number(value);
    if (typeof value === "bigint") return `"${this.hash(String(value))}"`;
    if (typeof value !== "object" || value === null) return "null";
    if (isRaw(value)) return `"${this.hash(JSON.stringify(value))}"`;
    if (Array.isArray(value)) {
      this.#fits(value.length);
      let items = "";
      for (const item of value as readonly unknown[])
        items += `${items === "" ? "" : ","}${this.#json(item, depth + 1, clear)}`;
      return `[${items}]`;
    }
    const names = Object.keys(value);
    this.#fits(names.length);
    let members = "";
    for (const name of names) {
      const member = (value as Record<string, unknown>)[name];
      if (member === undefined) continue;
      this.#budget -= name.length >> 6;
      const text = clear?.has(name) && isShort(member) ? JSON.stringify(member) : this.#json(member, depth + 1, clear);
      members += `${members === "" ? "" : ","}${JSON.stringify(name)}:${text}`;
    }
    return `{${members}}`;
  }

  #quoted(text: string): string {
    return `"${this.hash(text)}"`;
  }

  #number(value: number): string {
    if (!(value >= 0 && value < small && Number.isInteger(value))) return this.#quoted(JSON.stringify(value));
    return (this.#numbers[value] ??= this.#quoted(String(value)));
  }

  /** Before much is done for nothing. */
  #fits(parts: number): void {
    if (parts > this.#budget) throw tooMuch;
  }

  /** Overwrites the key. */
  wipe(): void {
    this.#mac.wipe();
    this.#empty = "";
    this.#numbers.length = 0;
  }
}

/** A text or a number of a length that may stand in a log, or a list of them. */
function isShort(value: unknown): boolean {
  if (Array.isArray(value))
    return value.length <= mostClear && value.every((one) => !Array.isArray(one) && isShort(one));
  return (typeof value === "string" && value.length <= longestClear) || typeof value === "number";
}

/** What JSON.stringify gives, in parts. */
function* textsOf(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null || isRaw(value)) {
    yield JSON.stringify(value) ?? "null";
  } else if (Array.isArray(value)) {
    yield "[";
    for (let at = 0; at < value.length; at++) {
      if (at > 0) yield ",";
      yield* textsOf(value[at]);
    }
    yield "]";
  } else {
    let divider = "{";
    for (const name of Object.keys(value)) {
      const member = (value as Record<string, unknown>)[name];
      if (member === undefined) continue;
      yield `${divider}${JSON.stringify(name)}:`;
      yield* textsOf(member);
      divider = ",";
    }
    yield divider === "{" ? "{}" : "}";
  }
}

/** Characters that are worth a hash's attention. */
const handful = 64 * 1024;

function* gathered(texts: Iterable<string>): Generator<string> {
  let text = "";
  for (const each of texts) {
    text += each;
    if (text.length < handful) continue;
    yield text;
    text = "";
  }
  yield text;
}

// Numbers beyond 2^53 may come as raw JSON; TypeScript's library does not know them yet.
const { isRawJSON: isRaw } = JSON as unknown as { isRawJSON: (this: void, value: unknown) => boolean };
