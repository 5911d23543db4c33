// Brings what is under older terms under the active one, in the background: a walk over all keys that looks at so many a
// second and writes anew what is under an older term.
// Must hold: an entry keeps its value and its version, and a write that comes between wins; where the walk stands is
// stored, so that it goes on after a restart; it is done only once everything was looked at after the term began.
// Known gap: an entry that does not open stays as it is; it is counted, and the security log names it.

import type { Logger } from "../lib/log.ts";
import type { View } from "../sdk/view.ts";
import type { Barrier } from "./barrier/barrier.ts";

/** As stored, and as sys/key-status shows it. */
export interface Progress {
  /** Under which everything is brought. */
  readonly term: number;
  readonly done: boolean;
  /** Entries written anew, and entries that do not open. */
  readonly renewed: number;
  readonly damaged: number;
  /** The last key that was looked at. */
  readonly cursor: string;
}

export interface ReencryptionOptions {
  readonly barrier: Barrier;
  /** `keys/` of the barrier's root. */
  readonly view: View;
  readonly log: Logger;
}

/** A second's worth. */
const looked = 2_048;
const written = 512;
/** Side by side: they share a write of the store, and the event loop has a rest after them. */
const atOnce = 16;
const firstTerm = 1;

export class Reencryption {
  readonly #options: ReencryptionOptions;
  #progress: Progress | null = null;
  #step: Promise<void> | null = null;

  constructor(options: ReencryptionOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    const { view, barrier } = this.#options;
    const term = barrier.term.id;
    const stored = (await view.getJson<Progress>("reencryption"))?.value ?? null;
    if (stored?.term === term) this.#progress = stored;
    else if (term !== firstTerm) await this.begin();
  }

  /** Null where there never was another term. */
  get progress(): Omit<Progress, "cursor"> | null {
    if (this.#progress === null) return null;
    const { cursor: _cursor, ...shown } = this.#progress;
    return shown;
  }

  /** After a rotation. Once this is stored, everything that was still to be written under the old term has been: writes
   *  land in the order in which they came. */
  async begin(): Promise<void> {
    this.#progress = { term: this.#options.barrier.term.id, done: false, renewed: 0, damaged: 0, cursor: "" };
    await this.#save(this.#progress);
  }

  /** Called about once a second; one at a time. */
  step(): Promise<void> {
    if (this.#progress === null || this.#progress.done) return Promise.resolve();
    this.#step ??= this.#run(this.#progress).finally(() => {
      this.#step = null;
    });
    return this.#step;
  }

  /** At seal. */
  async close(): Promise<void> {
    this.#progress = null;
    await this.#step?.catch(() => {});
  }

  async #run(before: Progress): Promise<void> {
    const { barrier, log } = this.#options;
    let { renewed, damaged, cursor } = before;
    let done = false;
    for (let seen = 0; seen < looked && renewed - before.renewed < written && !done; seen += atOnce) {
      const keys = await barrier.keysAfter(cursor, atOnce);
      const results = await Promise.all(keys.map((key) => barrier.renew(key)));
      renewed += results.filter((result) => result === "renewed").length;
      damaged += results.filter((result) => result === "damaged").length;
      cursor = keys.at(-1) ?? cursor;
      done = keys.length < atOnce;
      // A rotation meanwhile begins anew, a seal ends it.
      if (this.#progress !== before) return;
    }
    const after: Progress = { term: before.term, done, renewed, damaged, cursor: done ? "" : cursor };
    await this.#save(after);
    if (this.#progress !== before) return;
    this.#progress = after;
    if (done) log.info("everything is encrypted in the active term", { term: after.term, renewed, damaged });
  }

  async #save(progress: Progress): Promise<void> {
    await this.#options.view.write([{ key: "reencryption", value: { ...progress } }]);
  }
}
