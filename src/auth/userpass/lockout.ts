// Wrong passwords in a row lock a name for a while, whether or not there is such a user.
// Known gap: logins of one name at the same time are all checked, so that a few more than the threshold may be tried.
// Known gap: kept in memory, for this process; who fails for a hundred thousand other names in between is forgotten.

import type { Clock } from "../../lib/clock.ts";
import { Lru } from "../../lib/lru.ts";

interface Failures {
  readonly count: number;
  /** Milliseconds since 1970, of the last one. */
  readonly last: number;
}

const threshold = 5;
const duration = 15 * 60 * 1000;
const names = 100_000;

export class Lockout {
  readonly #clock: Clock;
  readonly #failures = new Lru<Failures>(names);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  locked(name: string): boolean {
    return this.#count(name) >= threshold;
  }

  fail(name: string): void {
    this.#failures.set(name, { count: this.#count(name) + 1, last: this.#clock.now() }, 1);
  }

  succeed(name: string): void {
    this.#failures.delete(name);
  }

  #count(name: string): number {
    const failures = this.#failures.get(name);
    return failures === undefined || this.#clock.now() - failures.last >= duration ? 0 : failures.count;
  }
}
