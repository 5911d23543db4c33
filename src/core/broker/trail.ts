// The chain under way: entries of one turn of the event loop are chained together and handed to every device as one batch;
// who waits for them is told when the first device, and every required one, keeps them.
// Must hold: entries are numbered in the order of `add`, and none is dropped once it has a number; `kept` never resolves
// for a line before it does for the lines before; when one batch misses its deadline, all that wait then fail with it, and
// what comes while the devices that matter are known to keep nothing fails at once.
// Lines that failed stay in the chain and are written as soon as a device takes them: the log may tell of requests that
// were refused, never the other way round.

import { VaultError } from "../../sdk/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { Timer } from "../../lib/flight.ts";
import { lineHash } from "../../sdk/chain.ts";
import type { Head } from "../../sdk/audit.ts";
import type { Entry } from "./entry.ts";
import type { Feed, FeedStatus } from "./feed.ts";
import { type Bounds, Window } from "./window.ts";

export interface TrailOptions {
  readonly log: Logger;
  readonly timer: Timer;
  /** Milliseconds, from anywhere. */
  readonly steady: () => number;
  /** Milliseconds. */
  readonly deadline: number;
  readonly bounds: Bounds;
}

/** Those who wait for the lines of one turn. */
export interface Wait {
  readonly kept: Promise<void>;
  /** True once `kept` has rejected. */
  readonly failed: boolean;
}

class Waiting implements Wait {
  readonly kept: Promise<void>;
  failed = false;
  /** Number of the last line waited for. */
  last = 0;
  ticks = 0;
  readonly #settle: { readonly resolve: () => void; readonly reject: (error: VaultError) => void };

  constructor() {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Reads do not wait for their first entry: a failure reaches them by their second one.
    promise.catch(() => {});
    this.kept = promise;
    this.#settle = { resolve, reject };
  }

  resolve(): void {
    this.#settle.resolve();
  }

  fail(error: VaultError): void {
    this.failed = true;
    this.#settle.reject(error);
  }
}

/** A deadline counts as missed between one and one and a quarter times its length. */
const ticksPerDeadline = 4;
/** Entries, and their bytes: the window does not count them before they are chained, and a batch is in memory three times. */
const mostHeld = 64;
const mostHeldBytes = 1024 * 1024;
/** Milliseconds that entries gather while a device is idle. Turns that other work makes long bring an entry or two each: who
 *  came first would wait for dozens of them. */
const mostGatheredMs = 1;

const unkept = (): VaultError =>
  new VaultError("audit", "the audit log did not keep the entry of this request: it is not answered; try again later");

/** The promise's result, or a rejection after `ms`. */
export function within<T>(timer: Timer, ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timer.after(ms, () => reject(new Error(`no answer within ${ms} ms`)));
    promise.then(resolve, reject).finally(cancel);
  });
}

function sizeOf({ shared, rest }: Entry): number {
  let size = 0;
  for (const piece of rest) size += piece.length;
  if (shared !== null) for (const piece of shared.pieces) size += piece.length;
  return size;
}

export class Trail {
  readonly #options: TrailOptions;
  readonly #window: Window;
  readonly #waits: Waiting[] = [];
  #feeds: readonly Feed[] = [];
  #entries: Entry[] = [];
  /** Their bytes, about. */
  #size = 0;
  #next: Waiting | null = null;
  #ticking: (() => void) | null = null;
  #stalled = false;
  /** Entries wait for a device to be done with its batch. */
  #held = false;
  /** Called whenever a device has kept more. */
  #watch: (() => void) | null = null;
  #closed = false;

  constructor(head: Head, options: TrailOptions) {
    this.#options = options;
    this.#window = new Window(head, options.bounds);
  }

  /** Starts sending each device what it lacks. */
  start(feeds: readonly Feed[]): void {
    this.#feeds = feeds;
    for (const feed of feeds) feed.pump();
    this.#arm();
  }

  /** One more device; it is sent what it lacks. */
  attach(feed: Feed): void {
    this.#feeds = [...this.#feeds, feed];
    feed.pump();
    this.#arm();
  }

  /** Lets go of a device once another one keeps all that it keeps. False where none does within the deadline. */
  async detach(feed: Feed): Promise<boolean> {
    const { timer, deadline } = this.#options;
    const spare = (): boolean => this.#good().some((other) => other !== feed && other.kept.seq >= feed.kept.seq);
    if (!spare()) {
      const caughtUp = new Promise<void>((resolve) => {
        this.#watch = () => spare() && resolve();
      });
      await within(timer, deadline, caughtUp).catch(() => {});
      this.#watch = null;
      if (!spare()) return false;
    }
    this.#feeds = this.#feeds.filter((other) => other !== feed);
    this.advanced();
    await this.#release(feed);
    return true;
  }

  get window(): Window {
    return this.#window;
  }

  /** The last line of the chain, kept or not. */
  get head(): Head {
    return this.#window.head;
  }

