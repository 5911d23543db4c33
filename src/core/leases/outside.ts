// What leases stand for in other systems (accounts, credentials) lives on there when the vault is sealed, and nobody ends it
// until the next unseal. How many there are, and ending all of them before a seal.
// Must hold: while leasing is stopped no lease is made, and one that was being made is counted or never was, so that where
// nothing is counted nothing is left; the stop ends by itself; counting, and looking for what fails, take no longer than
// their bound, however many there are.
// Known gap: the stop is in memory: a process that starts again leases again.

import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { VaultError } from "../../sdk/errors.ts";
import { pagesOf, type View } from "../../sdk/view.ts";
import { leaseOf, mountKey } from "./keys.ts";
import type { LeaseEntry, LeaseStore } from "./store.ts";

/** Names listed at once to be counted, and to be ended. */
const countedAtOnce = 10_000;
const endedAtOnce = 256;
/** Leases that are shown because they do not end. */
const mostShown = 20;

export interface Count {
  /** By the accessor of the mount that made them; no entry where there are none. */
  readonly leases: ReadonlyMap<string, number>;
  /** False where there was no time to count all. */
  readonly complete: boolean;
}

export interface OutsideOptions {
  readonly root: View;
  readonly store: LeaseStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** Says durably that they are to end, and begins with it. */
  readonly end: (ids: readonly string[]) => Promise<unknown>;
}

export const stoppedError = (): VaultError =>
  new VaultError("rate_limited", "nothing is leased now: the vault is about to be sealed");

export class Outside {
  readonly #options: OutsideOptions;
  #until = 0;
  #ending: Promise<void> | null = null;
  #closed = false;

  constructor(options: OutsideOptions) {
    this.#options = options;
  }

  /** Until when nothing is leased, in milliseconds since 1970; null where it is. */
  get stoppedUntil(): number | null {
    return this.#options.clock.now() < this.#until ? this.#until : null;
  }

  /** Throws VaultError `rate_limited` while nothing is leased. */
  admit(): void {
    if (this.stoppedUntil !== null) throw stoppedError();
  }

  /** Whether leases are still being told to end. */
  get ending(): boolean {
    return this.#ending !== null;
  }

  /** Leases nothing for so many milliseconds, and ends all that is leased: again, where that failed before. */
  begin(ms: number): void {
    this.#until = this.#options.clock.now() + ms;
    this.#ending ??= this.#endAll()
      .catch((error: unknown) => {
        this.#options.log.error("not all leases could be told to end", {
          error: error instanceof Error ? error.message : "failed",
        });
      })
      .finally(() => {
        this.#ending = null;
      });
  }

  /** Leases again. What was told to end ends. */
  release(): void {
    this.#until = 0;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#ending;
  }

  /** Takes so many milliseconds, or hardly more. */
  async count(ms: number): Promise<Count> {
    const deadline = performance.now() + ms;
    const leases = new Map<string, number>();
    for await (const [accessor, names] of this.#names(countedAtOnce)) {
      leases.set(accessor, (leases.get(accessor) ?? 0) + names.length);
      if (performance.now() >= deadline) return { leases, complete: false };
    }
    return { leases, complete: true };
  }

  /** Some that did not end when they were told to, or that are not made to their end: those found in so many milliseconds. */
  async failing(ms: number): Promise<readonly LeaseEntry[]> {
    const deadline = performance.now() + ms;
    const found: LeaseEntry[] = [];
    for await (const [, names] of this.#names(mostShown)) {
      const entries = await Promise.all(names.map((name) => this.#options.store.get(leaseOf(name))));
      for (const entry of entries) {
        if (entry && (entry.value.ending?.error || entry.value.state === "pending")) found.push(entry.value);
      }
      if (found.length >= mostShown || performance.now() >= deadline) break;
    }
    return found.slice(0, mostShown);
  }

  async #endAll(): Promise<void> {
    const { store, end } = this.#options;
    for await (const [accessor, names] of this.#names(endedAtOnce)) {
      if (this.#closed || this.stoppedUntil === null) return;
      const found = await Promise.all(names.map((name) => store.get(leaseOf(name))));
      // What has no lease any more, after a crash on a store without transactions, or not yet: that one is refused.
      const gone = names.filter((_, at) => found[at] === null);
      if (gone.length > 0) await store.write(gone.map((name) => ({ key: mountKey(accessor, name), value: null })));
      await end(found.flatMap((entry) => (entry === null ? [] : [entry.value.id])));
    }
  }

  /** Names of leases, some at a time, with the accessor of their mount. */
  async *#names(atOnce: number): AsyncGenerator<readonly [string, readonly string[]]> {
    const { root } = this.#options;
    for (const folder of await root.list("lease/mount/")) {
      const accessor = folder.slice(0, -1);
      for await (const names of pagesOf(root, mountKey(accessor, ""), atOnce)) yield [accessor, names];
    }
  }
}
