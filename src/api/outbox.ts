// Answers that their clients have not taken yet: what the kernel did not accept of them stays in memory.
// Must hold: all of them together are bounded in bytes, and each in time. Whoever has taken none of his for longest goes first.

import type { ServerResponse } from "node:http";
import type { Limits } from "./limits.ts";

type Bounds = Pick<Limits, "untakenBytes" | "untakenTimeout" | "untakenRate">;

interface Untaken {
  readonly bytes: number;
  /** In performance.now(). */
  readonly until: number;
}

const checkMs = 1_000;

/** One for a process: the bounds are its. */
export class Outbox {
  readonly #bounds: Bounds;
  /** The oldest first. */
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
    this.#untaken.set(outgoing, { bytes, until });
    this.#bytes += bytes;
    outgoing.once("close", () => this.#forget(outgoing));
    this.#timer ??= setInterval(() => this.#check(), checkMs).unref();
    for (const [oldest] of this.#untaken) {
      // One that is larger alone is left its time.
      if (this.#bytes <= untakenBytes || oldest === outgoing) break;
      this.#cut(oldest);
    }
  }

  #check(): void {
    const now = performance.now();
    for (const [outgoing, { until }] of this.#untaken) if (until <= now) this.#cut(outgoing);
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