  /** The furthest line that a device keeps. */
  get kept(): Head {
    return this.#good().reduce<Head>((most, feed) => (feed.kept.seq > most.seq ? feed.kept : most), {
      seq: 0,
      hash: "",
    });
  }

  get feeds(): readonly Feed[] {
    return this.#feeds;
  }

  get status(): readonly FeedStatus[] {
    return this.#feeds.map((feed) => feed.status);
  }

  /** Chains one entry. */
  add(entry: Entry): Wait {
    if (this.#closed || this.#window.full) return this.#refuse();
    this.#entries.push(entry);
    this.#size += sizeOf(entry);
    const wait = this.#next ?? new Waiting();
    if (this.#next === null) {
      this.#next = wait;
      const end = this.#options.steady() + mostGatheredMs;
      setImmediate(() => this.#flush(0, end));
    }
    if (this.#size >= mostHeldBytes || (this.#held && this.#entries.length >= mostHeld)) this.#append();
    if (this.#stalled && this.#hopeless) wait.fail(unkept());
    return wait;
  }

  /** Refuses new entries, waits for those under way up to the deadline, then lets go of the devices. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#append();
    await Promise.allSettled(this.#waits.map((wait) => wait.kept));
    for (const feed of this.#feeds) await this.#release(feed);
    this.#ticking?.();
  }

  async #release(feed: Feed): Promise<void> {
    const { timer, deadline, log } = this.#options;
    const { device } = feed;
    await within(
      timer,
      deadline,
      feed.close().then(() => device.close()),
    ).catch((error: unknown) => log.error("audit device did not close", { device: device.name, error }));
  }

  sources(except: Feed, seq: number): readonly Feed[] {
    const others = this.#good().filter((feed) => feed !== except && feed.kept.seq >= seq);
    return others.sort((a, b) => b.kept.seq - a.kept.seq);
  }

  async hashOf(except: Feed, seq: number): Promise<string | null> {
    for (const feed of this.sources(except, seq)) {
      const [line] = await feed.device.read(seq, 1);
      if (line !== undefined) return lineHash(line);
    }
    return null;
  }

  /** After a device has kept more, or is refused. */
  advanced(): void {
    let some = -1;
    let all = Infinity;
    let required = Infinity;
    for (const feed of this.#feeds) {
      const seq = feed.refused ? -1 : feed.kept.seq;
      some = Math.max(some, seq);
      if (!feed.refused) all = Math.min(all, seq);
      if (feed.required) required = Math.min(required, seq);
    }
    const kept = Math.min(some, required);
    while (this.#waits[0] !== undefined && this.#waits[0].last <= kept) this.#waits.shift()?.resolve();
    this.#window.trim(all, some);
    if (this.#held) this.#append();
    this.#watch?.();
    if (this.#stalled && this.#waits.length === 0 && !this.#window.full && !this.#hopeless) {
      this.#stalled = false;
      this.#options.log.warn("the audit log keeps entries again");
    }
  }

  /** No entry can be kept before a device does better; each of them is tried again meanwhile. */
  get #hopeless(): boolean {
    return this.#feeds.some((feed) => feed.required && feed.failing) || this.#feeds.every((feed) => feed.failing);
  }

  #good(): Feed[] {
    return this.#feeds.filter((feed) => !feed.refused);
  }

  /** Entries wait to be chained while every device is busy, and for a moment as long as each turn of the event loop brings
   *  more of them, up to a number: they then travel as one batch, whose way to a thread and back costs as much as serving a request. */
  #flush(before: number, end: number): void {
    const count = this.#entries.length;
    if (count >= mostHeld) this.#append();
    else if (count > before && this.#options.steady() < end) setImmediate(() => this.#flush(count, end));
    else if (this.#feeds.some((feed) => feed.idle)) this.#append();
    else this.#held = this.#next !== null;
  }

  #append(): void {
    this.#held = false;
    const wait = this.#next;
    if (wait === null) return;
    this.#next = null;
    this.#window.append(this.#entries);
    this.#entries = [];
    this.#size = 0;
    wait.last = this.#window.head.seq;
    if (!wait.failed) this.#waits.push(wait);
    for (const feed of this.#feeds) feed.pump();
    this.#arm();
  }

  #refuse(): Wait {
    const wait = new Waiting();
    wait.fail(unkept());
    if (!this.#closed) this.#stall();
    return wait;
  }

  #arm(): void {
    this.#ticking ??= this.#options.timer.after(this.#options.deadline / ticksPerDeadline, () => this.#tick());
  }

  /** Time by counting turns of a timer: neither a clock that is set nor a process that was stopped makes entries late. */
  #tick(): void {
    this.#ticking = null;
    if (this.#held) this.#append();
    for (const feed of this.#feeds) feed.tick(ticksPerDeadline);
    let late = false;
    for (const wait of this.#waits) late ||= ++wait.ticks > ticksPerDeadline;
    if (late) {
      this.#stall();
      for (const wait of this.#waits.splice(0)) wait.fail(unkept());
    }
    if (this.#waits.length > 0 || this.#feeds.some((feed) => feed.kept.seq < this.head.seq)) this.#arm();
  }

  #stall(): void {
    if (this.#stalled) return;
    this.#stalled = true;
    const waiting = this.status.filter((one) => one.head < this.head.seq).map((one) => one.name);
    this.#options.log.error("the audit log does not keep entries: requests are refused", {
      devices: waiting.join(", "),
    });
  }
}
