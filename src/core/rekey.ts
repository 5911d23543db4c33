// New shares, and a new root key behind them. Enough of the present shares start it; where verification is asked for, the
// new ones count only once enough of them were given back.
// A new root key, not the old one wrapped anew: whoever kept an old copy of storage and enough old shares would otherwise
// read every later copy of the keyring.
// Must hold: what is stored changes in one write, and until enough of the new shares were used, by giving them back or for
// anything else, the old ones open the vault too: whatever is cut off, the server, the network or whoever asked, old or new
// shares do. That an answer left the server says nothing. New shares are never stored.

import { randomUUID } from "node:crypto";
import { randomKey, zero } from "../lib/bytes.ts";
import type { Logger } from "../lib/log.ts";
import { Mutex } from "../lib/mutex.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Seal } from "../sdk/seal.ts";
import { checkCounts } from "../sdk/shares.ts";
import type { Barrier } from "./barrier/barrier.ts";
import { bridge, checkNonce, type Opened, Opening, wipe } from "./opening.ts";
import type { FormerSeal, SealRecord, SealRecords } from "./sealRecords.ts";

/** As sys/rekey/init answers. */
export interface RekeyStatus {
  readonly nonce: string;
  readonly started: boolean;
  /** Threshold and number of the new shares. */
  readonly t: number;
  readonly n: number;
  /** Of the present shares. */
  readonly progress: number;
  readonly required: number;
  readonly pgp_fingerprints: null;
  readonly backup: false;
  readonly verification_required: boolean;
  readonly verification_nonce?: string;
}

export interface VerifyStatus {
  readonly nonce: string;
  readonly started: boolean;
  readonly t: number;
  readonly n: number;
  readonly progress: number;
}

export interface RekeyDone {
  readonly nonce: string;
  readonly complete: true;
  readonly pgp_fingerprints: null;
  readonly backup: false;
  readonly verification_required: boolean;
  readonly verification_nonce?: string;
}

/** Whoever gets the shares overwrites them. */
interface Handed {
  readonly done: RekeyDone;
  readonly shares: readonly Uint8Array[];
}

/** What waits for its verification. The new root key itself is not kept: its shares bring it. */
interface Made {
  readonly stored: Readonly<Record<string, unknown>>;
  readonly former: FormerSeal;
  readonly check: Seal;
  nonce: string;
}

interface Attempt {
  readonly nonce: string;
  readonly shares: number;
  readonly threshold: number;
  readonly verify: boolean;
  readonly opening: Opening;
  made: Made | null;
}

export interface RekeyOptions {
  readonly barrier: Barrier;
  readonly records: SealRecords;
  readonly seal: Seal;
  readonly log: Logger;
}

const invalid = (text: string): VaultError => new VaultError("invalid", text);
const rootKeyBytes = 32;

export class Rekey {
  readonly #options: RekeyOptions;
  readonly #lock = new Mutex();
  #attempt: Attempt | null = null;

  constructor(options: RekeyOptions) {
    this.#options = options;
  }

