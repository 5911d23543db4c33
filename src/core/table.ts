// Declarations by kind and mount, as an immutable value: a change copies a few shards of a shelf, so that a generation of ten
// thousand documents follows its predecessor in microseconds and whoever holds the old one keeps it whole.

import { type Draft, Shards } from "../lib/shards.ts";
import { declarationKey, type Declaration } from "../sdk/kind.ts";

/** By name. What did not change is the same object from one table to the next. */
export type Shelf = Shards<Declaration>;
export const noShelf: Shelf = new Shards();

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
    return this.#shelves.get(shelfKey(kind, mount)) ?? noShelf;
  }

  get(kind: string, mount: string | null, name: string): Declaration | null {
    return this.shelf(kind, mount).get(name) ?? null;
  }

  *[Symbol.iterator](): Iterator<Declaration> {
    for (const shelf of this.#shelves.values()) yield* shelf.values();
  }

  with(put: readonly Declaration[], remove: readonly Declaration[]): Table {
    const open = new Map<string, Draft<Declaration>>();
    const writable = ({ kind, mount }: Declaration): Draft<Declaration> => {
      const key = shelfKey(kind, mount);
      let draft = open.get(key);
      if (draft === undefined) open.set(key, (draft = this.shelf(kind, mount).draft()));
      return draft;
    };
    for (const declaration of remove) writable(declaration).delete(declaration.name);
    for (const declaration of put) writable(declaration).set(declaration.name, declaration);
    const shelves = new Map(this.#shelves);
    for (const [key, draft] of open) {
      const shelf = draft.done();
      if (shelf.size === 0) shelves.delete(key);
      else shelves.set(key, shelf);
    }
    return new Table(shelves);
  }
}

export const keyOf = (declaration: Declaration): string =>
  declarationKey(declaration.kind, declaration.mount, declaration.name);
