// Deletes superseded generations once they are older than `keep_generations`, some at a time. The log has an entry a
// generation, which tells the pages that came with it and those of the one before that it does without. A generation goes
// when the one that followed it is old enough: the pages that no later one has, what a failed edit or a crash left under its
// number, then its log entry.
// Must hold: no page goes that a kept generation has. A page belongs to the number of one generation, and once one does
// without it, so do all that follow. Steps are taken between two edits, when what is live is what storage calls current, and
// end before the next one begins. Where somebody put entries of the storage back, nothing here can be relied on: nothing
// goes unless the scan has found that all is as it was written.
// Known gap: a store without transactions has no sum, so there the scan cannot tell that the current generation was put back.
// What earlier versions of the program superseded has no log entry that tells of it, and stays.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { isVaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";
import type { CurrentRecord } from "./generation.ts";
import type { State } from "./integrity.ts";
import { numbered, pageKey } from "./pages.ts";

/** What the log has of a generation. Earlier versions wrote no pages. */
export interface LogRecord extends CurrentRecord {
  /** Addresses of the pages that came with it. */
  readonly made?: readonly string[];
  /** Addresses of the pages that the one before has and it has not. */
  readonly replaced?: readonly string[];
}

const folder = "generation/log/";
export const logKey = (seq: number): string => `${folder}${numbered(seq)}`;

/** In one write: an edit that comes meanwhile waits for it. */
const droppedAtOnce = 64;
const listedAtOnce = 64;

export interface CollectionOptions {
  readonly root: View;
  /** Milliseconds from when it was superseded. */
  readonly keep: number;
  /** What the scan of the storage last found. */
  readonly scanned: () => State;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Collection {
  readonly #options: CollectionOptions;
  /** Keys that go next: a generation's log entry is the last of its own. */
  readonly #going: string[] = [];
  /** The log entry that was put there last. */
  #last = "";
  /** When the next generation goes, as far as is known. */
  #dueAt = 0;
  #failing = false;

  constructor(options: CollectionOptions) {
    this.#options = options;
  }

  /** Whether there is something to do. */
  get due(): boolean {
    return this.#going.length > 0 || this.#options.clock.now() >= this.#dueAt;
  }

  /** Never rejects: what fails is tried again by the next one. `pages` are the addresses of the live generation's. */
  async step(live: CurrentRecord, pages: ReadonlySet<string>): Promise<void> {
    const { scanned, root, log } = this.#options;
    if (scanned() !== "ok") return;
    try {
      while (this.#going.length < droppedAtOnce && (await this.#age(live, pages)));
      const keys = this.#going.slice(0, droppedAtOnce);
      if (keys.length > 0) await root.write(keys.map((key) => ({ key, value: null })));
      this.#going.splice(0, keys.length);
      this.#failing = false;
    } catch (error) {
      if (isVaultError(error, "sealed")) return;
      if (!this.#failing) log.warn("superseded generations could not be deleted: it is tried again", { error });
      this.#failing = true;
    }
  }

  /** Whether one more generation goes. */
  async #age(live: CurrentRecord, pages: ReadonlySet<string>): Promise<boolean> {
    const { root, keep, clock } = this.#options;
    const now = clock.now();
    if (now < this.#dueAt) return false;
    const [oldest, following] = await root.list(folder, { after: this.#last, limit: 2 });
    const [record, next] = await Promise.all([this.#read(oldest), this.#read(following)]);
    // One that was written by an edit that failed counts as little as none.
    this.#dueAt = (next === null || next.seq > live.seq ? now : next.at) + keep;
    if (oldest === undefined || record === null || next === null || now < this.#dueAt) return false;
    const gone = [...(next.replaced ?? []), ...(await this.#leftovers(record))];
    this.#going.push(...gone.filter((address) => !pages.has(address)).map(pageKey), `${folder}${oldest}`);
    this.#last = oldest;
    return true;
  }

  async #read(name: string | undefined): Promise<LogRecord | null> {
    if (name === undefined) return null;
    return (await this.#options.root.getJson<LogRecord>(`${folder}${name}`))?.value ?? null;
  }

  /** Pages of a generation's number that it does not have. */
  async #leftovers({ seq, made }: LogRecord): Promise<readonly string[]> {
    if (made === undefined) return [];
    const known = new Set(made);
    const prefix = `${numbered(seq)}-`;
    const found: string[] = [];
    for (let after = prefix; ;) {
      const names = await this.#options.root.list(pageKey(""), { after, limit: listedAtOnce });
      const own = names.filter((name) => name.startsWith(prefix));
      found.push(...own.filter((name) => !known.has(name)));
      if (own.length < listedAtOnce) return found;
      after = own.at(-1) ?? "";
    }
  }
}
