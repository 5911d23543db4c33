// What the bodies of all requests together may cost: those of an ordinary size so many bytes while they are read; larger
// ones, each of which takes several times its length until it is answered, one at a time.
// Must hold: a turn ends with its request, however that ends; nobody waits for ever, and nobody who sends slowly keeps
// others waiting for longer than the limit says.

import type { IncomingMessage } from "node:http";
import { collect } from "../lib/collect.ts";
import { VaultError } from "../sdk/errors.ts";
import type { Limits } from "./limits.ts";

/** The client went away before its request was whole: there is nobody to answer. */
export class Aborted extends Error {
  override readonly name = "Aborted";
}

type Bounds = Pick<Limits, "strangerBytes" | "largeBytes" | "heldBytes" | "turnTimeout" | "turnPause">;

interface Waiting {
  readonly incoming: IncomingMessage;
  begin(): void;
}

function busy(message: string): VaultError {
  const error = new VaultError("rate_limited", `${message}: try again later`);
  error.headers = ["Retry-After", "1"];
  return error;
}

/** One for a process: the bounds are its. */
export class Intake {
  readonly bounds: Bounds;
  readonly #queue: Waiting[] = [];
  #held = 0;
  /** Whose turn it is. */
  #current: IncomingMessage | null = null;
  #resting = false;

  constructor(bounds: Bounds) {
    this.bounds = bounds;
  }

  /** Of a body of an ordinary size. Throws VaultError `rate_limited`. */
  hold(bytes: number): void {
    if (this.#held + bytes > this.bounds.heldBytes) throw busy("the server is reading too many requests at once");
    this.#held += bytes;
  }

  drop(bytes: number): void {
    this.#held -= bytes;
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

  /** After every request, whatever its size was. */
  end(incoming: IncomingMessage): void {
    if (this.#current !== incoming) return;
    this.#current = null;
    this.#resting = true;
    // Several times the body's length is garbage now, and the next one would come on top of it.
    setImmediate(collect);
    setTimeout(() => {
      this.#resting = false;
      const next = this.#queue[0];
      if (next === undefined) return;
      this.#current = next.incoming;
      next.begin();
    }, this.bounds.turnPause).unref();
  }
}
