// What the bodies of all requests together may cost: small ones and those of an ordinary size so many bytes each while they are
// read; larger ones, each of which takes several times its length until it is answered, one at a time.
// Must hold: a turn ends with its request, however that ends; nobody waits for ever, and nobody who sends slowly keeps
// others waiting for longer than the limit says. A small body always gets in, whoever else sends what.

import type { IncomingMessage } from "node:http";
import { collect } from "../lib/collect.ts";
import type { VaultError } from "../sdk/errors.ts";
import type { Limits } from "./limits.ts";
import { busy, type Held, Pot } from "./pot.ts";

/** The client went away before its request was whole: there is nobody to answer. */
export class Aborted extends Error {
  override readonly name = "Aborted";
}

type Bounds = Pick<
  Limits,
  "strangerBytes" | "largeBytes" | "heldBytes" | "smallBytes" | "smallHeldBytes" | "turnTimeout" | "turnPause"
>;

/** Bytes from which on what a body leaves behind is worth a collection of the whole heap. */
const worthCollecting = 8 * 1024 * 1024;
/** Others have so many times as long as that took. */
const restShare = 10;

interface Waiting {
  readonly incoming: IncomingMessage;
  begin(): void;
  gone(): void;
}

/** One for a process: the bounds are its. */
export class Intake {
  readonly bounds: Bounds;
  readonly #queue: Waiting[] = [];
  readonly #small: Pot;
  readonly #others: Pot;
  /** Whose turn it is, and the bytes of his body once it is all there. */
  #current: IncomingMessage | null = null;
  #arrived = 0;
  /** Milliseconds that collections took in this turn. */
  #collecting = 0;
  #resting = false;

  constructor(bounds: Bounds) {
    this.bounds = bounds;
    this.#small = new Pot(bounds.smallHeldBytes);
    this.#others = new Pot(bounds.heldBytes, true);
  }

  /** `bytes` are all that a body takes now that waits for no turn. Throws VaultError `rate_limited`. */
  hold(body: Held, bytes: number): void {
    if (bytes <= this.bounds.smallBytes) {
      this.#small.hold(body, bytes);
      return;
    }
    this.#small.drop(body);
    this.#others.hold(body, bytes);
  }

  drop(body: Held): void {
    this.#small.drop(body);
    this.#others.drop(body);
  }

  /** Resolves when a large body may be read. Rejects with VaultError `rate_limited`, or with Aborted. */
  turn(incoming: IncomingMessage): Promise<void> {
    if (this.#current === null && !this.#resting) {
      this.#current = incoming;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        incoming.off("close", gone);
        const at = this.#queue.indexOf(waiting);
        if (at >= 0) this.#queue.splice(at, 1);
      };
      const gone = (): void => {
        end();
        reject(new Aborted());
      };
      const waiting = {
        incoming,
        gone,
        begin: (): void => {
          end();
          resolve();
        },
      };
      const timer = setTimeout(() => {
        end();
        reject(busy("the server is reading other large requests"));
      }, this.bounds.turnTimeout);
      incoming.once("close", gone);
      this.#queue.push(waiting);
    });
  }

  /** Calls `cut` once the body of whose turn it is has taken too long while others wait. To be stopped when it is read. */
  watch(cut: (error: VaultError) => void): () => void {
    const { turnTimeout } = this.bounds;
    const since = performance.now();
    const timer = setInterval(
      () => {
        if (this.#queue.length === 0 || performance.now() - since < turnTimeout) return;
        cut(busy(`a large request took longer than ${turnTimeout / 1000} s to arrive while others wait`));
      },
      Math.min(1_000, turnTimeout / 4),
    );
    return () => clearInterval(timer);
  }

  /** The body of whose turn it is has come. */
  arrived(bytes: number): void {
    this.#arrived = bytes;
  }

  /** Where so much was let go of that others should not have it on top of theirs. */
  collect(bytes: number): void {
    if (bytes < worthCollecting) return;
    const since = performance.now();
    collect();
    this.#collecting += performance.now() - since;
  }

  /** After every request, whatever its size was. */
  end(incoming: IncomingMessage): void {
    if (this.#current !== incoming) {
      this.#queue.find((waiting) => waiting.incoming === incoming)?.gone();
      return;
    }
    this.#current = null;
    this.#resting = true;
    setImmediate(() => {
      // Several times the body's length is garbage now, and the next one would come on top of it.
      this.collect(this.#arrived);
      this.#arrived = 0;
      setTimeout(() => this.#next(), Math.max(this.bounds.turnPause, restShare * this.#collecting)).unref();
      this.#collecting = 0;
    });
  }

  #next(): void {
    this.#resting = false;
    const next = this.#queue[0];
    if (next === undefined) return;
    this.#current = next.incoming;
    next.begin();
  }
}
