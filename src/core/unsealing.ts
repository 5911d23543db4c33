// How the barrier gets its root key: from shares, or from a seal that opens by itself. And what a rekey that was cut off left
// to settle, once it is known which root key the keyring is under.
// Must hold: no root key outlives the call that opened with it; a seal that opens by itself is tried until it is open, with
// growing pauses, and not at all once somebody sealed by hand.

import { zero } from "../lib/bytes.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Seal, SealProgress } from "../sdk/seal.ts";
import type { Barrier } from "./barrier/barrier.ts";
import { type Opened, Opening, wipe } from "./opening.ts";
import type { SealRecord, SealRecords } from "./sealRecords.ts";

export interface UnsealingOptions {
  readonly barrier: Barrier;
  readonly records: SealRecords;
  readonly seal: Seal;
  readonly clock: Pick<Clock, "now">;
  readonly log: Logger;
}

const firstRetry = 1_000;
const lastRetry = 60_000;

export class Unsealing {
  readonly #options: UnsealingOptions;
  readonly #opening: Opening;
  /** While the seal is to open by itself: when it is tried next. */
  #alone: { readonly next: number; readonly attempts: number } | null = null;

  constructor(options: UnsealingOptions) {
    this.#options = options;
    this.#opening = new Opening(options.seal);
    this.expect();
  }

  /** From now on a seal that opens by itself does. */
  expect(): void {
    if (this.#options.seal.open !== undefined) this.#alone = { next: 0, attempts: 0 };
  }

  /** Not any more: it was sealed by hand. */
  stop(): void {
    this.#alone = null;
  }

  get due(): boolean {
    return this.#alone !== null && this.#alone.next <= this.#options.clock.now();
  }

  progress(record: SealRecord): SealProgress {
    return this.#opening.progress(record);
  }

  reset(): void {
    this.#opening.reset();
  }

  /** Takes over `share`. True once the barrier is open. */
  async give(record: SealRecord, share: Uint8Array): Promise<boolean> {
    const opened = await this.#opening.give(record, share);
    if (opened === null) return false;
    try {
      await this.#openWith(record, opened);
      return true;
    } finally {
      wipe(opened);
    }
  }

  async #openWith(record: SealRecord, { stored, own, roots }: Opened): Promise<void> {
    const { barrier, records } = this.#options;
    const [root = own] = roots;
    // Shares from before a rekey that was cut off: the keyring is under the one root key or under the other.
    const whole = roots.length === 1 || (await barrier.isUnder(root));
    await barrier.unseal(whole ? root : own);
    if (stored === record.seal) await records.confirm();
    else if (!whole) await this.#restoreFormer();
    else this.#warn();
  }

  /** Tries the seal by itself, then `open` for the rest. False where it was sealed by hand meanwhile; never rejects. */
  async alone(record: SealRecord, open: () => Promise<void>): Promise<boolean> {
    const { clock, log } = this.#options;
    const attempts = (this.#alone?.attempts ?? 0) + 1;
    this.#alone = { next: clock.now() + Math.min(firstRetry * 2 ** (attempts - 1), lastRetry), attempts };
    try {
      await this.#openAlone(record);
      await open();
    } catch (error) {
      const reason = error instanceof Error ? error.message : "failed";
      log.error("the vault could not unseal by itself and will try again", { attempts, error: reason });
      return true;
    }
    const wanted = this.#alone !== null;
    this.#alone = null;
    return wanted;
  }

  async #openAlone({ seal, former }: SealRecord): Promise<void> {
    if (await this.#openStored(seal, former === undefined)) {
      // Whether anybody has the recovery shares that belong to it, it does not tell.
      if (former !== undefined) this.#warn();
      return;
    }
    if (former !== undefined && (await this.#openStored(former.seal, true))) {
      await this.#restoreFormer();
    }
  }

  /** False where the keyring is under another root key; an error then, if this is the `last` one to try. */
  async #openStored(stored: SealRecord["seal"], last: boolean): Promise<boolean> {
    const { barrier, seal } = this.#options;
    const root = await seal.open?.(stored);
    try {
      if (root === undefined || (!last && !(await barrier.isUnder(root)))) return false;
      await barrier.unseal(root);
      return true;
    } finally {
      zero(root);
    }
  }

  #warn(): void {
    this.#options.log.warn(
      "the shares from before the last rekey still count: if nobody has the new ones, rekey again",
    );
  }

  /** The vault is open whatever comes of it. */
  async #restoreFormer(): Promise<void> {
    await this.#options.records.restoreFormer().catch((error: unknown) => {
      this.#options.log.warn("the record of the last rekey could not be settled", { error });
    });
  }
}
