// Expiry. `lease/due/<time>/<name>` is ordered by time: a tick lists it up to the first entry that is not due yet. No timer
// a lease, nothing loaded at unseal.
// Must hold: an entry leaves the index only after what it names has ended, or names another time; a tick that fails is
// tried again at the next, and what fails alone does not hold up the rest.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { View } from "../sdk/view.ts";
import { timeSegment } from "./leases/keys.ts";
import type { TokenEntry } from "./tokens/entry.ts";
import type { TokenStore } from "./tokens/store.ts";

/** Times listed at once, and looked into at once. */
const timesAtOnce = 256;
const foldersAtOnce = 64;
const namesAtOnce = 64;

/** One entry of the due index. */
interface Due {
  /** With its slash, as listed. */
  readonly time: string;
  readonly name: string;
}

export class Leases {
  readonly #due: View;
  readonly #tokens: TokenStore;
  readonly #clock: Clock;
  readonly #log: Logger;
  #running: Promise<void> | null = null;
  #again = false;
  #closed = false;

  constructor(root: View, tokens: TokenStore, clock: Clock, log: Logger) {
    this.#due = root.sub("lease/due/");
    this.#tokens = tokens;
    this.#clock = clock;
    this.#log = log;
  }

  /** Ends what is due. Resolves once all that was due when it was called has been looked at. */
  tick(): Promise<void> {
    if (this.#running !== null) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#rounds().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #rounds(): Promise<void> {
    do {
      this.#again = false;
      await this.#scan().catch((error: unknown) => this.#failed(error));
    } while (this.#again && !this.#closed);
  }

  async #scan(): Promise<void> {
    const now = this.#clock.now();
    for (let after = ""; !this.#closed;) {
      const times = await this.#due.list("", { after, limit: timesAtOnce });
      const due = times.filter((time) => Number(time.slice(0, -1)) <= now);
      for (let at = 0; at < due.length; at += foldersAtOnce) await this.#open(due.slice(at, at + foldersAtOnce));
      if (due.length < timesAtOnce) return;
      after = due.at(-1) ?? after;
    }
  }

  /** Looks at all that stands under these times. */
  async #open(times: readonly string[]): Promise<void> {
    const folders = await Promise.all(times.map((time) => this.#due.list(time, { limit: namesAtOnce })));
    const found = folders.flatMap((names, at) => names.map((name): Due => ({ time: times[at] ?? "", name })));
    for (let at = 0; at < found.length; at += namesAtOnce) await this.#look(found.slice(at, at + namesAtOnce));
    for (const [at, names] of folders.entries()) {
      const time = times[at] ?? "";
      for (let last = names; last.length === namesAtOnce && !this.#closed;) {
        last = await this.#due.list(time, { after: last.at(-1) ?? "", limit: namesAtOnce });
        await this.#look(last.map((name) => ({ time, name })));
      }
    }
  }

  /** Together; where that fails, one by one, so that one damaged entry keeps nothing else alive. */
  async #look(due: readonly Due[]): Promise<void> {
    if (due.length === 0 || this.#closed) return;
    try {
      await this.#tokensOf(due);
    } catch (error) {
      if (due.length === 1) this.#failed(error);
      else for (const one of due) await this.#look([one]);
    }
  }

  async #tokensOf(due: readonly Due[]): Promise<void> {
    const now = this.#clock.now();
    const found = await Promise.all(due.map(async ({ name }) => (await this.#tokens.get(name))?.value ?? null));
    const over = await Promise.all(found.map(async (entry) => entry !== null && this.#over(entry, now)));
    await this.#tokens.revokeMany(due.flatMap(({ name }, at) => (over[at] ? [name] : [])));
    // What a token's own end does not take away: entries of an earlier time, and those that a token without an end has.
    const left = due.filter(({ time }, at) => {
      const entry = found[at];
      return !entry || time !== `${timeSegment(entry.expires_at)}/`;
    });
    if (left.length > 0) await this.#due.write(left.map(({ time, name }) => ({ key: `${time}${name}`, value: null })));
  }

  /** Whether it is to end: at its time, or with its parent. */
  async #over(entry: TokenEntry, now: number): Promise<boolean> {
    if (entry.expires_at !== 0 && entry.expires_at <= now) return true;
    return entry.parent !== null && (await this.#tokens.get(entry.parent)) === null;
  }

  #failed(error: unknown): void {
    if (this.#closed) return;
    this.#log.error("expiry stopped and will be tried again", {
      error: error instanceof Error ? error.message : "failed",
    });
  }
}
