// One at a time for each key. Callers run in the order in which they came; a task that throws does not stop the next.

export class Mutex {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `task` once every earlier task of the same key has ended, and gives its result or its error. */
  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const result = before === undefined ? start(task) : before.then(task, task);
    const tail: Promise<void> = result.then(
      () => this.#leave(key, tail),
      () => this.#leave(key, tail),
    );
    this.#tails.set(key, tail);
    return result;
  }

  /** Keys that are held or waited for. */
  get size(): number {
    return this.#tails.size;
  }

  #leave(key: string, tail: Promise<void>): void {
    if (this.#tails.get(key) === tail) this.#tails.delete(key);
  }
}

/** A task that throws before its first await rejects like any other. */
async function start<T>(task: () => Promise<T>): Promise<T> {
  return task();
}
