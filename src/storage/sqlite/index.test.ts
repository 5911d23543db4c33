import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, test } from "vitest";
import { storageConformance } from "../../../test/conformance/storage.ts";
import { silent } from "../../lib/log.ts";
import type { Op } from "../../sdk/storage.ts";
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

const parent = mkdtempSync(join(tmpdir(), "writ-sqlite-"));
afterAll(() => rmSync(parent, { recursive: true }));
const folder = (): string => mkdtempSync(join(parent, "store-"));
const put = (key: string, version = 1): Op => ({ key, value: new TextEncoder().encode(key), version });
const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;
const modeOf = (path: string): number => statSync(path).mode & 0o777;

describe("files", () => {
  test.each([0o000, 0o022, 0o277])("are for the owner alone under umask %o", async (umask) => {
    const path = join(folder(), "data");
    // A umask belongs to a process; vitest's workers are processes of their own.
    const before = process.umask(umask);
    try {
      const store = await plugin.open({ path }, silent);
      await store.write([put("a")]);
      expect(modeOf(path)).toBe(0o700);
      const names = readdirSync(path).sort();
      expect(names).toEqual(["writ.db", "writ.db-wal", "writ.pid"]);
      for (const name of names) expect(modeOf(join(path, name)), name).toBe(0o600);
      await store.close();
    } finally {
      process.umask(before);
    }
  });

  test("are brought back to 0600", async () => {
    const path = folder();
    await (await plugin.open({ path }, silent)).close();
    chmodSync(join(path, "writ.db"), 0o644);
    const store = await plugin.open({ path }, silent);
    expect(modeOf(join(path, "writ.db"))).toBe(0o600);
    await store.close();
  });

  test.each([0o750, 0o705, 0o701, 0o777])("a folder of mode %o is refused", async (mode) => {
    const path = folder();
    chmodSync(path, mode);
    await expect(plugin.open({ path }, silent)).rejects.toThrow("chmod 700");
  });

  test("a link in place of folder or file is refused", async () => {
    const path = folder();
    symlinkSync(path, `${path}-link`);
    await expect(plugin.open({ path: `${path}-link` }, silent)).rejects.toEqual(code("storage"));
    writeFileSync(join(path, "elsewhere"), "");
    symlinkSync(join(path, "elsewhere"), join(path, "writ.db"));
    await expect(plugin.open({ path }, silent)).rejects.toEqual(code("storage"));
  });

  test("a file that is no database, or of another schema, is refused", async () => {
    const path = folder();
    writeFileSync(join(path, "writ.db"), "x".repeat(5000), { mode: 0o600 });
    await expect(plugin.open({ path }, silent)).rejects.toEqual(code("storage"));
    rmSync(join(path, "writ.db"));
    const db = new DatabaseSync(join(path, "writ.db"));
    db.exec("PRAGMA user_version = 99");
    db.close();
    await expect(plugin.open({ path }, silent)).rejects.toThrow("schema 99");
  });
});

/** Another process that opens the folder, runs `code` with `store`, and prints lines. */
async function other(
  path: string,
  body: string,
): Promise<{ readonly child: ChildProcess; readonly line: () => Promise<string> }> {
  const script = `
    import { plugin } from ${JSON.stringify(new URL("index.ts", import.meta.url).href)};
    import { silent } from ${JSON.stringify(new URL("../../lib/log.ts", import.meta.url).href)};
    const put = (key, version = 1) => ({ key, value: new TextEncoder().encode(key), version });
    try {
      const store = await plugin.open({ path: ${JSON.stringify(path)} }, silent);
      ${body}
    } catch (error) { console.log(error.code + " " + error.message); }`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return { child, line: async () => String((await lines.next()).value) };
}

describe("processes", () => {
  test("a second one is refused and told who has the database, this process included", async () => {
    const path = folder();
    const store = await plugin.open({ path }, silent);
    await store.write([put("a")]);
    const second = await other(path, "console.log('opened')");
    expect(await second.line()).toBe(`conflict storage: in use by process ${process.pid}`);
    await expect(plugin.open({ path }, silent)).rejects.toThrow(`in use by process ${process.pid}`);
    // Being refused has not taken the first one's lock away.
    const third = await other(path, "console.log('opened')");
    expect(await third.line()).toMatch(/^conflict /);
    await store.close();
    const fourth = await other(path, "console.log(await store.list('')); await store.close()");
    expect(await fourth.line()).toContain("a");
  });

  test("what was answered before a SIGKILL is there, whole, and the lock is free", async () => {
    const path = folder();
    const { child, line } = await other(
      path,
      `await store.lead(() => {});
       let next = 1;
       await Promise.all(Array.from({ length: 8 }, async () => {
         for (;;) {
           const n = next++;
           await store.write([put("one/" + n, n), put("two/" + n, n)]);
           console.log(n);
         }
       }));`,
    );
    let answered: string[] = [];
    while (answered.length < 300) answered.push(await line());
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    for (;;) {
      const more = await line();
      if (!/^\d+$/.test(more)) break;
      answered.push(more);
    }
    answered = answered.filter((each) => /^\d+$/.test(each));
    expect(answered.length).toBeGreaterThanOrEqual(300);
    const store = await plugin.open({ path }, silent);
    const [one, two] = [await store.list("one/"), await store.list("two/")];
    expect(one).toEqual(two);
    const kept = new Set(one);
    expect(answered.filter((each) => !kept.has(each))).toEqual([]);
    expect((await store.lead(() => {})).epoch).toBe(2);
    await store.close();
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
    await expect(store.write([put("a")])).rejects.toEqual(code("storage"));
    await store.close();
  });
});
