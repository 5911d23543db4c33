// Declarations by kind and mount, as an immutable value: a change copies one shelf, so that a generation of ten thousand
// documents follows its predecessor in microseconds and whoever holds the old one keeps it whole.

import { declarationKey, type Declaration } from "../sdk/kind.ts";

export type Shelf = ReadonlyMap<string, Declaration>;
const none: Shelf = new Map();

const shelfKey = (kind: string, mount: string | null): string => `${kind}\n${mount ?? ""}`;

export class Table {
  readonly #shelves: ReadonlyMap<string, Shelf>;

  constructor(shelves: ReadonlyMap<string, Shelf> = new Map()) {
    this.#shelves = shelves;
  }

  static of(declarations: Iterable<Declaration>): Table {
    return new Table().with([...declarations], []);
  }

  shelf(kind: string, mount: string | null): Shelf {
    return this.#shelves.get(shelfKey(kind, mount)) ?? none;
  }

  get(kind: string, mount: string | null, name: string): Declaration | null {
    return this.shelf(kind, mount).get(name) ?? null;
  }

  *[Symbol.iterator](): Iterator<Declaration> {
    for (const shelf of this.#shelves.values()) yield* shelf.values();
  }

  with(put: readonly Declaration[], remove: readonly Declaration[]): Table {
    const shelves = new Map(this.#shelves);
    const open = new Map<string, Map<string, Declaration>>();
    const writable = (declaration: Declaration): Map<string, Declaration> => {
      const key = shelfKey(declaration.kind, declaration.mount);
      let shelf = open.get(key);
      if (shelf === undefined) {
        shelf = new Map(shelves.get(key) ?? none);
        open.set(key, shelf);
        shelves.set(key, shelf);
      }
      return shelf;
    };
    for (const declaration of remove) writable(declaration).delete(declaration.name);
    for (const declaration of put) writable(declaration).set(declaration.name, declaration);
    for (const [key, shelf] of open) if (shelf.size === 0) shelves.delete(key);
    return new Table(shelves);
  }
}

export const keyOf = (declaration: Declaration): string =>
  declarationKey(declaration.kind, declaration.mount, declaration.name);
