// Answers that their clients have not taken yet: what the kernel did not accept of them stays in memory.
// Must hold: all of them together are bounded in bytes, and each in time. Whoever has taken none of his for longest goes first.
// Known gap: what lies in the buffers of the kernels counts as taken, so that of a slow client it is seen late; and to take
// a little again and again is to take, for as long as an answer may wait.

import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Limits } from "./limits.ts";

type Bounds = Pick<Limits, "untakenBytes" | "untakenTimeout" | "untakenRate">;

interface Untaken {
  readonly bytes: number;
  /** In performance.now(). */
  readonly until: number;
  /** What its connection had not taken when that was looked at last. */
  left: number;
}

const checkMs = 100;

/** What the kernel has not accepted: a stream counts what it was given until all of that is gone. */
const leftOf = (socket: Socket): number =>
  (socket as { readonly _handle?: { readonly writeQueueSize?: number } | null })._handle?.writeQueueSize ?? 0;

/** One for a process: the bounds are its. */
export class Outbox {
  readonly #bounds: Bounds;
  /** Whose connection has taken nothing for longest, first. */
  readonly #untaken = new Map<ServerResponse, Untaken>();
  #bytes = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
  }

  /** To be told of each answer once it was handed over whole. */
  watch(outgoing: ServerResponse): void {
    const bytes = outgoing.writableLength;
    if (bytes > 0) this.#add(outgoing, bytes);
  }

  #add(outgoing: ServerResponse, bytes: number): void {
    const { untakenBytes, untakenTimeout, untakenRate } = this.#bounds;
    const until = performance.now() + untakenTimeout + (1000 * bytes) / untakenRate;
    this.#untaken.set(outgoing, { bytes, until, left: leftOf(outgoing.req.socket) });
    this.#bytes += bytes;
    outgoing.once("close", () => this.#forget(outgoing));
    this.#timer ??= setInterval(() => this.#check(), checkMs).unref();
    if (this.#bytes <= untakenBytes) return;
    this.#look();
    for (const [idlest] of this.#untaken) {
      if (this.#bytes <= untakenBytes) break;
      // One that is larger alone is left its time.
      if (idlest !== outgoing) this.#cut(idlest);
    }
  }

  #check(): void {
    this.#look();
    const now = performance.now();
    for (const [outgoing, { until }] of this.#untaken) if (until <= now) this.#cut(outgoing);
  }

  /** Puts those last whose connections have taken something. */
  #look(): void {
    for (const [outgoing, untaken] of Array.from(this.#untaken)) {
      const left = leftOf(outgoing.req.socket);
      if (left === untaken.left) continue;
      untaken.left = left;
      this.#untaken.delete(outgoing);
      this.#untaken.set(outgoing, untaken);
    }
  }

  #cut(outgoing: ServerResponse): void {
    this.#forget(outgoing);
    outgoing.destroy();
  }

  #forget(outgoing: ServerResponse): void {
    const untaken = this.#untaken.get(outgoing);
    if (untaken === undefined) return;
    this.#untaken.delete(outgoing);
    this.#bytes -= untaken.bytes;
    if (this.#untaken.size > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}
