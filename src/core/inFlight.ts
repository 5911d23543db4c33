// The requests that are being worked on. To come and go costs two assignments: a Set would give each request a hash.

import type { Request } from "../sdk/request.ts";

export class InFlight {
  readonly #slots: (Request | null)[] = [];
  readonly #free: number[] = [];

  /** Gives the place to leave from. */
  enter(request: Request): number {
    const slot = this.#free.pop() ?? this.#slots.length;
    this.#slots[slot] = request;
    return slot;
  }

  leave(slot: number): void {
    this.#slots[slot] = null;
    this.#free.push(slot);
  }

  get size(): number {
    return this.#slots.length - this.#free.length;
  }

  *[Symbol.iterator](): Iterator<Request> {
    for (const request of this.#slots) if (request !== null) yield request;
  }
}
