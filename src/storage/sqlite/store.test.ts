// The database when the medium fails: on a real database, with SQLite's own errors where they can be had, and with its
// error codes injected where only a broken disk would give them.

import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import type { Op } from "../../sdk/storage.ts";
import { NotWritten, StoreLost } from "../../sdk/thread/store.ts";
import { prepare, Store, type Database } from "./store.ts";

const put = (key: string, version = 1, size = 10): Op => ({ key, value: new Uint8Array(size), version });
const ioErrorFsync = 1034;
const ioErrorRead = 266;
const diskFull = 13;

/** A database whose next statement of that text fails with SQLite's code, before or after it was done. */
function failing(db: DatabaseSync): {
  readonly db: Database;
  fail(sql: string, errcode: number, after: boolean): void;
} {
  let plan: { sql: string; errcode: number; after: boolean } | null = null;
  const wrapped: Database = {
    prepare: (sql) => db.prepare(sql),
    close: () => db.close(),
    get isTransaction() {
      return db.isTransaction;
    },
    exec: (sql) => {
      const now = plan?.sql === sql ? plan : null;
      if (now !== null) plan = null;
      if (now === null || now.after) db.exec(sql);
      if (now !== null) throw Object.assign(new Error("disk I/O error"), { errcode: now.errcode });
    },
  };
  return {
    db: wrapped,
    fail: (sql, errcode, after) => {
      plan = { sql, errcode, after };
    },
  };
}

function make(): { readonly store: Store; readonly raw: DatabaseSync; readonly at: ReturnType<typeof failing> } {
  const raw = new DatabaseSync(":memory:");
  const at = failing(raw);
  prepare(at.db);
  const store = new Store(at.db);
  store.commit([[put("before")]]);
  return { store, raw, at };
}

test("writes of a batch are one transaction, and a conflict is its writer's alone", () => {
  const { store } = make();
  const outcomes = store.commit([
    [put("a", 2), put("b", 3)],
    [put("c", 4), { ...put("before", 5), expect: 9 }],
    [{ ...put("a", 6), expect: 2 }],
    [{ ...put("a", 7), expect: 2 }],
    [{ key: "b", value: null, version: 0, expect: 3 }],
  ]);
  expect(outcomes).toEqual(["done", "conflict", "done", "conflict", "done"]);
  expect(store.list("", "", 10)).toEqual(["a", "before"]);
  expect(store.get("a")?.version).toBe(6);
});

test("a failed sync loses the store for good, although the data may be there", () => {
  for (const after of [true, false]) {
    const { store, at } = make();
    at.fail("COMMIT", ioErrorFsync, after);
    expect(() => store.commit([[put("a")]])).toThrow(StoreLost);
    for (const call of [
      () => store.commit([[put("b")]]),
      () => store.get("before"),
      () => store.list("", "", 1),
      () => store.lead(),
    ]) {
      expect(call).toThrow(StoreLost);
    }
  }
});

test("an error of the medium in the middle loses the store too", () => {
  const { store, at } = make();
  at.fail("BEGIN IMMEDIATE", ioErrorRead, false);
  expect(() => store.commit([[put("a")]])).toThrow(StoreLost);
});

test("a full disk fails the batch that met it and nothing else", () => {
  const { store, raw } = make();
  const pages = Number(raw.prepare("PRAGMA page_count").get()?.["page_count"]);
  raw.exec(`PRAGMA max_page_count = ${pages + 4}`);
  expect(() => store.commit([[put("small", 2)], [put("large", 3, 100_000)]])).toThrow(NotWritten);
  expect(store.list("", "", 10)).toEqual(["before"]);
  raw.exec("PRAGMA max_page_count = 100000");
  expect(store.commit([[put("small", 2)], [put("large", 3, 100_000)]])).toEqual(["done", "done"]);
});

test("a commit that says full is believed only where nothing landed", () => {
  const before = make();
  before.at.fail("COMMIT", diskFull, false);
  expect(() => before.store.commit([[put("a")]])).toThrow(NotWritten);
  expect(before.store.get("a")).toBeNull();
  const after = make();
  after.at.fail("COMMIT", diskFull, true);
  expect(() => after.store.commit([[put("a")]])).toThrow(StoreLost);
});

test("a rollback that fails loses the store", () => {
  const { store, raw, at } = make();
  raw.exec("PRAGMA max_page_count = 8");
  at.fail("ROLLBACK", ioErrorFsync, false);
  const first = (): unknown => store.commit([[{ ...put("a"), expect: 4 }]]);
  expect(first).toThrow(StoreLost);
});
