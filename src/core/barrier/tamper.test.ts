// What somebody with the database file may do, done to the file.

import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Encrypter, generateX25519Identity, identityToRecipient } from "age-encryption";
import { afterEach, beforeEach, expect, test } from "vitest";
import { encryptFile, stanzaKey } from "../../lib/age.ts";
import { createLogger, silent } from "../../lib/log.ts";
import type { StorageBackend } from "../../sdk/storage.ts";
import { plugin as sqlite } from "../../storage/sqlite/index.ts";
import { Barrier } from "./barrier.ts";

const rootKey = randomBytes(32);
const broken = expect.objectContaining({ name: "VaultError", code: "storage" }) as unknown;
let path: string;
let storage: StorageBackend;
let lines: string[];
let barrier: Barrier;

async function start(): Promise<void> {
  storage = await sqlite.open({ path }, silent);
  lines = [];
  barrier = new Barrier({ storage, log: createLogger({ write: (line) => void lines.push(line) }) });
}

/** Stops the server, changes its file, starts it again. */
async function tamper(change: (db: DatabaseSync) => void): Promise<void> {
  barrier.seal();
  await storage.close();
  const db = new DatabaseSync(join(path, "writ.db"));
  change(db);
  db.close();
  await start();
  await barrier.unseal(rootKey);
}

const valueOf = (db: DatabaseSync, key: string): Uint8Array =>
  db.prepare("SELECT value FROM entry WHERE key = ?").get(key)?.["value"] as Uint8Array;
const setValue = (db: DatabaseSync, key: string, value: Uint8Array): void => {
  expect(db.prepare("UPDATE entry SET value = ? WHERE key = ?").run(value, key).changes).toBe(1);
};

async function onlyThisIsBroken(...names: readonly string[]): Promise<void> {
  const view = barrier.view("s/");
  for (const name of ["a", "b", "c"]) {
    const reads = [view.get(name), view.getJson(name)];
    for (const read of reads) {
      if (names.includes(name)) await expect(read, name).rejects.toEqual(broken);
      else expect(await read, name).not.toBeNull();
    }
  }
  for (const name of names) {
    const found = lines.filter((line) => line.includes('"security":true') && line.includes(`"path":"s/${name}"`));
    expect(found.length).toBeGreaterThan(0);
  }
  expect(lines.join("")).not.toContain("hunter");
  // The broken entry can be put right by writing it anew.
  const [repaired = ""] = names;
  await view.write([{ key: repaired, value: { password: "hunter4" } }]);
  expect((await view.getJson(repaired))?.value).toEqual({ password: "hunter4" });
}

beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), "writ-tamper-"));
  await start();
  await barrier.initialize(rootKey);
  await barrier.unseal(rootKey);
  const view = barrier.view("s/");
  await view.write([{ key: "a", value: { password: "hunter1" } }]);
  await view.write([{ key: "b", value: { password: "hunter2" } }]);
  await view.write([{ key: "c", value: { password: "hunter3" } }]);
});
afterEach(async () => {
  await storage.close();
  rmSync(path, { recursive: true });
});

test("the file holds no plaintext", async () => {
  const { readFileSync } = await import("node:fs");
  await storage.close();
  expect(readFileSync(join(path, "writ.db")).includes("hunter")).toBe(false);
});

test.each([0, 30, 60, 110, 160, 200, -17, -1])("a flipped bit at byte %i", async (at) => {
  await tamper((db) => {
    const value = Buffer.from(valueOf(db, "s/b"));
    const index = at < 0 ? value.length + at : at;
    value[index] = (value[index] ?? 0) ^ 4;
    setValue(db, "s/b", value);
  });
  await onlyThisIsBroken("b");
});

test("two entries swapped, with and without their versions", async () => {
  await tamper((db) => {
    const [a, b] = [valueOf(db, "s/a"), valueOf(db, "s/b")];
    setValue(db, "s/a", b);
    setValue(db, "s/b", a);
  });
  await onlyThisIsBroken("a", "b");
});

test("two keys swapped, versions and all", async () => {
  await tamper((db) => {
    db.exec("UPDATE entry SET key = 's/x' WHERE key = 's/a'");
    db.exec("UPDATE entry SET key = 's/a' WHERE key = 's/b'");
    db.exec("UPDATE entry SET key = 's/b' WHERE key = 's/x'");
  });
  await onlyThisIsBroken("a", "b");
});

test("an entry copied to another key", async () => {
  await tamper((db) => {
    db.exec("DELETE FROM entry WHERE key = 's/c'");
    db.exec("INSERT INTO entry (key, version, value) SELECT 's/c', version, value FROM entry WHERE key = 's/a'");
  });
  await onlyThisIsBroken("c");
});

test("a version changed", async () => {
  await tamper((db) => db.exec("UPDATE entry SET version = version + 1 WHERE key = 's/b'"));
  await onlyThisIsBroken("b");
});

test.each([0, 1, 50, 180, -1])("a value truncated to %i bytes", async (size) => {
  await tamper((db) => setValue(db, "s/b", valueOf(db, "s/b").slice(0, size)));
  await onlyThisIsBroken("b");
});

test("an entry forged with public data: age to a recipient of the forger, and to one stanza like the vault's", async () => {
  const encrypter = new Encrypter();
  encrypter.addRecipient(await identityToRecipient(await generateX25519Identity()));
  const forged = await encrypter.encrypt('{"password":"hunter9"}');
  await tamper((db) => setValue(db, "s/a", forged));
  await onlyThisIsBroken("a");
  const own = stanzaKey("writ-keyring 1", randomBytes(32));
  await tamper((db) => setValue(db, "s/b", encryptFile(own, Buffer.from('{"password":"hunter9"}'))));
  await onlyThisIsBroken("b");
});

test("a term that the keyring does not have", async () => {
  await tamper((db) => {
    const value = Buffer.from(valueOf(db, "s/b"));
    value.write("2", value.indexOf("writ-keyring 1") + 13, "latin1");
    setValue(db, "s/b", value);
  });
  await onlyThisIsBroken("b");
});
