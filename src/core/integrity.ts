// Whether storage holds what was written: a scan in the background after each unseal, and on demand. The vault goes on
// serving whatever is found: an entry that was changed is refused by itself, and sealing on an alarm would let whoever
// can write to the storage stop the vault. The alarm is a line in the security log, an entry in the audit, and
// sys/storage/integrity, until it is accepted there or by the data being put right.
// Must hold: one scan at a time; what it found stays to be read until the next one has ended.

import type { Clock } from "../lib/clock.ts";
import { rfc3339 } from "../lib/clock.ts";
import { systemTimer, type Timer } from "../lib/flight.ts";
import type { Logger } from "../lib/log.ts";
import { isVaultError } from "../sdk/errors.ts";
import type { Barrier } from "./barrier/barrier.ts";
import type { Findings } from "./barrier/scan.ts";
import type { Broker } from "./broker.ts";

export interface IntegrityOptions {
  readonly barrier: Barrier;
  readonly broker: Broker;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timer?: Timer;
}

interface Result extends Findings {
  readonly started: number;
  readonly ended: number;
}

export type State = "not_run" | "ok" | "tampered" | "failed";

/** Milliseconds between two steps of 32 entries, where nobody waits: a tenth of the thread at most. */
const restMs = 20;

export class Integrity {
  readonly #options: Required<IntegrityOptions>;
  #running: { readonly started: number; entries: number; accept: boolean } | null = null;
  #last: Result | null = null;
  #failure: string | null = null;
  #hurry = false;
  #begun = false;

  constructor(options: IntegrityOptions) {
    this.#options = { timer: systemTimer, ...options };
  }

  /** Called about once a second: starts the scan that follows an unseal. */
  tick(): void {
    if (this.#begun) return;
    void this.#run(false);
  }

  /** Scans at full speed; a scan under way goes on as that one. With `accept` what is found is taken for good, once. */
  start(accept: boolean): void {
    this.#hurry = true;
    if (this.#running === null) void this.#run(accept);
    else this.#running.accept ||= accept;
  }

  status(): Readonly<Record<string, unknown>> {
    const last = this.#last;
    const running = this.#running;
    return {
      state: this.state,
      running: running !== null,
      progress: running?.entries ?? 0,
      error: this.#failure,
      ...(last && {
        started: rfc3339(last.started),
        ended: rfc3339(last.ended),
        entries: last.entries,
        damaged_entries: last.damagedEntries,
        damaged: last.damaged,
        sum: last.sum === null ? "none" : last.sum.holds ? "holds" : "differs",
        entries_expected: last.sum?.expected ?? null,
        entries_found: last.sum?.found ?? null,
      }),
    };
  }

  get state(): State {
    if (this.#failure !== null) return "failed";
    if (this.#last === null) return "not_run";
    return isGood(this.#last) ? "ok" : "tampered";
  }

  async #run(accept: boolean): Promise<void> {
    const { barrier, broker, clock, log } = this.#options;
    const running = { started: clock.now(), entries: 0, accept };
    this.#begun = true;
    this.#running = running;
    this.#failure = null;
    try {
      const findings = await barrier.scan({
        pause: () => this.#pause(),
        progress: (entries) => void (running.entries = entries),
        accept: () => running.accept,
      });
      this.#last = { ...findings, started: running.started, ended: clock.now() };
      if (!isGood(findings)) this.#shout(findings, running.accept);
      else log.info("storage holds what was written", { entries: findings.entries });
      if (!isGood(findings)) await broker.event("storage-integrity", factsOf(findings, running.accept));
    } catch (error) {
      // What was under way when the vault was sealed ends in whatever its storage then says.
      if (isVaultError(error, "sealed") || barrier.sealed) return;
      this.#failure = error instanceof Error ? error.message : "failed";
      log.error("the scan of the storage failed", { error: this.#failure });
    } finally {
      this.#running = null;
      this.#hurry = false;
    }
  }

  #shout(findings: Findings, accepted: boolean): void {
    const { log } = this.#options;
    for (const path of findings.damaged) {
      log.security("an entry in storage was changed, moved or forged: it does not open", { path });
    }
    if (findings.sum?.holds === false)
      log.security(
        "entries in storage were deleted, added or put back to an earlier version",
        factsOf(findings, accepted),
      );
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#hurry) setImmediate(resolve);
      else this.#options.timer.after(restMs, resolve);
    });
  }
}

const isGood = ({ damagedEntries, sum }: Findings): boolean => damagedEntries === 0 && sum?.holds !== false;

const factsOf = ({ entries, damaged, damagedEntries, sum }: Findings, accepted: boolean): Record<string, unknown> => ({
  entries,
  damaged_entries: damagedEntries,
  damaged,
  sum: sum === null ? "none" : sum.holds ? "holds" : "differs",
  entries_expected: sum?.expected ?? null,
  entries_found: sum?.found ?? null,
  accepted,
});
