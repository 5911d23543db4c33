// Storage in one SQLite database in a folder of its own (node:sqlite, nothing to compile): the embedded default.
// Must hold: one process at a time has the database; what `write` resolved survives a kill and a power cut.
// Known gap: the lock is a lock of the operating system; on a network file system that fakes locks it protects nothing.

import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Logger } from "../../lib/log.ts";
import { VaultError } from "../../sdk/errors.ts";
import { field, parse } from "../../sdk/fields.ts";
import type { StorageBackend, StoragePlugin } from "../../sdk/storage.ts";
import { SqliteStorage } from "./backend.ts";
import { prepareFolder } from "./folder.ts";
import type { Greeting } from "./wire.ts";

const fields = {
  path: field.string("Folder of the database; made with mode 0700 where it is missing", { required: true }),
} as const;

/** Throws VaultError `conflict` naming the process that has the database, `storage` where it does not open. */
async function open(settings: Readonly<Record<string, unknown>>, log: Logger): Promise<StorageBackend> {
  const { values } = parse(fields, settings);
  const opening = prepareFolder(values.path);
  // This file is index.ts in development and index.js as published; so is its neighbour.
  const url = new URL(`worker${extname(new URL(import.meta.url).pathname)}`, import.meta.url);
  // Neither flags (--eval's among them) nor environment of this process are the thread's business.
  const worker = new Worker(url, { workerData: opening, env: {}, execArgv: [], name: "sqlite" });
  const greeting = await new Promise<Greeting>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  worker.removeAllListeners("error");
  if (greeting.ready) return new SqliteStorage(worker, log);
  await worker.terminate();
  throw new VaultError(greeting.holder ? "conflict" : "storage", `storage: ${greeting.text}`);
}

export const plugin: StoragePlugin = {
  type: "sqlite",
  description: "One SQLite database in a folder of its own",
  fields,
  open,
};
