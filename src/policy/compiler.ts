// Conditions on their way from JSON to closures: types, literals, and the walk; the operators are given.
// Must hold: what compiles has no type error left; nothing of a condition is reached but by own members; size and depth are
// bounded while compiling, steps while running.

import { VaultError } from "../sdk/errors.ts";
import type { Fault } from "../sdk/kind.ts";
import { type Facts, flag, number, numbers, text, texts, type Type, type Value } from "./facts.ts";
import type { Zone } from "./zone.ts";

/** Operators and literals of one condition, nesting of operators, characters of a text. */
export const limits = { size: 500, depth: 12, text: 1024 } as const;
/** Operators that one evaluation may run, and members of lists that it may look at. */
const budget = 20_000;

/** Ends an evaluation: what the rule allows is withheld. One object, for it is thrown in the course of a request. */
const withheld = new VaultError("denied", "a condition cannot be answered");
export const withhold = (): never => {
  throw withheld;
};

/** One evaluation. */
export class Run {
  readonly facts: Facts;
  /** The member that `some`, `all` and `none` look at. */
  item = "";
  #left = budget;

  constructor(facts: Facts) {
    this.facts = facts;
  }

  spend(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) withhold();
  }
}

export type Read = (run: Run) => Value;

/** A compiled part. */
export interface Part {
  readonly type: Type;
  readonly read: Read;
  /** Where it is written out. */
  readonly literal: Value | null;
}

export type Path = readonly (string | number)[];

/** One use of an operator. */
export interface Use {
  readonly compiler: Compiler;
  /** To the operator. */
  readonly path: Path;
  readonly args: readonly unknown[];
  /** To an argument. */
  readonly at: (index: number) => Path;
}
export type Operator = (use: Use) => Part | null;

/** What the operators compile with. A fault is kept, and the part is null. */
export class Compiler {
  readonly zone: Zone;
  readonly faults: Fault[] = [];
  /** The type of `{ var: "" }` inside some, all and none; null elsewhere. */
  item: Type | null = null;
  readsFacts = false;
  readonly #operators: ReadonlyMap<string, Operator>;
  #size = 0;
  #depth = 0;

  constructor(zone: Zone, operators: ReadonlyMap<string, Operator>) {
    this.zone = zone;
    this.#operators = operators;
  }

  fault(path: Path, message: string): null {
    // The first of them is enough where the whole is too large.
    if (this.faults.length < 20) this.faults.push({ path, message });
    return null;
  }

  /** Any part. */
  part(node: unknown, path: Path): Part | null {
    this.#size += 1;
    if (this.#size > limits.size) {
      return this.#size === limits.size + 1 ? this.fault(path, `a condition has at most ${limits.size} parts`) : null;
    }
    if (typeof node === "string") {
      if (node.length <= limits.text) return constant(text, node);
      return this.fault(path, `a text in a condition has at most ${limits.text} characters`);
    }
    if (typeof node === "number" && Number.isFinite(node)) return constant(number, node);
    if (typeof node === "boolean") return constant(flag, node);
    if (Array.isArray(node)) return this.#list(node, path);
    if (typeof node === "object" && node !== null) return this.#operation(node, path);
    return this.fault(path, "has no value; a condition is made of operators, facts, texts, numbers, true and false");
  }

  /** A part that is true or false. */
  test(node: unknown, path: Path): ((run: Run) => boolean) | null {
    const part = this.part(node, path);
    if (part === null) return null;
    if (part.type.base !== "flag") return this.fault(path, `is ${part.type.name}, where true or false is needed`);
    return part.read as (run: Run) => boolean;
  }

  #list(nodes: readonly unknown[], path: Path): Part | null {
    if (nodes.length === 0) return this.fault(path, "an empty list: nothing is in it");
    const items = nodes.map((node, at) => this.part(node, [...path, at]));
    if (items.includes(null)) return null;
    const kind = items[0]?.type.base;
    if (kind !== "text" && kind !== "number")
      return this.fault([...path, 0], "a list holds texts or numbers, written out");
    for (const [at, item] of items.entries()) {
      if (item?.literal === null) return this.fault([...path, at], "a list holds texts or numbers, written out");
      if (item?.type.base !== kind) return this.fault([...path, at], "a list holds texts or numbers, not both");
    }
    return constant(kind === "text" ? texts : numbers, items.map((item) => item?.literal) as unknown as Value);
  }

  #operation(node: object, path: Path): Part | null {
    const [name, second] = Object.keys(node);
    if (name === undefined) return this.fault(path, `an empty map; write one operator, such as ${example}`);
    if (second !== undefined) {
      return this.fault(
        [...path, second],
        `two operators in one map; put them into a list below "and" or "or", such as ${example}`,
      );
    }
    const operator = this.#operators.get(name);
    const here = [...path, name];
    if (operator === undefined) {
      const why = refused.get(name);
      const known = [...this.#operators.keys()].join(" ");
      return this.fault(here, `no operator is called ${JSON.stringify(name)}: ${why ?? `there are ${known}`}`);
    }
    if (this.#depth === limits.depth) return this.fault(path, `operators are nested at most ${limits.depth} deep`);
    this.#depth += 1;
    const value = (node as Readonly<Record<string, unknown>>)[name];
    const listed = Array.isArray(value);
    const made = operator({
      compiler: this,
      path: here,
      args: listed ? (value as readonly unknown[]) : [value],
      at: (index) => (listed ? [...here, index] : here),
    });
    this.#depth -= 1;
    return made;
  }
}

const example = "{ in: [{ var: time.weekday }, [mon, tue]] }";

/** Operators of JSON Logic that are left out, and what to write instead. */
const refused: ReadonlyMap<string, string> = new Map([
  ["!!", "only true and false are tested here, so there is nothing to turn into them"],
  ["if", "write and, or and ! instead"],
  ["?:", "write and, or and ! instead"],
  ["missing", "a fact that is missing withholds by itself"],
  ["missing_some", "a fact that is missing withholds by itself"],
  ["log", "what a condition reads is in the audit"],
  ["substr", "write starts_with or ends_with instead"],
]);

const constant = (type: Type, literal: Value): Part => ({ type, literal, read: () => literal });
