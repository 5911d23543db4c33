// How many tokens and leases there are, for metrics: counted in storage, in the background, and not more often than that
// costs little.
// Known gap: a number is as old as the last count: a minute, or ten times as long as counting takes.

import { pagesOf, type View } from "../sdk/view.ts";

export interface Count {
  readonly tokens: number;
  /** By the accessor of the mount that made them. */
  readonly leases: ReadonlyMap<string, number>;
}

const least = 60_000;
const share = 10;
const atOnce = 10_000;

export class Census {
  readonly #root: View;
  readonly #now: () => number;
  #last: Count | null = null;
  #running: Promise<Count> | null = null;
  #next = 0;

  /** `now` is in milliseconds, and of any beginning. */
  constructor(root: View, now: () => number) {
    this.#root = root;
    this.#now = now;
  }

  /** The last count; the first one is waited for. */
  async count(): Promise<Count> {
    if (this.#running === null && this.#now() >= this.#next) {
      this.#running = this.#take().finally(() => {
        this.#running = null;
      });
      this.#running.catch(() => {});
    }
    return this.#last ?? (await this.#running) ?? { tokens: 0, leases: new Map() };
  }

  async #take(): Promise<Count> {
    const since = this.#now();
    this.#next = Infinity;
    try {
      const leases = new Map<string, number>();
      for (const folder of await this.#root.list("lease/mount/")) {
        leases.set(folder.slice(0, -1), await this.#names(`lease/mount/${folder}`));
      }
      this.#last = { tokens: await this.#names("token/id/"), leases };
      return this.#last;
    } finally {
      const now = this.#now();
      this.#next = now + Math.max(least, share * (now - since));
    }
  }

  async #names(folder: string): Promise<number> {
    let total = 0;
    for await (const names of pagesOf(this.#root, folder, atOnce)) total += names.length;
    return total;
  }
}
