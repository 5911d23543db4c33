// Wrong guesses in a row lock a name for a while, whether or not there is such a name: a password is tried a few times an
// hour, and no answer tells who exists.
// Must hold: of a name's checks, never more run or have failed than its threshold; the count belongs to the mount's
// accessor, so that neither a move nor a change of the mount begins it anew.
// Known gap: what failures.ts has not saved is forgotten by a crash; and any, by more other names at once than are kept, each of
// which costs whoever tries that a check of a password, and a locked name more of them than one that is not.

import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Call } from "../sdk/mount.ts";
import type { Mounted } from "./mounts.ts";

export interface LockoutRules {
  /** Failures in a row that lock; 0 where nothing does. */
  readonly threshold: number;
  /** Milliseconds that a lock lasts. */
  readonly duration: number;
  /** Milliseconds after the last failure, when those before are forgotten. */
  readonly reset: number;
}

interface Subject {
  readonly accessor: string;
  readonly name: string;
}

/** What stands against one name, to be kept over a restart. */
export interface Failure extends Subject {
  /** Milliseconds since 1970, where it is locked. */
  readonly until?: number;
  /** Where it is not: how many times in a row, and when the last was. */
  readonly failures?: number;
  readonly last?: number;
}

interface Tries extends Subject {
  failures: number;
  /** Milliseconds since 1970, of the last failure. */
  last: number;
  running: number;
  /** Those who wait for what the running ones find. */
  waiting: (() => void)[];
}

const usual = { threshold: 5, seconds: 15 * 60 };
/** Of names that failed, and of those that are locked. */
const kept = 50_000;
/** For each name. */
const mostWaiting = 64;

/** As the mount is tuned; what is left at 0 is as usual. */
export function rulesOf({ spec }: Pick<Mounted, "spec">): LockoutRules {
  const config = spec?.config.user_lockout_config;
  return {
    threshold: config?.lockout_disable ? 0 : config?.lockout_threshold || usual.threshold,
    duration: (config?.lockout_duration || usual.seconds) * 1000,
    reset: (config?.lockout_counter_reset_duration || usual.seconds) * 1000,
  };
}

/** Where no login is. */
export const noAttempt: Call["attempt"] = () =>
  Promise.reject(new VaultError("internal", "only a login of a plugin that says so checks what may be guessed"));

const lockedError = (): VaultError => new VaultError("denied", "permission denied");

export class Lockouts {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #kept: number;
  /** By the last failure, oldest first. */
  readonly #tries = new Map<string, Tries>();
  /** By when they were locked, oldest first. */
  readonly #locked = new Map<string, Subject & { readonly until: number }>();
  /** Counts up with each change of what `failures` says. */
  changes = 0;

  constructor(clock: Clock, log: Logger, most = kept) {
    this.#clock = clock;
    this.#log = log;
    this.#kept = most;
  }

  async attempt<T>(
    { accessor, name }: Subject,
    rules: LockoutRules,
    check: () => Promise<T | null>,
  ): Promise<T | null> {
    if (rules.threshold === 0) return check();
    const key = `${accessor}\n${name}`;
    const tries = await this.#turn(key, { accessor, name }, rules);
    let right: boolean | null = null;
    try {
      const found = await check();
      right = found !== null;
      return found;
    } finally {
      tries.running -= 1;
      if (right === false) this.#fail(key, tries, rules);
      else if (right === true) this.#forgive(tries);
      if (tries.failures === 0 && tries.running === 0) this.#tries.delete(key);
      for (const wake of tries.waiting.splice(0)) wake();
    }
  }

  /** Waits where so many run already that the threshold is met if all of them fail. */
  async #turn(key: string, subject: Subject, { threshold, reset }: LockoutRules): Promise<Tries> {
    for (;;) {
      if (this.#isLocked(key)) throw lockedError();
      let tries = this.#tries.get(key);
      if (tries === undefined) {
        tries = { ...subject, failures: 0, last: 0, running: 0, waiting: [] };
        this.#tries.set(key, tries);
        this.#trim();
      }
      if (this.#clock.now() - tries.last >= reset) tries.failures = 0;
      if (tries.failures + tries.running < threshold) {
        tries.running += 1;
        return tries;
      }
      // Only a threshold that was lowered meanwhile leaves nobody to wait for: then it is met.
      if (tries.running === 0) throw lockedError();
      const { waiting } = tries;
      if (waiting.length >= mostWaiting) {
        throw new VaultError("rate_limited", "too many logins at once; try again later");
      }
      await new Promise<void>((resolve) => void waiting.push(resolve));
    }
  }

  #forgive(tries: Tries): void {
    if (tries.failures > 0) this.changes += 1;
    tries.failures = 0;
  }

  #fail(key: string, tries: Tries, { threshold, duration }: LockoutRules): void {
    const { accessor, name } = tries;
    const now = this.#clock.now();
    this.changes += 1;
    tries.failures += 1;
    tries.last = now;
    this.#tries.delete(key);
    if (tries.failures < threshold) {
      this.#tries.set(key, tries);
      return;
    }
    tries.failures = 0;
    this.#locked.set(key, { accessor, name, until: now + duration });
    this.#log.security("a name is locked after failed logins", { accessor, name });
    if (this.#locked.size > this.#kept) this.#sweep();
    const [oldest] = this.#locked.keys();
    if (this.#locked.size > this.#kept && oldest !== undefined) this.#locked.delete(oldest);
  }

  /** The oldest that nobody waits for gives way. */
  #trim(): void {
    if (this.#tries.size <= this.#kept) return;
    for (const [key, { running }] of this.#tries) {
      if (running > 0) continue;
      this.#tries.delete(key);
      return;
    }
  }

  #isLocked(key: string): boolean {
    const locked = this.#locked.get(key);
    if (locked === undefined) return false;
    if (this.#clock.now() < locked.until) return true;
    this.#locked.delete(key);
    return false;
  }

  #sweep(): void {
    for (const key of this.#locked.keys()) this.#isLocked(key);
  }

  /** Names that are locked now, by accessor. */
  locked(): ReadonlyMap<string, readonly string[]> {
    this.#sweep();
    const found = new Map<string, string[]>();
    for (const { accessor, name } of this.#locked.values()) {
      const names = found.get(accessor);
      if (names === undefined) found.set(accessor, [name]);
      else names.push(name);
    }
    return found;
  }

  /** Forgets failures too. Nothing where there are none. */
  unlock({ accessor, name }: Subject): void {
    const key = `${accessor}\n${name}`;
    if (this.#locked.delete(key)) this.changes += 1;
    const tries = this.#tries.get(key);
    if (tries !== undefined) this.#forgive(tries);
  }

  /** What stands against names now, the locked ones first, the newest of each before the others. */
  *failures(): Generator<Failure> {
    this.#sweep();
    yield* [...this.#locked.values()].reverse();
    for (const { accessor, name, failures, last } of [...this.#tries.values()].reverse()) {
      if (failures > 0) yield { accessor, name, failures, last };
    }
  }

  /** Before anybody tries: what `failures` said. */
  restore(failures: readonly Failure[]): void {
    for (const { accessor, name, until, failures: times = 0, last = 0 } of failures.toReversed()) {
      const key = `${accessor}\n${name}`;
      if (until !== undefined) this.#locked.set(key, { accessor, name, until });
      else this.#tries.set(key, { accessor, name, failures: times, last, running: 0, waiting: [] });
    }
  }
}
