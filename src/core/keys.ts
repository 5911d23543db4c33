// The terms of the keyring over time: which is active, how often it was used, and when the next one comes by itself.
// Must hold: a term that was used as often as it may be, or for as long, is followed by another within a minute while the
// vault is unsealed; what is counted survives seals, and crashes but for the last minute.

import type { Clock } from "../lib/clock.ts";
import { rfc3339 } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { Mutex } from "../lib/mutex.ts";
import { VaultError } from "../sdk/errors.ts";
import type { View } from "../sdk/view.ts";
import type { Barrier } from "./barrier/barrier.ts";
import type { Broker } from "./broker.ts";
import { type Progress, Reencryption } from "./reencryption.ts";

/** As sys/rotate/config has it. */
export interface RotationConfig {
  readonly enabled: boolean;
  /** Encryptions in one term. */
  readonly max_operations: number;
  /** Seconds; 0 for no limit. */
  readonly interval: number;
}

/** What was counted of a term up to the last save. */
interface Count {
  readonly term: number;
  readonly encryptions: number;
}

export interface KeyStatus {
  readonly term: number;
  readonly install_time: string;
  readonly encryptions: number;
  /** How far what is under older terms was brought under this one; null where there are none. */
  readonly reencryption: Omit<Progress, "cursor"> | null;
}

/** What NIST SP 800-38D leaves of 2^32 for random nonces, rounded down, as Vault has it; here each entry has a key of its
 *  own, so the number is a habit more than a need. */
export const mostOperations = 3_865_470_566;
export const leastOperations = 1_000_000;
export const leastInterval = 24 * 3600;
const standard: RotationConfig = { enabled: true, max_operations: mostOperations, interval: 0 };

const saveEvery = 60_000;

export interface KeysOptions {
  readonly barrier: Barrier;
  readonly broker: Broker;
  /** `keys/` of the barrier's root. */
  readonly view: View;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Keys {
  readonly #options: KeysOptions;
  readonly #lock = new Mutex();
  readonly #reencryption: Reencryption;
  #config = standard;
  /** Of the active term before this session. */
  #before = 0;
  /** As stored, the save's own encryption included. */
  #saved = 0;
  #savedAt: number;

  constructor(options: KeysOptions) {
    this.#options = options;
    this.#savedAt = options.clock.now();
    this.#reencryption = new Reencryption(options);
  }

  async open(): Promise<void> {
    const { view, barrier } = this.#options;
    this.#config = (await view.getJson<RotationConfig>("config"))?.value ?? standard;
    const count = (await view.getJson<Count>("count"))?.value;
    this.#before = count?.term === barrier.term.id ? count.encryptions : 0;
    this.#saved = this.#before;
    await this.#reencryption.open();
  }

  get config(): RotationConfig {
    return this.#config;
  }

  async configure(config: RotationConfig): Promise<void> {
    await this.#options.view.write([{ key: "config", value: { ...config } }]);
    this.#config = config;
  }

  status(): KeyStatus {
    const { id, created } = this.#options.barrier.term;
    const { progress } = this.#reencryption;
    return { term: id, install_time: rfc3339(created), encryptions: this.#encryptions, reencryption: progress };
  }

  get #encryptions(): number {
    return this.#before + this.#options.barrier.term.encryptions;
  }

  /** Makes a new term. What was written before stays readable. */
  rotate(): Promise<void> {
    return this.#lock.run("rotate", async () => {
      const { barrier, log } = this.#options;
      await barrier.rotate();
      this.#before = 0;
      log.info("the keyring has a new term", { term: barrier.term.id });
      // The term is in use whatever comes now; the next unseal finds what is not begun here.
      await this.#reencryption.begin().catch(() => {});
      await this.#save().catch(() => {});
    });
  }

  async #rotateDue(): Promise<void> {
    if (!this.#due()) return;
    const { broker, barrier } = this.#options;
    await this.#lock.run("due", async () => {
      if (!this.#due()) return;
      await this.rotate();
      await broker.event("rotate", { term: barrier.term.id });
    });
  }

  /** Called about once a second. Never rejects: other work waits behind it. */
  async tick(): Promise<void> {
    const { clock, log } = this.#options;
    await this.#rotateDue().catch((error: unknown) => {
      log.error("the keyring could not get the term that is due; it is tried again", { error });
    });
    await this.#reencryption.step().catch((error: unknown) => {
      log.warn("entries could not be encrypted in the active term; it is tried again", { error });
    });
    if (clock.now() - this.#savedAt < saveEvery) return;
    await this.#save().catch((error: unknown) => log.warn("the count of encryptions could not be saved", { error }));
  }

  async close(): Promise<void> {
    await this.#reencryption.close();
    await this.#save().catch(() => {});
  }

  #due(): boolean {
    const { enabled, max_operations: most, interval } = this.#config;
    if (!enabled) return false;
    const age = this.#options.clock.now() - this.#options.barrier.term.created;
    return this.#encryptions >= most || (interval > 0 && age >= interval * 1000);
  }

  /** Writes nothing where nothing else was written: an idle vault stays idle. */
  async #save(): Promise<void> {
    this.#savedAt = this.#options.clock.now();
    if (this.#encryptions === this.#saved) return;
    const count: Count = { term: this.#options.barrier.term.id, encryptions: this.#encryptions + 1 };
    await this.#options.view.write([{ key: "count", value: { ...count } }]);
    this.#saved = count.encryptions;
  }
}

/** Throws VaultError `invalid`. */
export function checkRotation({ max_operations: most, interval }: RotationConfig): void {
  if (most < leastOperations || most > mostOperations) {
    throw new VaultError("invalid", `max_operations must be ${leastOperations} to ${mostOperations}`);
  }
  if (interval !== 0 && interval < leastInterval) {
    throw new VaultError("invalid", "interval must be 0 (none), or 24h or more");
  }
}