  async start(asked: { readonly shares: number; readonly threshold: number; readonly verify: boolean }): Promise<void> {
    const { seal } = this.#options;
    checkCounts(asked);
    await this.#lock.run("rekey", async () => {
      if (this.#attempt !== null) throw invalid("a rekey is in progress: finish or cancel it first");
      this.#attempt = { ...asked, nonce: randomUUID(), opening: new Opening(seal), made: null };
    });
  }

  /** Throws VaultError `invalid` where the seal has no recovery key. */
  checkRecovery(): void {
    const { seal } = this.#options;
    if (seal.open === undefined) throw invalid(`a ${seal.type} seal has no recovery key: use sys/rekey`);
  }

  status(): RekeyStatus {
    const record = this.#record();
    const attempt = this.#attempt;
    const progress = attempt?.opening.progress(record);
    return {
      nonce: attempt?.nonce ?? "",
      started: attempt !== null,
      t: attempt?.threshold ?? 0,
      n: attempt?.shares ?? 0,
      progress: progress?.progress ?? 0,
      required: (progress ?? this.#options.seal.progress(record.seal)).threshold,
      pgp_fingerprints: null,
      backup: false,
      verification_required: attempt?.verify ?? false,
      ...(attempt?.made && { verification_nonce: attempt.made.nonce }),
    };
  }

  /** Forgets everything: present shares go on as they are. Without a nonce, whatever is under way. */
  async cancel(nonce?: string): Promise<void> {
    await this.#lock.run("rekey", async () => {
      if (this.#attempt !== null && nonce !== undefined) checkNonce(nonce, this.#attempt.nonce);
      this.reset();
    });
  }

  /** At seal. */
  reset(): void {
    this.#attempt?.opening.reset();
    this.#attempt?.made?.check.reset();
    this.#attempt = null;
  }

  /** Takes over one present share. The new shares once enough were given; null before. */
  update(nonce: string | undefined, share: Uint8Array): Promise<Handed | null> {
    return this.#lock.run("rekey", async () => {
      const attempt = this.#running(share);
      checkNonceOf(share, nonce, attempt.nonce);
      if (attempt.made !== null) {
        zero(share);
        throw invalid("the new shares were handed out already: verify them, or cancel");
      }
      const record = this.#record();
      const opened = await attempt.opening.give(record, share);
      if (opened === null) return null;
      try {
        this.#checkHeld(opened);
        // Whatever comes of this rekey, they were used.
        if (opened.stored === record.seal) await this.#options.records.confirm();
        return await this.#make(attempt, opened);
      } finally {
        wipe(opened);
      }
    });
  }

  #checkHeld({ roots }: Opened): void {
    const { barrier } = this.#options;
    if (!roots.some((root) => barrier.holds(root))) throw invalid("the shares are not those of this vault");
  }

  async #make(attempt: Attempt, opened: Opened): Promise<Handed> {
    const { seal, log } = this.#options;
    const rootKey = randomKey(rootKeyBytes);
    let unused: readonly Uint8Array[] = [];
    try {
      const { stored, shares } = await seal.fresh().wrap(rootKey, attempt);
      unused = shares;
      const former: FormerSeal = { seal: opened.stored, bridge: bridge(opened.own, rootKey) };
      const made: Made = { stored, former, check: seal.fresh(), nonce: randomUUID() };
      const done = { nonce: attempt.nonce, complete: true, pgp_fingerprints: null, backup: false } as const;
      if (attempt.verify) {
        attempt.made = made;
        unused = [];
        log.info("a rekey waits for the verification of its shares");
        const verification = { verification_required: true, verification_nonce: made.nonce };
        return { done: { ...done, ...verification }, shares };
      }
      await this.#commit(rootKey, made);
      this.#attempt = null;
      unused = [];
      log.warn("the shares from before the rekey open the vault too, until enough of the new ones were used");
      return { done: { ...done, verification_required: false }, shares };
    } finally {
      zero(rootKey, ...unused);
    }
  }

  verifyStatus(): VerifyStatus {
    const attempt = this.#attempt;
    const made = attempt?.made ?? null;
    const progress = made?.check.progress(made.stored);
    return {
      nonce: made?.nonce ?? "",
      started: made !== null,
      t: attempt?.threshold ?? 0,
      n: attempt?.shares ?? 0,
      progress: progress?.progress ?? 0,
    };
  }

  /** Takes over one new share. Null while more are needed. */
  verify(nonce: string | undefined, share: Uint8Array): Promise<{ nonce: string; complete: true } | null> {
    return this.#lock.run("rekey", async () => {
      const { made } = this.#running(share);
      if (made === null) {
        zero(share);
        throw invalid("no rekey waits for verification");
      }
      checkNonceOf(share, nonce, made.nonce);
      const rootKey = await made.check.unwrap(made.stored, share);
      if (rootKey === null) return null;
      try {
        await this.#commit(rootKey, made);
        this.#attempt = null;
        await this.#options.records.confirm();
        return { nonce: made.nonce, complete: true };
      } finally {
        zero(rootKey);
      }
    });
  }

  /** Forgets the new shares given back so far, not the new shares. */
  async restartVerify(): Promise<void> {
    await this.#lock.run("rekey", async () => {
      const made = this.#attempt?.made ?? null;
      if (made === null) throw invalid("no rekey waits for verification");
      made.check.reset();
      made.nonce = randomUUID();
    });
  }

  async #commit(rootKey: Uint8Array, { stored, former }: Made): Promise<void> {
    const { barrier, records, log } = this.#options;
    const next: SealRecord = { ...this.#record(), seal: stored, former };
    await records.replace(next, (op) => barrier.changeRoot(rootKey, [op]));
    log.info("the vault has new shares and a new root key");
  }

  #record(): SealRecord {
    const { current } = this.#options.records;
    if (current === null) throw new VaultError("uninitialized", "Vault is not initialized");
    return current;
  }

  #running(share: Uint8Array): Attempt {
    if (this.#attempt !== null) return this.#attempt;
    zero(share);
    throw invalid("no rekey is in progress: start one first");
  }
}

function checkNonceOf(share: Uint8Array, given: string | undefined, nonce: string): void {
  try {
    checkNonce(given, nonce);
  } catch (error) {
    zero(share);
    throw error;
  }
}
