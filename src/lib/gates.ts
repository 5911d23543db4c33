// Many may be inside at once, for each key, while nobody has it for himself.
// Must hold: `hold` runs alone among all who share or hold one of its keys; who waits for it runs after it; a task that
// throws leaves no key behind. Several keys are taken in one order by everybody, so that no two wait for each other.

import { Mutex } from "./mutex.ts";

interface Gate {
  inside: number;
  /** Tells who holds it that the last one has left. */
  left: (() => void) | null;
  /** Resolves when it opens again; null while it is open. */
  closed: Promise<void> | null;
}

export class Gates {
  readonly #gates = new Map<string, Gate>();
  readonly #holders = new Mutex();

  async share<T>(key: string, task: () => Promise<T>): Promise<T> {
    let gate = this.#gates.get(key);
    while (gate?.closed) {
      await gate.closed;
      gate = this.#gates.get(key);
    }
    if (gate === undefined) this.#gates.set(key, (gate = { inside: 0, left: null, closed: null }));
    gate.inside += 1;
    try {
      return await task();
    } finally {
      gate.inside -= 1;
      if (gate.inside === 0) {
        if (gate.left !== null) gate.left();
        else this.#gates.delete(key);
      }
    }
  }

  hold<T>(keys: readonly string[], task: () => Promise<T>): Promise<T> {
    return this.#holdFrom([...new Set(keys)].sort(), 0, task);
  }

  /** Keys that are shared, held or waited for. */
  get size(): number {
    return this.#gates.size + this.#holders.size;
  }

  #holdFrom<T>(keys: readonly string[], at: number, task: () => Promise<T>): Promise<T> {
    const key = keys[at];
    if (key === undefined) return this.#alone(keys, task);
    return this.#holders.run(key, () => this.#holdFrom(keys, at + 1, task));
  }

  async #alone<T>(keys: readonly string[], task: () => Promise<T>): Promise<T> {
    const { promise: closed, resolve: open } = Promise.withResolvers<void>();
    const leaving: Promise<void>[] = [];
    for (const key of keys) {
      const gate = this.#gates.get(key) ?? { inside: 0, left: null, closed: null };
      gate.closed = closed;
      this.#gates.set(key, gate);
      if (gate.inside > 0) leaving.push(new Promise((resolve) => (gate.left = resolve)));
    }
    try {
      await Promise.all(leaving);
      return await task();
    } finally {
      for (const key of keys) this.#gates.delete(key);
      open();
    }
  }
}
