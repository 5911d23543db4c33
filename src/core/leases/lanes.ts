// Revoking leases: what takes time and fails is the plugin's server, so each mount has a lane of its own. A lane runs a few
// at once, each with a deadline, and what has come together meanwhile is written at once.
// Must hold: a lease is in one pair of hands only: whoever makes, renews or ends it holds it; no mount waits for another;
// nothing is written after `close`.

import { systemTimer } from "../../lib/flight.ts";
import type { Logger } from "../../lib/log.ts";
import { isVaultError, VaultError } from "../../sdk/errors.ts";
import type { ViewOp } from "../../sdk/view.ts";
import { within } from "../broker/trail.ts";
import { failed, type LeaseEntry, type LeaseStore } from "./store.ts";

/** Revocations of one mount that run at once. */
const atOnce = 32;
/** That wait: ids alone, about 100 bytes each. */
const mostWaiting = 16_384;
/** Outcomes in one write. */
const together = 64;

interface Job {
  readonly id: string;
  /** Where the due index named it. */
  readonly seen: number | undefined;
}

interface Lane {
  running: number;
  readonly waiting: Job[];
  /** The last attempt met its deadline. */
  stalled: boolean;
}

interface Done {
  readonly job: Job;
  /** Null where it was gone already. */
  readonly entry: LeaseEntry | null;
  readonly error: string | null;
}

/** One attempt met its deadline. */
const late = (ms: number): VaultError => new VaultError("upstream", `no answer within ${ms} ms`);

export interface LanesOptions {
  readonly store: LeaseStore;
  readonly now: () => number;
  readonly log: Logger;
  /** Milliseconds for one attempt. */
  readonly deadline: number;
  /** What the plugin does. */
  readonly undo: (entry: LeaseEntry) => Promise<void>;
  /** Called once a lease is gone. */
  readonly ended: (entry: LeaseEntry) => void;
}

/** What operators read. An error that nobody foresaw may hold anything. */
const told = (error: unknown): string =>
  isVaultError(error) ? error.message : "failed unexpectedly; the server log says more";

export class Lanes {
  readonly #options: LanesOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #held = new Set<string>();
  /** To be dropped even where the attempt fails. */
  readonly #forced = new Set<string>();
  readonly #waiters = new Map<string, ((error: string | null) => void)[]>();
  readonly #done: Done[] = [];
  #writing: Promise<void> | null = null;
  #closed = false;

  constructor(options: LanesOptions) {
    this.#options = options;
  }

  held(id: string): boolean {
    return this.#held.has(id);
  }

  /** For making and renewing. False where another has it. */
  hold(id: string): boolean {
    if (this.#held.has(id)) return false;
    this.#held.add(id);
    return true;
  }

  release(id: string): void {
    this.#held.delete(id);
  }

  /** Takes it for an attempt. False where the lane is full; then `stalled` tells why. */
  offer(accessor: string, id: string, seen?: number): boolean {
    if (this.#closed || this.#held.has(id)) return true;
    const lane = this.#lane(accessor);
    if (lane.running >= atOnce && lane.waiting.length >= mostWaiting) return false;
    this.#held.add(id);
    lane.waiting.push({ id, seen });
    this.#pump(lane);
    return true;
  }

  stalled(accessor: string): boolean {
    return this.#lanes.get(accessor)?.stalled ?? false;
  }

  /** Why the next attempt fails, or null once it is gone. */
  outcome(id: string): Promise<string | null> {
    return new Promise((resolve) => {
      const others = this.#waiters.get(id);
      if (others === undefined) this.#waiters.set(id, [resolve]);
      else others.push(resolve);
    });
  }

  force(id: string): void {
    this.#forced.add(id);
  }

  /** Ends what has begun, for at most a moment: what is not written is done again, after the next unseal. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#writing;
    for (const id of this.#waiters.keys()) this.#settle(id, "Vault is sealed");
  }

  #lane(accessor: string): Lane {
    let lane = this.#lanes.get(accessor);
    if (lane === undefined) this.#lanes.set(accessor, (lane = { running: 0, waiting: [], stalled: false }));
    return lane;
  }

  #pump(lane: Lane): void {
    while (!this.#closed && lane.running < atOnce && lane.waiting.length > 0) {
      const some = lane.waiting.splice(0, atOnce - lane.running);
      lane.running += some.length;
      for (const job of some) void this.#run(lane, job);
    }
  }

  async #run(lane: Lane, job: Job): Promise<void> {
    let entry: LeaseEntry | null = null;
    let error: string | null = null;
    try {
      entry = (await this.#options.store.get(job.id))?.value ?? null;
      if (entry !== null) await this.#undo(entry, lane);
    } catch (cause) {
      error = told(cause);
      this.#tell(job.id, entry, cause);
    }
    lane.running -= 1;
    this.#done.push({ job, entry, error });
    this.#writing ??= this.#write().finally(() => {
      this.#writing = null;
    });
    this.#pump(lane);
  }

  async #undo(entry: LeaseEntry, lane: Lane): Promise<void> {
    const { undo, deadline } = this.#options;
    let ended = false;
    const undoing = undo(entry).finally(() => {
      ended = true;
    });
    try {
      await within(systemTimer, deadline, undoing);
    } catch (error) {
      if (!ended) throw late(deadline);
      throw error;
    } finally {
      lane.stalled = !ended;
    }
  }

  #tell(id: string, entry: LeaseEntry | null, cause: unknown): void {
    if (this.#closed) return;
    const attempts = (entry?.ending?.attempts ?? 0) + 1;
    const level = attempts === 1 ? "info" : "warn";
    this.#options.log[level]("a lease could not be revoked and will be tried again", {
      lease_id: id,
      attempts,
      error: cause instanceof Error ? cause.message : "failed",
    });
  }

  async #write(): Promise<void> {
    // A turn's outcomes in one write.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#done.length > 0) {
      const some = this.#done.splice(0, together);
      let lost: string | null = null;
      const ops = some.flatMap((done) => this.#opsOf(done));
      try {
        if (ops.length > 0 && !this.#closed) await this.#options.store.write(ops);
      } catch (error) {
        lost = told(error);
        this.#options.log.error("what became of leases could not be written; they are revoked again", { error: lost });
      }
      for (const { job, entry, error } of some) {
        this.#held.delete(job.id);
        const dropped = this.#forced.delete(job.id);
        if (entry !== null && lost === null && (dropped || error === null)) this.#options.ended(entry);
        this.#settle(job.id, lost ?? (dropped ? null : error));
      }
    }
  }

  #opsOf({ job, entry, error }: Done): ViewOp[] {
    if (entry === null) return [];
    const { store, now } = this.#options;
    if (error === null || this.#forced.has(job.id)) return store.drop(entry, job.seen);
    return store.change(entry, failed(entry, now(), error), { ...(job.seen !== undefined && { seen: job.seen }) });
  }

  #settle(id: string, error: string | null): void {
    const waiters = this.#waiters.get(id);
    this.#waiters.delete(id);
    for (const settle of waiters ?? []) settle(error);
  }
}
