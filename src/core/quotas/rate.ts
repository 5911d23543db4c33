// Rate limits: how many requests an address may make in an interval, which begins with its first one.
// Must hold: what is kept of addresses is bounded; whoever is blocked stays blocked for the whole time.
// Known gap: who comes from more addresses than are kept is counted anew each time; behind a proxy all clients are one.

import { Lru } from "../../lib/lru.ts";
import type { Target } from "./target.ts";

export interface RateLimit extends Target {
  readonly name: string;
  /** As it was given, shown where its mount is not there any more. */
  readonly path: string;
  /** Requests in an interval. */
  readonly rate: number;
  /** Seconds. */
  readonly interval: number;
  /** Seconds for which nothing more is let through once the rate is exceeded; 0 for none. */
  readonly block_interval: number;
  readonly inheritable: boolean;
}

/** Addresses of one quota. */
const most = 16_384;

interface Window {
  /** Milliseconds since 1970. */
  start: number;
  used: number;
  blockedUntil: number;
}

export interface Taken {
  readonly allowed: boolean;
  readonly limit: number;
  readonly remaining: number;
  /** Seconds until there are more, or until a block ends. */
  readonly reset: number;
}

const seconds = (ms: number): number => Math.max(0, Math.ceil(ms / 1000));

export class Rates {
  readonly #limit: number;
  readonly #interval: number;
  readonly #block: number;
  readonly #clients = new Lru<Window>(most);

  constructor({ rate, interval, block_interval }: RateLimit) {
    this.#limit = Math.max(1, Math.round(rate));
    this.#interval = interval * 1000;
    this.#block = block_interval * 1000;
  }

  /** How long nothing is let through of an address, without counting; null where its next request would change what is kept. */
  peek(address: string, now: number): Taken | null {
    const window = this.#clients.get(address);
    if (window === undefined) return null;
    if (now < window.blockedUntil) return this.#taken(false, 0, window.blockedUntil - now);
    const end = window.start + this.#interval - now;
    return end > 0 && window.used >= this.#limit && this.#block === 0 ? this.#taken(false, 0, end) : null;
  }

  /** Counts one request. */
  take(address: string, now: number): Taken {
    let window = this.#clients.get(address);
    if (window === undefined) this.#clients.set(address, (window = { start: now, used: 0, blockedUntil: 0 }), 1);
    if (now < window.blockedUntil) return this.#taken(false, 0, window.blockedUntil - now);
    if (now >= window.start + this.#interval) {
      window.start = now;
      window.used = 0;
    }
    const end = window.start + this.#interval - now;
    if (window.used >= this.#limit) {
      if (this.#block === 0) return this.#taken(false, 0, end);
      window.blockedUntil = now + this.#block;
      return this.#taken(false, 0, this.#block);
    }
    window.used += 1;
    return this.#taken(true, this.#limit - window.used, end);
  }

  /** Addresses that are kept. */
  get size(): number {
    return this.#clients.size;
  }

  #taken(allowed: boolean, remaining: number, reset: number): Taken {
    return { allowed, limit: this.#limit, remaining, reset: seconds(reset) };
  }
}

/** For the answer's head. */
export function headersOf({ allowed, limit, remaining, reset }: Taken): readonly string[] {
  const shown = ["X-Ratelimit-Limit", String(limit), "X-Ratelimit-Remaining", String(remaining)];
  return [...shown, "X-Ratelimit-Reset", String(reset), ...(allowed ? [] : ["Retry-After", String(reset)])];
}
