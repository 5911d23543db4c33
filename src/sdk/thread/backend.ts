// The main thread's side of a store that has a thread of its own: calls of one turn of the event loop travel there in one
// message.
// Must hold: every call is answered once; when the thread is gone or the store lost, all calls fail and leadership ends.

import { Worker } from "node:worker_threads";
import type { Logger } from "../../lib/log.ts";
import { VaultError } from "../errors.ts";
import { checkKey, checkOps, checkPrefix, conflict } from "../keys.ts";
import type { Leadership, Op, Page, StorageBackend, Stored } from "../storage.ts";
import { type Greeting, Reader, Writer, type Frame } from "./wire.ts";

interface Waiting {
  resolve(value: unknown): void;
  reject(error: VaultError): void;
}

const failed = (text: string): VaultError => new VaultError("storage", `storage: ${text}`);

export class ThreadStorage implements StorageBackend {
  readonly type: string;
  readonly atomic = true;
  readonly maxValue = 32 * 1024 * 1024;
  readonly #worker: Worker;
  readonly #log: Logger;
  readonly #out = new Writer();
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #next = 1;
  /** Why nothing works any more. */
  #ended: VaultError | null = null;
  #closing: Promise<void> | null = null;
  #leading = false;
  #onLost: (() => void) | null = null;

  /** `worker` has said that it is ready. */
  constructor(type: string, worker: Worker, log: Logger) {
    this.type = type;
    this.#worker = worker;
    this.#log = log;
    worker.on("message", (frame: Frame) => this.#receive(frame));
    worker.on("error", (error: Error) => this.#end(failed("the storage thread crashed; restart"), error.message));
    this.#exited = new Promise((resolve) => {
      worker.once("exit", () => {
        this.#end(failed(this.#closing === null ? "the storage thread ended; restart" : "closed"));
        resolve();
      });
    });
  }

  async get(key: string): Promise<Stored | null> {
    checkKey(key);
    return this.#call<Stored | null>("get", (out) => out.add(key));
  }

  /** `ops` and their values must not change until the write has resolved. */
  async write(ops: readonly Op[]): Promise<void> {
    checkOps(ops, this.maxValue);
    const written = this.#call<void>("write", (out) => {
      out.add(ops.length);
      for (const { key, value, version, expect } of ops) {
        out.add(key, value === null ? -1 : value.length, version, expect === "absent" ? 0 : (expect ?? -1));
        if (value !== null) out.value(value);
      }
    });
    // Whoever has much to write has gathered it: the thread begins at once, while this one goes on.
    this.#flush();
    return written;
  }

  async list(prefix: string, page: Page = {}): Promise<string[]> {
    checkPrefix(prefix);
    return this.#call<string[]>("list", (out) =>
      out.add(prefix, page.after ?? "", page.limit ?? Number.MAX_SAFE_INTEGER),
    );
  }

  async lead(onLost: () => void): Promise<Leadership> {
    if (this.#leading) throw new VaultError("conflict", `storage: process ${process.pid} leads already`);
    this.#leading = true;
    try {
      const epoch = await this.#call<number>("lead", () => {});
      this.#onLost = onLost;
      let held = true;
      const release = async (): Promise<void> => {
        if (!held) return;
        held = false;
        this.#leading = false;
        this.#onLost = null;
      };
      return { epoch, release };
    } catch (error) {
      this.#leading = false;
      throw error;
    }
  }

  /** Writes that were asked for before are finished first. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#onLost = null;
    if (this.#ended === null) await this.#call("close", () => {}, true).catch(() => {});
    // A thread that is lost still has its files open.
    else await this.#worker.terminate();
    await this.#exited;
  }

  #call<T>(kind: string, add: (out: Writer) => void, last = false): Promise<T> {
    const ended = this.#ended ?? (this.#closing !== null && !last ? failed("closed") : null);
    if (ended !== null) return Promise.reject(ended);
    // One message for all calls of a turn: setImmediate runs after the turn's sockets have been read.
    if (this.#out.empty) setImmediate(() => this.#flush());
    const id = this.#next++;
    this.#out.add(id, kind);
    add(this.#out);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
  }

  #flush(): void {
    if (this.#ended !== null || this.#out.empty) return;
    const frame = this.#out.take();
    this.#worker.postMessage(frame, [frame.bytes.buffer]);
  }

  #receive(frame: Frame): void {
    for (const reply = new Reader(frame); !reply.done;) {
      const id = reply.number();
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      this.#settle(reply, waiting);
    }
  }

  /** Reads one reply whole, whether or not somebody still waits for it. */
  #settle(reply: Reader, waiting: Waiting | undefined): void {
    const kind = reply.text();
    if (kind === "done") waiting?.resolve(undefined);
    else if (kind === "none") waiting?.resolve(null);
    else if (kind === "found") {
      const version = reply.number();
      waiting?.resolve({ version, value: reply.bytes(reply.number()) } satisfies Stored);
    } else if (kind === "names") {
      waiting?.resolve(Array.from({ length: reply.number() }, () => reply.text()));
    } else if (kind === "epoch") waiting?.resolve(reply.number());
    else if (kind === "conflict") waiting?.reject(conflict());
    else if (kind === "failed") waiting?.reject(failed(reply.text()));
    else if (kind === "lost") {
      const error = failed(reply.text());
      waiting?.reject(error);
      this.#end(error);
    } else this.#end(failed("the storage thread sent what nobody understands; restart"));
  }

  #end(error: VaultError, cause?: string): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    if (this.#closing === null) this.#log.error("storage is lost", { error: error.message, ...(cause && { cause }) });
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
    const onLost = this.#onLost;
    this.#onLost = null;
    onLost?.();
  }
}

/** Starts the thread. Throws VaultError `conflict` where another process has the store, `storage` where it does not open. */
export async function openThread(type: string, url: URL, data: unknown, log: Logger): Promise<StorageBackend> {
  // Neither flags (--eval's among them) nor environment of this process are the thread's business.
  const worker = new Worker(url, {
    workerData: data,
    env: {},
    execArgv: [],
    name: type,
    // What a store makes is short-lived; without a limit tens of MB of it wait to be collected.
    resourceLimits: { maxYoungGenerationSizeMb: 12 },
  });
  const greeting = await new Promise<Greeting>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  worker.removeAllListeners("error");
  if (greeting.ready) {
    for (const note of greeting.notes) log.warn("storage", { note });
    return new ThreadStorage(type, worker, log);
  }
  await worker.terminate();
  throw new VaultError(greeting.held ? "conflict" : "storage", `storage: ${greeting.text}`);
}
