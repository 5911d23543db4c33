// The thread that owns the database. While it syncs, messages pile up in its port; it then takes all of them into the
// next transaction, so that concurrent writers share one sync without waiting for each other.

import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { Op } from "../../sdk/storage.ts";
import { isBusy, NotWritten, prepare, Store, StoreLost } from "./store.ts";
import { Reader, Writer, type Frame, type Greeting, type Opening } from "./wire.ts";

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
  return ["failed", `the database could not be read: ${error instanceof Error ? error.message : "unknown error"}`];
};

/** Reads are answered before the batch's writes are synced; a caller that waited for its write sees it. */
function answer(store: Store, frame: Frame, out: Writer, writes: Write[]): boolean {
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

function found(store: Store, id: number, key: string, out: Writer): void {
  const stored = store.get(key);
  if (stored === null) {
    out.add(id, "none");
    return;
  }
  out.add(id, "found", stored.version, stored.value.length);
  out.value(stored.value);
}

function commit(store: Store, writes: readonly Write[], out: Writer): void {
  if (writes.length === 0) return;
  try {
    const outcomes = store.commit(writes.map((write) => write.ops));
    for (const [at, write] of writes.entries()) out.add(write.id, outcomes[at] ?? "failed");
  } catch (error) {
    for (const write of writes) out.add(write.id, ...failure(error));
  }
}

/** The holder's process id, as far as it can be read. */
function holder(pidFile: string): string {
  try {
    const text = readFileSync(pidFile, "utf8").trim();
    return /^\d{1,10}$/.test(text) ? `process ${text}` : "another process";
  } catch {
    return "another process";
  }
}

function open({ file, pidFile }: Opening): Store {
  const db = new DatabaseSync(file, { allowExtension: false, timeout: 0 });
  try {
    prepare(db);
    writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
    chmodSync(pidFile, 0o600);
    return new Store(db);
  } catch (error) {
    db.close();
    throw error;
  }
}

function run(): void {
  const port = parentPort;
  if (port === null) throw new Error("runs as a worker only");
  const opening = workerData as Opening;
  let store: Store;
  try {
    store = open(opening);
  } catch (error) {
    const held = isBusy(error);
    const cause = error instanceof Error ? error.message : "unknown error";
    const text = held ? `in use by ${holder(opening.pidFile)}` : `the database does not open: ${cause}`;
    port.postMessage({ ready: false, holder: held, text } satisfies Greeting);
    return;
  }
  port.postMessage({ ready: true } satisfies Greeting);
  port.on("message", (first: Frame) => {
    const out = new Writer();
    const writes: Write[] = [];
    let going = true;
    for (let frame: Frame | undefined = first; frame !== undefined;) {
      going = answer(store, frame, out, writes) && going;
      const next: { readonly message: Frame } | undefined = receiveMessageOnPort(port);
      frame = next?.message;
    }
    if (!out.empty) send(out);
    commit(store, writes, out);
    if (!out.empty) send(out);
    if (going) return;
    store.close();
    port.close();
  });
  const send = (out: Writer): void => {
    const reply = out.take();
    port.postMessage(reply, [reply.bytes.buffer]);
  };
}

run();
