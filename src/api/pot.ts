// Bodies that are being read, counted in bytes: whoever has been sending for longest makes room for who comes.
// Must hold: all in one pot together are bounded; a newcomer is refused only where it keeps what nobody may be cut off for.

import { VaultError } from "../sdk/errors.ts";

export interface Held {
  /** Whether a valid token came with it. */
  readonly known: boolean;
  cut(error: VaultError): void;
}

export function busy(message: string): VaultError {
  const error = new VaultError("rate_limited", `${message}: try again later`);
  error.headers = ["Retry-After", "1"];
  return error;
}

const full = (): VaultError => busy("the server is reading too many requests at once");

export class Pot {
  readonly #most: number;
  readonly #sparing: boolean;
  /** Whoever began first, first. */
  readonly #held = new Map<Held, number>();
  #bytes = 0;

  /** `sparing`: nobody is cut off who is known. */
  constructor(most: number, sparing = false) {
    this.#most = most;
    this.#sparing = sparing;
  }

  /** `bytes` are all that it takes now. Throws VaultError `rate_limited`. */
  hold(body: Held, bytes: number): void {
    this.#bytes += bytes - (this.#held.get(body) ?? 0);
    this.#held.set(body, bytes);
    if (this.#bytes > this.#most) this.#makeRoom(body);
  }

  #makeRoom(body: Held): void {
    for (const [oldest] of this.#held) {
      if (oldest === body || (this.#sparing && oldest.known)) continue;
      this.drop(oldest);
      oldest.cut(full());
      if (this.#bytes <= this.#most) return;
    }
    this.drop(body);
    throw full();
  }

  drop(body: Held): void {
    const bytes = this.#held.get(body);
    if (bytes === undefined) return;
    this.#held.delete(body);
    this.#bytes -= bytes;
  }
}
