// What ends with time. `lease/due/<time>/<name>` is ordered by time: a scan lists it up to the first entry that is not due
// yet. No timer a lease, nothing loaded at unseal.
// Must hold: an entry leaves the index only after what it names has ended, or stands there under another time; a scan that
// fails is made again, and what fails alone does not hold up the rest.

import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import type { View, ViewOp } from "../../sdk/view.ts";
import type { TokenEntry } from "../tokens/entry.ts";
import type { TokenStore } from "../tokens/store.ts";
import { dropSome } from "../subtree.ts";
import { cubbyholeOf, dueKey, isLease, isToken, leaseOf, timeSegment } from "./keys.ts";
import type { Lanes } from "./lanes.ts";
import { dueOf, type LeaseEntry, type LeaseStore } from "./store.ts";

/** Times listed at once, and looked into at once. */
const timesAtOnce = 256;
const foldersAtOnce = 64;
const namesAtOnce = 64;
/** Entries of one token's cubbyhole. */
const clearedAtOnce = 1_000;
/** Until a mount is asked again whose lane is full, and one that does not answer. */
const fullPause = 5_000;
const stalledPause = 30_000;

/** One entry of the due index. */
interface Due {
  /** With its slash, as listed. */
  readonly time: string;
  readonly name: string;
}

const keyOf = ({ time, name }: Due): string => `lease/due/${time}${name}`;

export interface ExpiryOptions {
  readonly root: View;
  readonly tokens: TokenStore;
  readonly store: LeaseStore;
  readonly lanes: Lanes;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Whether a lease is to end now: at its time, or with its token. */
async function isOver(tokens: TokenStore, entry: LeaseEntry, now: number): Promise<boolean> {
  return dueOf(entry) <= now || (entry.token !== null && (await tokens.get(entry.token)) === null);
}

export class Expiry {
  readonly #options: ExpiryOptions;
  readonly #due: View;
  #running: Promise<void> | null = null;
  #again = false;
  #closed = false;

  constructor(options: ExpiryOptions) {
    this.#options = options;
    this.#due = options.root.sub("lease/due/");
  }

  /** Ends what is due: tokens before this resolves, leases as far as their mounts answer. */
  scan(): Promise<void> {
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
      await this.#round().catch((error: unknown) => this.#failed(error));
    } while (this.#again && !this.#closed);
  }

  async #round(): Promise<void> {
    const now = this.#options.clock.now();
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
      await this.#endTokens(due.filter(({ name }) => isToken(name)));
      await this.#clear(due.filter(({ name }) => cubbyholeOf(name) !== null));
      await this.#endLeases(due.filter(({ name }) => isLease(name) && !this.#options.lanes.held(leaseOf(name))));
    } catch (error) {
      if (due.length === 1) this.#failed(error);
      else for (const one of due) await this.#look([one]);
    }
  }

  async #endTokens(due: readonly Due[]): Promise<void> {
    if (due.length === 0) return;
    const { tokens, clock } = this.#options;
    const now = clock.now();
    const found = await Promise.all(due.map(async ({ name }) => (await tokens.get(name))?.value ?? null));
    const over = await Promise.all(found.map(async (entry) => entry !== null && this.#tokenOver(entry, now)));
    await tokens.revokeMany(due.flatMap(({ name }, at) => (over[at] ? [name] : [])));
    // What a token's own end does not take away: entries of an earlier time, and those that a token without an end has.
    await this.#drop(
      due.filter(({ time }, at) => {
        const entry = found[at];
        return !entry || time !== `${timeSegment(entry.expires_at)}/`;
      }),
    );
  }

  /** At its time, or with its parent. */
  async #tokenOver(entry: TokenEntry, now: number): Promise<boolean> {
    if (entry.expires_at !== 0 && entry.expires_at <= now) return true;
    return entry.parent !== null && (await this.#options.tokens.get(entry.parent)) === null;
  }

  async #endLeases(due: readonly Due[]): Promise<void> {
    if (due.length === 0) return;
    const { tokens, store, lanes, clock } = this.#options;
    const now = clock.now();
    const found = await Promise.all(due.map(async ({ name }) => (await store.get(leaseOf(name)))?.value ?? null));
    const over = await Promise.all(found.map(async (entry) => entry !== null && isOver(tokens, entry, now)));
    const stale: Due[] = [];
    const late: ViewOp[] = [];
    for (const [at, one] of due.entries()) {
      const entry = found[at] ?? null;
      if (entry === null) stale.push(one);
      else if (!over[at]) {
        if (one.time !== `${timeSegment(dueOf(entry))}/`) stale.push(one);
      } else if (!lanes.offer(entry.accessor, entry.id, Number(one.time.slice(0, -1)))) {
        // Out of the way of others: those of a mount that does not answer would stand in front for ever.
        const again = now + (lanes.stalled(entry.accessor) ? stalledPause : fullPause);
        late.push({ key: dueKey(again, one.name), value: true }, { key: keyOf(one), value: null });
      }
    }
    if (late.length > 0) await this.#options.root.write(late);
    await this.#drop(stale);
  }

  /** What tokens kept for themselves, once they are gone. One that takes long goes on at the next scan. */
  async #clear(due: readonly Due[]): Promise<void> {
    const { root, tokens } = this.#options;
    for (const one of due) {
      const token = cubbyholeOf(one.name) ?? "";
      const there = (await tokens.get(token)) !== null;
      if (there || (await dropSome(root, `cubbyhole/${token}/`, clearedAtOnce)) < clearedAtOnce)
        await this.#drop([one]);
    }
  }

  async #drop(due: readonly Due[]): Promise<void> {
    if (due.length > 0) await this.#options.root.write(due.map((one) => ({ key: keyOf(one), value: null })));
  }

  #failed(error: unknown): void {
    if (this.#closed) return;
    this.#options.log.error("expiry stopped and will be tried again", {
      error: error instanceof Error ? error.message : "failed",
    });
  }
}
