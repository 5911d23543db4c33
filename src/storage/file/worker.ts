// The thread that owns the folder, and starts the one that spreads.

import { chmodSync, mkdirSync } from "node:fs";
import { extname } from "node:path";
import { Worker, workerData } from "node:worker_threads";
import { syncFolder } from "../../sdk/folder.ts";
import { serve } from "../../sdk/thread/serve.ts";
import type { Opening } from "./index.ts";
import { type Lock, takeLock } from "./lock.ts";
import { entriesFolder } from "./spread.ts";
import type { Report } from "./spreader.ts";
import { FileStore } from "./store.ts";

const { folder, lockFile, pidFile } = workerData as Opening;

function open(lock: Lock): FileStore {
  mkdirSync(entriesFolder(folder), { recursive: true });
  chmodSync(entriesFolder(folder), 0o700);
  syncFolder(folder);
  const here = new URL(import.meta.url);
  const spreader = new Worker(new URL(`spreader${extname(here.pathname)}`, here), {
    workerData: folder,
    name: "file spread",
  });
  const store = new FileStore(folder, lock, (first) => spreader.postMessage(first));
  spreader.on("message", (report: Report) => store.hear(report));
  spreader.on("error", () => store.hear({ kind: "lost", first: 0, text: "the spreading thread crashed; restart" }));
  store.onClose = () => void spreader.terminate();
  return store;
}

serve(pidFile, () => {
  const lock = takeLock(lockFile);
  try {
    return open(lock);
  } catch (error) {
    lock.release();
    throw error;
  }
});
