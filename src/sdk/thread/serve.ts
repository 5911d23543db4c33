// The store's side: a thread that owns it. While it syncs, messages pile up in its port; it then takes all of them into
// the next step, so that concurrent writers share one sync without waiting for each other.

import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { type MessagePort, parentPort, receiveMessageOnPort } from "node:worker_threads";
import type { Op } from "../storage.ts";
import { NotWritten, reasonOf, StoreHeld, StoreLost, type ThreadStore } from "./store.ts";
import { Reader, Writer, type Frame, type Greeting } from "./wire.ts";

interface Write {
  readonly id: number;
  readonly ops: readonly Op[];
}

function operations(call: Reader): Op[] {
  return Array.from({ length: call.number() }, () => {
    const key = call.text();
    const size = call.number();
    const version = call.number();
    const expect = call.number();
    const op = { key, value: size < 0 ? null : call.bytes(size), version };
    return expect < 0 ? op : { ...op, expect: expect === 0 ? "absent" : expect };
  });
}

const failure = (error: unknown): readonly ["lost" | "failed", string] => {
  if (error instanceof StoreLost) return ["lost", error.message];
  if (error instanceof NotWritten) return ["failed", error.message];
  return ["failed", `the store could not be read: ${reasonOf(error)}`];
};

/** Reads are answered before the batch's writes are synced; a caller that waited for its write sees it. */
function answer(store: ThreadStore, frame: Frame, out: Writer, writes: Write[]): boolean {
  let open = true;
  for (const call = new Reader(frame); !call.done;) {
    const id = call.number();
    const kind = call.text();
    try {
      if (kind === "write") writes.push({ id, ops: operations(call) });
      else if (kind === "get") found(store, id, call.text(), out);
      else if (kind === "list") {
        const names = store.list(call.text(), call.text(), call.number());
        out.add(id, "names", names.length);
        for (const name of names) out.add(name);
      } else if (kind === "lead") out.add(id, "epoch", store.lead());
      else if (kind === "close") {
        out.add(id, "done");
        open = false;
      }
    } catch (error) {
      out.add(id, ...failure(error));
    }
  }
  return open;
}

function found(store: ThreadStore, id: number, key: string, out: Writer): void {
  const stored = store.get(key);
  if (stored === null) {
    out.add(id, "none");
    return;
  }
  out.add(id, "found", stored.version, stored.value.length);
  out.value(stored.value);
}

function commit(store: ThreadStore, writes: readonly Write[], out: Writer): void {
  if (writes.length === 0) return;
  try {
    const outcomes = store.commit(writes.map((write) => write.ops));
    for (const [at, write] of writes.entries()) out.add(write.id, outcomes[at] ?? "failed");
  } catch (error) {
    for (const write of writes) out.add(write.id, ...failure(error));
  }
}

/** Who has the store, as far as its process id can be read. */
function holder(pidFile: string): string {
  try {
    const text = readFileSync(pidFile, "utf8").trim();
    return /^\d{1,10}$/.test(text) ? `process ${text}` : "another process";
  } catch {
    return "another process";
  }
}

class Service {
  readonly #store: ThreadStore;
  readonly #port: MessagePort;
  readonly #out = new Writer();
  /** Writes that a store under pressure has not taken yet. */
  #waiting: Write[] = [];
  #going = true;

  constructor(store: ThreadStore, port: MessagePort) {
    this.#store = store;
    this.#port = port;
  }

  start(): void {
    this.#store.onRelief = () => this.#write(false);
    this.#port.on("message", (frame: Frame) => this.#take(frame));
  }

  #take(first: Frame): void {
    for (let frame: Frame | undefined = first; frame !== undefined;) {
      this.#going = answer(this.#store, frame, this.#out, this.#waiting) && this.#going;
      const next: { readonly message: Frame } | undefined = receiveMessageOnPort(this.#port);
      frame = next?.message;
    }
    this.#send();
    this.#write(!this.#going);
    if (this.#going) return;
    this.#store.close();
    this.#port.close();
  }

  #write(anyway: boolean): void {
    if (this.#store.pressed === true && !anyway) return;
    commit(this.#store, this.#waiting, this.#out);
    this.#waiting = [];
    this.#send();
  }

  #send(): void {
    if (this.#out.empty) return;
    const reply = this.#out.take();
    this.#port.postMessage(reply, [reply.bytes.buffer]);
  }
}

/** Opens the store and serves it until it is closed; what `open` throws is told, StoreHeld with the holder's name. */
export function serve(pidFile: string, open: () => ThreadStore): void {
  const port = parentPort;
  if (port === null) throw new Error("runs as a worker only");
  let store: ThreadStore;
  try {
    store = open();
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
    chmodSync(pidFile, 0o600);
  } catch (error) {
    const held = error instanceof StoreHeld;
    const text = held ? `in use by ${holder(pidFile)}` : `the store does not open: ${reasonOf(error)}`;
    port.postMessage({ ready: false, held, text } satisfies Greeting);
    return;
  }
  port.postMessage({ ready: true, notes: store.notes ?? [] } satisfies Greeting);
  new Service(store, port).start();
}
