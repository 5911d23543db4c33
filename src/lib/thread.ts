// A thread for work that would hold up whoever is served by this one: questions are sent to it one by one, and each answer
// comes back to who asked.
// Must hold: a thread that dies, or takes longer than a question may, fails what it was asked and nothing else; whoever
// wants another opens one.

import { type MessagePort, type ResourceLimits, Worker } from "node:worker_threads";

interface Message {
  readonly id: number;
  readonly question: unknown;
}

type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly told: unknown });

export interface ThreadOptions {
  readonly url: URL;
  /** What the module finds as its `workerData`. */
  readonly data: unknown;
  readonly name: string;
  readonly limits: ResourceLimits;
  /** Milliseconds that a question may take, waiting for those before it included. */
  readonly deadline: number;
  /** The error that the thread told. */
  revive(told: unknown): Error;
  /** The error of what it was asked, where it is there no more. */
  ended(why: string): Error;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** This side of one thread. It does not keep the process. */
export class Thread<Question> {
  readonly #options: ThreadOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #worker: Worker;
  #counter = 0;
  alive = true;

  constructor(options: ThreadOptions) {
    this.#options = options;
    const { url, data, name, limits } = options;
    this.#worker = new Worker(url, { workerData: data, name, resourceLimits: limits });
    this.#worker.unref();
    this.#worker.on("message", (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ("told" in answer) waiting?.reject(options.revive(answer.told));
      else waiting?.resolve(answer.value);
    });
    this.#worker.on("error", (error) => this.#die(error instanceof Error ? (error.stack ?? error.message) : ""));
    this.#worker.on("exit", (code) => this.#die(`the thread ended with code ${code}`));
  }

  async ask(question: Question): Promise<unknown> {
    if (!this.alive) throw this.#options.ended("the thread is closed");
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#counter += 1;
    this.#waiting.set(this.#counter, { resolve, reject });
    const stuck = setTimeout(() => void this.stop("took too long"), this.#options.deadline);
    stuck.unref();
    try {
      this.#worker.postMessage({ id: this.#counter, question } satisfies Message);
      return await promise;
    } finally {
      clearTimeout(stuck);
    }
  }

  async stop(why: string): Promise<void> {
    this.#die(why);
    await this.#worker.terminate();
  }

  #die(why: string): void {
    this.alive = false;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#options.ended(why));
    this.#waiting.clear();
  }
}

/** The thread's side: answers what it is asked. `tell` says of an error what the other side can make one of again; `moved`
 *  is what of an answer changes hands instead of being copied. */
export function answering(
  port: MessagePort | null,
  answer: (question: unknown) => Promise<unknown>,
  tell: (error: unknown) => unknown,
  moved: (value: unknown) => ArrayBuffer[] = () => [],
): void {
  port?.on("message", ({ id, question }: Message) => {
    answer(question).then(
      (value) => port.postMessage({ id, value } satisfies Answer, moved(value)),
      (error: unknown) => port.postMessage({ id, told: tell(error) } satisfies Answer),
    );
  });
}
