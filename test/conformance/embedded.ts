// What every store in a folder of its own must do beside the storage contract: keep others out, whether users or processes,
// and survive a kill. A plugin's own test file registers it.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, describe, expect, test } from "vitest";
import { silent } from "../../src/lib/log.ts";
import type { Op, StoragePlugin } from "../../src/sdk/storage.ts";

const put = (key: string, version = 1): Op => ({ key, value: new TextEncoder().encode(key), version });
const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;
const modeOf = (path: string): number => statSync(path).mode & 0o777;

/** `file` is one that it keeps for as long as it lives; `module` is where the plugin is. */
export function embeddedConformance(plugin: StoragePlugin, module: URL, file: string): void {
  const parent = mkdtempSync(join(tmpdir(), `writ-${plugin.type}-`));
  afterAll(() => rmSync(parent, { recursive: true }));
  const folder = (): string => mkdtempSync(join(parent, "store-"));
  const open = (path: string): ReturnType<StoragePlugin["open"]> => plugin.open({ path }, silent);

  /** Another process that opens the folder, runs `body` with `store`, and prints lines. */
  const other = async (path: string, body: string): Promise<Other> => {
    const script = `
      import { plugin } from ${JSON.stringify(module.href)};
      import { silent } from ${JSON.stringify(new URL("../../src/lib/log.ts", import.meta.url).href)};
      const put = (key, version = 1, size = 10) => ({ key, value: new Uint8Array(size).fill(version), version });
      try {
        const store = await plugin.open({ path: ${JSON.stringify(path)} }, silent);
        ${body}
      } catch (error) { console.log(error.code + " " + error.message); }`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return { child, line: async () => String((await lines.next()).value) };
  };

  describe(`${plugin.type} keeps its folder to itself`, () => {
    test.each([0o000, 0o022, 0o277])("for the owner alone under umask %o", async (umask) => {
      const path = join(folder(), "data");
      // A umask belongs to a process; vitest's workers are processes of their own.
      const before = process.umask(umask);
      try {
        const store = await open(path);
        await store.write([put("a"), put("b/c")]);
        expect(modeOf(path)).toBe(0o700);
        const names = readdirSync(path, { recursive: true, encoding: "utf8" });
        expect(names).toContain(file);
        for (const name of names) {
          const isFolder = statSync(join(path, name)).isDirectory();
          expect(modeOf(join(path, name)), name).toBe(isFolder ? 0o700 : 0o600);
        }
        await store.close();
      } finally {
        process.umask(before);
      }
    });

    test("files are brought back to 0600", async () => {
      const path = folder();
      await (await open(path)).close();
      chmodSync(join(path, file), 0o644);
      const store = await open(path);
      expect(modeOf(join(path, file))).toBe(0o600);
      await store.close();
    });

    test.each([0o750, 0o705, 0o701, 0o777])("a folder of mode %o is refused", async (mode) => {
      const path = folder();
      chmodSync(path, mode);
      await expect(open(path)).rejects.toThrow("chmod 700");
    });

    test("a link in place of folder or file is refused", async () => {
      const path = folder();
      symlinkSync(path, `${path}-link`);
      await expect(open(`${path}-link`)).rejects.toEqual(code("storage"));
      writeFileSync(join(path, "elsewhere"), "");
      symlinkSync(join(path, "elsewhere"), join(path, file));
      await expect(open(path)).rejects.toEqual(code("storage"));
    });

    test("a second process is refused and told who has it, this process included", async () => {
      const path = folder();
      const store = await open(path);
      await store.write([put("a")]);
      const second = await other(path, "console.log('opened')");
      expect(await second.line()).toBe(`conflict storage: in use by process ${process.pid}`);
      await expect(open(path)).rejects.toThrow(`in use by process ${process.pid}`);
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
             await store.write([put("one/" + n, n, 20_000), put("two/" + n, n, 20_000)]);
             console.log(n);
           }
         }));`,
      );
      let answered: string[] = [];
      while (answered.length < 600) answered.push(await line());
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      for (;;) {
        const more = await line();
        if (!/^\d+$/.test(more)) break;
        answered.push(more);
      }
      answered = answered.filter((each) => /^\d+$/.test(each));
      expect(answered.length).toBeGreaterThanOrEqual(600);
      const store = await open(path);
      const [one, two] = [await store.list("one/"), await store.list("two/")];
      expect(one).toEqual(two);
      const kept = new Set(one);
      expect(answered.filter((each) => !kept.has(each))).toEqual([]);
      for (const name of one) {
        const stored = await store.get(`one/${name}`);
        expect(stored?.version).toBe(Number(name));
        expect(stored?.value.every((byte) => byte === Number(name) % 256)).toBe(true);
      }
      expect((await store.lead(() => {})).epoch).toBe(2);
      await store.close();
    });
  });
}

interface Other {
  readonly child: ChildProcess;
  readonly line: () => Promise<string>;
}
