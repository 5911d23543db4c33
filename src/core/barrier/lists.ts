// Names below a prefix as they were last listed whole, until one comes or goes.
// Must hold: a list is kept only where no name came or went while it was asked for.

import { Lru } from "../../lib/lru.ts";

const weigh = (names: readonly string[]): number => names.reduce((sum, name) => sum + 40 + name.length, 200);

export class Lists {
  readonly #kept: Lru<readonly string[]>;
  /** Questions under way by prefix. */
  readonly #asked = new Map<string, Promise<readonly string[]>>();

  /** Bytes, about. */
  constructor(limit: number) {
    this.#kept = new Lru(limit);
  }

  /** The same frozen list each time, while it stands. */
  async get(prefix: string, ask: () => Promise<string[]>): Promise<readonly string[]> {
    const known = this.#kept.get(prefix) ?? this.#asked.get(prefix);
    if (known !== undefined) return known;
    const asked = ask();
    this.#asked.set(prefix, asked);
    try {
      const names = Object.freeze(await asked);
      if (this.#asked.get(prefix) === asked) this.#kept.set(prefix, names, weigh(names));
      return names;
    } finally {
      if (this.#asked.get(prefix) === asked) this.#asked.delete(prefix);
    }
  }

  /** A key came or went, or may have. */
  changed(key: string): void {
    if (this.#kept.size === 0 && this.#asked.size === 0) return;
    for (let end = 0; ;) {
      const prefix = key.slice(0, end);
      this.#kept.delete(prefix);
      this.#asked.delete(prefix);
      const slash = key.indexOf("/", end);
      if (slash < 0) return;
      end = slash + 1;
    }
  }

  clear(): void {
    this.#kept.clear();
    this.#asked.clear();
  }
}
