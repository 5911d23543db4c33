// Deletes the pages of superseded generations, some at a time. What may go is only noted in memory: what an earlier process
// left, or an edit that failed, is found by a walk over all pages that are there.
// Must hold: no page goes that the live generation lists, nor one of an edit under way: a step is done between two edits, when
// what is live is what storage calls current, and ends before the next one begins. A page is found by its content, so one
// that is noted may be needed again: it is asked of the live generation when it is to go, not when it is noted. Where somebody
// put entries of the storage back, what is current may be older than it should be: nothing goes once the scan has found
// that, and the walk waits for a scan that found nothing.
// Known gap: a store without transactions has no sum, so there the scan cannot tell that the current generation was put back.

import type { Logger } from "../lib/log.ts";
import { isVaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";
import type { State } from "./integrity.ts";

/** The second holds what earlier versions of the program wrote of each generation, which nobody reads. */
const folders = ["generation/pages/", "generation/log/"] as const;

/** In one write: an edit that comes meanwhile waits for it. */
const droppedAtOnce = 64;
const lookedAtOnce = 256;

export class Collection {
  readonly #root: View;
  /** What the scan of the storage last found. */
  readonly #scanned: () => State;
  readonly #log: Logger;
  /** Keys of what may be needed no more. */
  readonly #noted = new Set<string>();
  /** Where the walk stands; null once it is over. */
  #walk: { readonly folder: number; readonly after: string } | null = null;
  #failing = false;

  constructor(root: View, scanned: () => State, log: Logger) {
    this.#root = root;
    this.#scanned = scanned;
    this.#log = log;
  }

  note(keys: Iterable<string>): void {
    for (const key of keys) this.#noted.add(key);
  }

  /** Looks at everything that is there once more. */
  walk(): void {
    this.#walk = { folder: 0, after: "" };
  }

  /** Whether enough is noted for a write of its own. */
  get due(): boolean {
    return this.#noted.size >= droppedAtOnce;
  }

  /** Never rejects: what fails is tried again by the next one. `live` are the keys of the live generation's pages. */
  async step(live: ReadonlySet<string>): Promise<void> {
    const scanned = this.#scanned();
    if (scanned === "tampered") return;
    try {
      if (!this.due && scanned === "ok") await this.#look();
      await this.#drop(live);
      this.#failing = false;
    } catch (error) {
      if (isVaultError(error, "sealed")) return;
      if (!this.#failing)
        this.#log.warn("pages that are needed no more could not be deleted: it is tried again", { error });
      this.#failing = true;
    }
  }

  async #look(): Promise<void> {
    if (this.#walk === null) return;
    const { folder, after } = this.#walk;
    const prefix = folders[folder];
    if (prefix === undefined) {
      this.#walk = null;
      return;
    }
    const names = await this.#root.list(prefix, { after, limit: lookedAtOnce });
    this.note(names.map((name) => `${prefix}${name}`));
    const last = names.length < lookedAtOnce ? undefined : names.at(-1);
    this.#walk = last === undefined ? { folder: folder + 1, after: "" } : { folder, after: last };
  }

  async #drop(live: ReadonlySet<string>): Promise<void> {
    const gone: string[] = [];
    for (const key of this.#noted) {
      if (live.has(key)) this.#noted.delete(key);
      else if (gone.push(key) === droppedAtOnce) break;
    }
    if (gone.length === 0) return;
    await this.#root.write(gone.map((key) => ({ key, value: null })));
    for (const key of gone) this.#noted.delete(key);
  }
}
