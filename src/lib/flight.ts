// One run at a time, however many ask: calls made before a run starts share it, calls made during a run share the next.
// Must hold: the promise of a call is that of a run which began after the call, so its result is never older than the
// question; two runs never overlap, and starts lie at least `spacing` apart (a burst of one).

import { type Clock, manualClock } from "./clock.ts";

/** Time that passes, as an argument: tests move it by hand. */
export interface Timer {
  /** Runs once after `ms` milliseconds unless the returned function is called first. */
  after(ms: number, run: () => void): () => void;
}

export const systemTimer: Timer = {
  after: (ms, run) => {
    const timeout = setTimeout(run, ms);
    return () => clearTimeout(timeout);
  },
};

/** A timer, and its clock, that move only when a test says so. */
export function manualTimer(): Timer & { readonly clock: ReturnType<typeof manualClock>; pass(ms: number): void } {
  const clock = manualClock();
  let waiting: { at: number; run: () => void }[] = [];
  return {
    clock,
    after: (ms, run) => {
      const entry = { at: clock.now() + ms, run };
      waiting.push(entry);
      return () => {
        waiting = waiting.filter((other) => other !== entry);
      };
    },
    pass: (ms) => {
      const end = clock.now() + ms;
      for (;;) {
        const next = waiting.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (next === undefined) break;
        waiting = waiting.filter((other) => other !== next);
        clock.set(Math.max(clock.now(), next.at));
        next.run();
      }
      clock.set(end);
    },
  };
}

interface Ticket<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

export class Flight<T> {
  readonly #run: () => Promise<T>;
  readonly #spacing: number;
  readonly #clock: Clock;
  readonly #timer: Timer;
  /** The run that has not begun yet, if anybody waits for one. */
  #next: Ticket<T> | null = null;
  #current: Promise<void> | null = null;
  #cancel: (() => void) | null = null;
  #started = Number.NEGATIVE_INFINITY;
  #closed = false;

  /** `spacing` in milliseconds from one start to the next. */
  constructor(
    run: () => Promise<T>,
    options: { readonly spacing: number; readonly clock: Clock; readonly timer: Timer },
  ) {
    this.#run = run;
    this.#spacing = options.spacing;
    this.#clock = options.clock;
    this.#timer = options.timer;
  }

  /** The result of a run that begins after this call. Rejects as that run does, or at once after `close`. */
  fly(): Promise<T> {
    if (this.#closed) return Promise.reject(new Error("closed"));
    const ticket = (this.#next ??= Promise.withResolvers<T>());
    this.#take();
    return ticket.promise;
  }

  /** Refuses what has not begun and waits for what has. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = null;
    this.#next?.promise.catch(() => {});
    this.#next?.reject(new Error("closed"));
    this.#next = null;
    await this.#current;
  }

  #take(): void {
    if (this.#next === null || this.#current !== null || this.#cancel !== null) return;
    // A clock that was set back must not make the wait longer than one spacing.
    const passed = Math.max(0, this.#clock.now() - this.#started);
    const wait = this.#spacing - passed;
    if (wait > 0) {
      this.#cancel = this.#timer.after(wait, () => {
        this.#cancel = null;
        this.#begin();
      });
      return;
    }
    this.#begin();
  }

  #begin(): void {
    const ticket = this.#next;
    if (ticket === null) return;
    this.#next = null;
    this.#started = this.#clock.now();
    this.#current = this.#run()
      .then(ticket.resolve, ticket.reject)
      .finally(() => {
        this.#current = null;
        this.#take();
      });
  }
}
