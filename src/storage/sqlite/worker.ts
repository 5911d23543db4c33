// The thread that owns the database.

import { DatabaseSync } from "node:sqlite";
import { workerData } from "node:worker_threads";
import { serve } from "../../sdk/thread/serve.ts";
import { StoreHeld } from "../../sdk/thread/store.ts";
import type { Opening } from "./index.ts";
import { isBusy, prepare, Store } from "./store.ts";

const { file, pidFile } = workerData as Opening;

serve(pidFile, () => {
  const db = new DatabaseSync(file, { allowExtension: false, timeout: 0 });
  try {
    prepare(db);
    return new Store(db);
  } catch (error) {
    db.close();
    throw isBusy(error) ? new StoreHeld("in use", { cause: error }) : error;
  }
});
