// Expiry. `lease/due/<expiry>/<id>` is ordered by time: a tick lists it up to the first entry that is not due yet. No timer
// a lease, nothing loaded at unseal.
// Must hold: an entry leaves the index only after what it names has ended; a tick that fails is tried again at the next.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { View } from "../sdk/view.ts";
import type { TokenStore } from "./tokens/store.ts";

const atOnce = 256;

export class Leases {
  readonly #due: View;
  readonly #tokens: TokenStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  #running = false;

  constructor(root: View, tokens: TokenStore, clock: Clock, log: Logger) {
    this.#due = root.sub("lease/due/");
    this.#tokens = tokens;
    this.#clock = clock;
    this.#log = log;
  }

  /** Ends what is due. Returns how many ended. */
  async tick(): Promise<number> {
    if (this.#running) return 0;
    this.#running = true;
    let ended = 0;
    try {
      for (;;) {
        const now = this.#clock.now();
        const times = await this.#due.list("", { limit: atOnce });
        const due = times.filter((time) => Number(time.slice(0, -1)) <= now);
        for (const time of due) ended += await this.#expire(time);
        if (due.length < atOnce) return ended;
      }
    } catch (error) {
      this.#log.error("expiry stopped and will be tried again", {
        error: error instanceof Error ? error.message : "failed",
      });
      return ended;
    } finally {
      this.#running = false;
    }
  }

  async #expire(time: string): Promise<number> {
    const ids = await this.#due.list(time);
    for (const id of ids) {
      const found = await this.#tokens.get(id);
      // Renewed meanwhile: another index entry names its new expiry.
      if (found !== null && found.value.expires_at === Number(time.slice(0, -1))) await this.#tokens.revoke(id);
      await this.#due.write([{ key: `${time}${id}`, value: null }]);
    }
    return ids.length;
  }
}
