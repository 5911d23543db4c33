// One audit device and how far it is. A feed sends its device what follows the last line that it keeps, one write at a
// time, from memory or (when it is behind) from another device; after a failed write it asks the device where it stands
// and goes on from there, for ever, with growing pauses.
// Must hold: a device is sent each line once and in order; lines read from another device are sent on only where they
// continue the chain; a device whose lines are not the chain's is never written to again.

import type { Logger } from "../../lib/log.ts";
import type { Timer } from "../../lib/flight.ts";
import type { AuditDevice, Batch, Head } from "../../sdk/audit.ts";
import { firstPrev, lineHash, linkOf } from "../../sdk/chain.ts";
import type { Window } from "./window.ts";

/** What a feed needs of the trail. */
export interface Chain {
  readonly window: Window;
  readonly log: Logger;
  readonly timer: Timer;
  /** The other devices that hold line `seq`, furthest first. */
  sources(except: Feed, seq: number): readonly Feed[];
  /** The hash of line `seq` by anybody's account but this feed's; null where nobody holds it. */
  hashOf(except: Feed, seq: number): Promise<string | null>;
  /** A device has kept more. */
  advanced(): void;
}

export interface FeedStatus {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  readonly head: number;
  /** "behind": its last write failed, or takes longer than the deadline. "refused": its lines are not the chain's. */
  readonly state: "ok" | "behind" | "refused";
  /** What the device tells of itself. */
  readonly facts: object;
}

export const noHead: Head = { seq: 0, hash: firstPrev };

const readLimit = 1000;
const firstPause = 250;
const longestPause = 30_000;

export class Feed {
  readonly device: AuditDevice;
  readonly required: boolean;
  readonly #chain: Chain;
  #kept: Head;
  #busy: Promise<void> | null = null;
  /** Ticks that the write under way has lasted. */
  #ticks = 0;
  /** The write under way has lasted for the deadline. */
  #late = false;
  #behind = false;
  #refused = false;
  #closed = false;
  #failures = 0;
  #cancel: (() => void) | null = null;

  constructor(device: AuditDevice, required: boolean, head: Head | null, chain: Chain) {
    this.device = device;
    this.required = required;
    this.#kept = head ?? noHead;
    this.#chain = chain;
  }

  /** The last line it keeps; seq 0 where it keeps none. Where lines are missing for good, the last of those. */
  get kept(): Head {
    return this.#kept;
  }

  get refused(): boolean {
    return this.#refused;
  }

  get status(): FeedStatus {
    const { name, type } = this.device;
    const state = this.#refused ? "refused" : this.#behind ? "behind" : "ok";
    const facts = this.device.status?.() ?? {};
    return { name, type, required: this.required, head: this.#kept.seq, state, facts };
  }

  /** Keeps nothing until something outside changes: its last write failed, or has lasted for the deadline. */
  get failing(): boolean {
    return this.#refused || this.#failures > 0 || this.#late;
  }

  /** Would send what comes next at once. */
  get idle(): boolean {
    return this.#busy === null && this.#cancel === null && !this.#refused && !this.#closed;
  }

  /** Sends what there is to send, unless a write or a pause is under way. */
  pump(): void {
    if (!this.idle) return;
    if (this.#kept.seq >= this.#chain.window.head.seq) return;
    this.#busy = this.#step().then(
      () => this.#done(),
      (error: unknown) => this.#failed(error),
    );
  }

  /** One tick of the trail's clock; `deadline` is in ticks. */
  tick(deadline: number): void {
    if (this.#busy === null || ++this.#ticks < deadline) return;
    this.#late = true;
    if (this.#behind) return;
    this.#behind = true;
    this.#chain.log.error("audit device misses its deadline: it is sent what it lacks once it answers", {
      device: this.device.name,
      head: this.#kept.seq,
    });
  }

  /** Never writes to the device again. */
  refuse(seq: number): void {
    this.#refused = true;
    this.#chain.log.security(
      "audit device holds other lines than the chain: it is not written to until that is mended",
      {
        device: this.device.name,
        seq,
      },
    );
    this.#chain.advanced();
  }

  /** Resolves when the write under way is over. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#busy;
  }

  async #step(): Promise<void> {
    const next = this.#kept.seq + 1;
    const ready = this.#chain.window.batch(next) ?? (await this.#fetch(next)) ?? this.#skip(next);
    try {
      if (ready.batch !== null) await this.device.write(ready.batch);
    } finally {
      ready.done?.();
    }
    this.#kept = ready.head;
  }

  #done(): void {
    this.#busy = null;
    this.#ticks = 0;
    this.#late = false;
    this.#failures = 0;
    if (this.#behind && this.#kept.seq >= this.#chain.window.head.seq) {
      this.#behind = false;
      this.#chain.log.info("audit device has caught up", { device: this.device.name, head: this.#kept.seq });
    }
    this.#chain.advanced();
    this.pump();
  }

  #failed(error: unknown): void {
    this.#busy = null;
    this.#ticks = 0;
    this.#late = false;
    this.#behind = true;
    if (this.#failures === 0) {
      this.#chain.log.error("audit device failed: it is tried again", { device: this.device.name, error });
    }
    if (this.#closed) return;
    const pause = Math.min(longestPause, firstPause * 2 ** Math.min(this.#failures++, 10));
    this.#cancel = this.#chain.timer.after(pause, () => {
      this.#cancel = null;
      this.#busy = this.#resume().then(
        () => {
          this.#busy = null;
          this.pump();
        },
        (again: unknown) => this.#failed(again),
      );
    });
  }

  /** After a failure only the device knows how much of the batch it kept. */
  async #resume(): Promise<void> {
    const head = await this.device.head();
    if (head === null || head.seq === this.#kept.seq) {
      if (head !== null && head.hash !== this.#kept.hash) this.refuse(head.seq);
      return;
    }
    const hash = this.#chain.window.hashOf(head.seq) ?? (await this.#chain.hashOf(this, head.seq));
    if (hash !== null && hash !== head.hash) this.refuse(head.seq);
    else this.#kept = head;
    this.#chain.advanced();
  }

  /** Lines that are not in memory any more, from the device that has most of them. */
  async #fetch(next: number): Promise<Ready | null> {
    for (const source of this.#chain.sources(this, next)) {
      const lines = await source.device.read(next, readLimit);
      if (lines.length === 0) continue;
      const head = follow(lines, this.#kept);
      if (head !== null) return { batch: { first: next, head, lines, bytes: Buffer.concat(lines) }, head };
      this.#chain.log.security("audit lines read back do not continue the chain", {
        device: source.device.name,
        to: this.device.name,
        seq: next,
      });
    }
    return null;
  }

  /** Nobody has line `next` (its file was moved away): goes on with the oldest line in memory, visibly. */
  #skip(next: number): Ready {
    const { window, log } = this.#chain;
    const last = window.first - 1;
    log.warn("audit lines that no device holds are left out of this one", {
      device: this.device.name,
      first: next,
      last,
    });
    return window.batch(window.first) ?? { batch: null, head: window.head };
  }
}

interface Ready {
  readonly batch: Batch | null;
  readonly head: Head;
  /** Where its memory is the window's. */
  done?(): void;
}

/** The head after `lines`, or null where they do not follow `head`. After nothing (seq 0) only line 1 follows. */
function follow(lines: readonly Uint8Array[], head: Head): Head | null {
  let { seq, hash } = head;
  for (const line of lines) {
    const link = linkOf(line);
    if (link?.seq !== seq + 1 || link.prev !== hash) return null;
    seq++;
    hash = lineHash(line);
  }
  return { seq, hash };
}
