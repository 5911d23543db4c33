// One process at a time, and how often the store was taken: a SQLite database without tables whose lock this process holds.
// The lock is the operating system's: it ends with the process, however that ends, and node has no other way to one.

import { DatabaseSync } from "node:sqlite";
import { StoreHeld } from "../../sdk/thread/store.ts";

export interface Lock {
  /** Counts up by one and gives the count, which is then on the medium. */
  next(): number;
  release(): void;
}

const busy = 5;

const isBusy = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "errcode" in error && (Number(error.errcode) & 0xff) === busy;

/** Throws StoreHeld where another process, or this one, has it. */
export function takeLock(file: string): Lock {
  const db = new DatabaseSync(file, { allowExtension: false, timeout: 0 });
  const count = (): number => Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  try {
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    db.exec("PRAGMA synchronous = EXTRA");
    db.exec("PRAGMA fullfsync = ON");
    // The first write takes the lock, and the mode keeps it.
    db.exec("BEGIN EXCLUSIVE");
    db.exec(`PRAGMA user_version = ${count()}`);
    db.exec("COMMIT");
  } catch (error) {
    db.close();
    throw isBusy(error) ? new StoreHeld("in use", { cause: error }) : error;
  }
  return {
    next: () => {
      const epoch = count() + 1;
      db.exec("BEGIN IMMEDIATE");
      db.exec(`PRAGMA user_version = ${epoch}`);
      db.exec("COMMIT");
      return epoch;
    },
    release: () => db.close(),
  };
}
