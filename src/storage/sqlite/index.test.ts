import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { embeddedConformance } from "../../../test/conformance/embedded.ts";
import { storageConformance } from "../../../test/conformance/storage.ts";
import { silent } from "../../lib/log.ts";
import { ThreadStorage } from "../../sdk/thread/backend.ts";
import { plugin } from "./index.ts";

storageConformance(
  "sqlite",
  () => {
    const path = mkdtempSync(join(tmpdir(), "writ-sqlite-"));
    const open = (): ReturnType<typeof plugin.open> => plugin.open({ path }, silent);
    return { open, reopen: open, remove: async () => rmSync(path, { recursive: true }) };
  },
  true,
);

embeddedConformance(plugin, new URL("index.ts", import.meta.url), "writ.db");

const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;

test("a file that is no database, or of another schema, is refused", async () => {
  const path = mkdtempSync(join(tmpdir(), "writ-sqlite-"));
  try {
    writeFileSync(join(path, "writ.db"), "x".repeat(5000), { mode: 0o600 });
    await expect(plugin.open({ path }, silent)).rejects.toEqual(code("storage"));
    rmSync(join(path, "writ.db"));
    const db = new DatabaseSync(join(path, "writ.db"));
    db.exec("PRAGMA user_version = 99");
    db.close();
    await expect(plugin.open({ path }, silent)).rejects.toThrow("schema 99");
  } finally {
    rmSync(path, { recursive: true });
  }
});

test("a thread that dies takes everything with it, and says so", async () => {
  // Answers the first call, which is lead, and dies of the second.
  const worker = new Worker(
    `const { parentPort } = require("node:worker_threads");
     let calls = 0;
     parentPort.on("message", () => {
       if (calls++ > 0) throw new Error("dies");
       parentPort.postMessage({ cells: [1, "epoch", 1], bytes: new Uint8Array(0) });
     });`,
    { eval: true },
  );
  const store = new ThreadStorage("sqlite", worker, silent);
  const lost = Promise.withResolvers<void>();
  await store.lead(() => lost.resolve());
  await expect(store.get("a")).rejects.toEqual(code("storage"));
  await lost.promise;
  await expect(store.get("a")).rejects.toEqual(code("storage"));
  await expect(store.write([{ key: "a", value: new Uint8Array(1), version: 1 }])).rejects.toEqual(code("storage"));
  await store.close();
});
