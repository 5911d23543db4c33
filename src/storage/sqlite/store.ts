// The database, on its own thread: synchronous calls, many writes in one transaction and one sync.
// Must hold: where SQLite reports an error, the writes of the batch are known not to have landed, or the store is lost and
// refuses everything.

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Op, Stored } from "../../sdk/storage.ts";
import { NotWritten, type Outcome, reasonOf, StoreLost, type ThreadStore } from "../../sdk/thread/store.ts";

/** What the store needs of node:sqlite. */
export type Database = Pick<DatabaseSync, "exec" | "prepare" | "isTransaction" | "close">;
const schema = 1;
const busy = 5;
const full = 13;

const primary = (error: unknown): number => {
  const code = typeof error === "object" && error !== null && "errcode" in error ? error.errcode : 0;
  return typeof code === "number" ? code & 0xff : 0;
};

/** Whether another connection holds the database. */
export const isBusy = (error: unknown): boolean => primary(error) === busy;

/** Takes the database for this process alone, and makes its tables on first use. Throws SQLite's error. */
export function prepare(db: Database): void {
  // Exclusive before WAL: the lock is then a lock of the operating system on the file, which ends with the process however
  // that ends, and the index of the WAL lives in memory, not in a -shm file.
  db.exec("PRAGMA locking_mode = EXCLUSIVE");
  db.exec("PRAGMA journal_mode = WAL");
  db.exec("PRAGMA synchronous = FULL");
  // macOS alone: there fsync does not reach the medium.
  db.exec("PRAGMA fullfsync = ON");
  db.exec("PRAGMA checkpoint_fullfsync = ON");
  // A checkpoint writes each changed page once, however often it changed, and nothing is answered meanwhile: the default
  // of 4 MiB makes one every few hundred writes.
  db.exec("PRAGMA wal_autocheckpoint = 8192");
  db.exec("PRAGMA journal_size_limit = 67108864");
  // The upper levels of the trees, whatever the size of the store: what is below them is in the cache of the kernel, which
  // costs a few microseconds a write, and entries that are read often are in the barrier's.
  db.exec("PRAGMA cache_size = -8192");
  db.exec("PRAGMA temp_store = MEMORY");
  db.exec("PRAGMA trusted_schema = OFF");
  db.exec("PRAGMA cell_size_check = ON");
  db.exec("BEGIN IMMEDIATE");
  const found = Number(db.prepare("PRAGMA user_version").get()?.["user_version"]);
  if (found === 0) {
    db.exec(
      "CREATE TABLE entry (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, value BLOB NOT NULL) STRICT",
    );
    db.exec("CREATE TABLE leadership (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL) STRICT");
    db.exec("INSERT INTO leadership (id, epoch) VALUES (1, 0)");
    db.exec(`PRAGMA user_version = ${schema}`);
  } else if (found !== schema) {
    throw new Error(`the database has schema ${found}, this version knows ${schema}`);
  }
  db.exec("COMMIT");
}

export class Store implements ThreadStore {
  readonly #db: Database;
  readonly #get: StatementSync;
  readonly #version: StatementSync;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;
  readonly #from: StatementSync;
  #lost: StoreLost | null = null;

  /** After `prepare`. */
  constructor(db: Database) {
    this.#db = db;
    this.#get = db.prepare("SELECT version, value FROM entry WHERE key = ?");
    this.#version = db.prepare("SELECT version FROM entry WHERE key = ?");
    this.#put = db.prepare(
      "INSERT INTO entry (key, version, value) VALUES (?, ?, ?) " +
        "ON CONFLICT (key) DO UPDATE SET version = excluded.version, value = excluded.value",
    );
    this.#delete = db.prepare("DELETE FROM entry WHERE key = ?");
    this.#from = db.prepare("SELECT key FROM entry WHERE key >= ? AND key < ? ORDER BY key");
  }

  get(key: string): Stored | null {
    this.#check();
    const row = this.#get.get(key);
    return row === undefined ? null : { version: Number(row["version"]), value: row["value"] as Uint8Array };
  }

  /** Each write is whole or not at all; all that are done are in one transaction. Throws NotWritten or StoreLost. */
  commit(writes: readonly (readonly Op[])[]): Outcome[] {
    this.#check();
    let committing = false;
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      const outcomes = writes.map((ops) => this.#apply(ops));
      committing = true;
      this.#db.exec(outcomes.includes("done") ? "COMMIT" : "ROLLBACK");
      return outcomes;
    } catch (error) {
      throw this.#failed(error, committing, writes);
    }
  }

  /** One level below `prefix` in byte order. A folder costs one seek, however much is in it. */
  list(prefix: string, after: string, limit: number): string[] {
    this.#check();
    const names: string[] = [];
    // The key behind all keys below "a/" is "a0": "0" follows "/" in ASCII. A blob is behind every text.
    const end = prefix === "" ? new Uint8Array(0) : pastFolder(prefix);
    let start: string | null = after === "" ? prefix : startAfter(prefix, after);
    while (start !== null && names.length < limit) {
      let next: string | null = null;
      for (const row of this.#from.iterate(start, end)) {
        const key = String(row["key"]);
        const slash = key.indexOf("/", prefix.length);
        names.push(key.slice(prefix.length, slash < 0 ? undefined : slash + 1));
        if (slash >= 0) next = pastFolder(key.slice(0, slash + 1));
        if (slash >= 0 || names.length >= limit) break;
      }
      start = next;
    }
    return names;
  }

  /** The next epoch, on the medium. */
  lead(): number {
    this.#check();
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      const row = this.#db.prepare("UPDATE leadership SET epoch = epoch + 1 RETURNING epoch").get();
      this.#db.exec("COMMIT");
      return Number(row?.["epoch"]);
    } catch (error) {
      throw this.#failed(error, true, []);
    }
  }

  close(): void {
    this.#db.close();
  }

  #check(): void {
    if (this.#lost !== null) throw this.#lost;
  }

  #apply(ops: readonly Op[]): Outcome {
    for (const { key, expect } of ops) {
      if (expect !== undefined && (this.#version.get(key)?.["version"] ?? "absent") !== expect) return "conflict";
    }
    for (const { key, value, version } of ops) {
      if (value === null) this.#delete.run(key);
      else this.#put.run(key, version, value);
    }
    return "done";
  }

  /** Decides whether a failed batch is known not to have landed. Only a full disk is taken for harmless, and only after
   *  the transaction is rolled back and the old state has been read back. */
  #failed(error: unknown, committing: boolean, writes: readonly (readonly Op[])[]): Error {
    try {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      const harmless = primary(error) === full || (!committing && primary(error) === 0);
      if (harmless && !writes.some((ops) => ops.some((op) => this.#landed(op)))) {
        return new NotWritten(`nothing was written: ${reasonOf(error)}`);
      }
    } catch {
      // Neither rolled back nor read back: falls through to lost.
    }
    this.#lost = new StoreLost(`the database failed (${reasonOf(error)}); check the disk, then restart`);
    return this.#lost;
  }

  #landed({ key, value, version }: Op): boolean {
    return value !== null && this.#version.get(key)?.["version"] === version;
  }
}

const pastFolder = (folder: string): string => `${folder.slice(0, -1)}0`;

/** The first key whose name below `prefix` comes after the name `after`. */
function startAfter(prefix: string, after: string): string {
  const slash = after.indexOf("/");
  // Names hold no "/" but at their end: behind "a/" and behind "a/b" begins the same.
  if (slash >= 0) return pastFolder(`${prefix}${after.slice(0, slash + 1)}`);
  // The smallest text above, since keys hold no NUL. Names below the folder of this name come after it too.
  return `${prefix}${after}\0`;
}
