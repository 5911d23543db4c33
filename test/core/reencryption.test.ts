import { describe, expect, it } from "vitest";
import { silent } from "../../src/lib/log.ts";
import { type StorageBackend, storageWith } from "../../src/sdk/storage.ts";
import { plugin as memory } from "../../src/storage/memory/index.ts";
import { type Harness, harness } from "./harness.ts";

const outside = new Set(["core/keyring", "core/seal"]);

async function keysOf(storage: StorageBackend, prefix = ""): Promise<string[]> {
  const keys: string[] = [];
  for (const name of await storage.list(prefix)) {
    if (name.endsWith("/")) keys.push(...(await keysOf(storage, prefix + name)));
    else if (!outside.has(prefix + name)) keys.push(prefix + name);
  }
  return keys;
}

async function termOf(storage: StorageBackend, key: string): Promise<number> {
  const head = Buffer.from((await storage.get(key))?.value ?? []).toString("latin1", 0, 80);
  return Number(/-> writ-keyring (\d+) /.exec(head)?.[1]);
}

/** How many entries are under which term. */
async function terms(storage: StorageBackend): Promise<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const key of await keysOf(storage)) {
    const term = await termOf(storage, key);
    counts[term] = (counts[term] ?? 0) + 1;
  }
  return counts;
}

const progress = async (h: Harness): Promise<unknown> => (await h.ask("read", "sys/key-status")).data?.["reencryption"];
const policy = (at: number) => ({ policy: `path "p${at}" { policy = "read" }` });

async function filled(count: number, storage?: StorageBackend): Promise<Harness> {
  const h = await harness(storage === undefined ? {} : { storage });
  await h.ask("update", "sys/mounts/kv", { type: "kv", options: { version: "1" } });
  for (let at = 0; at < count; at++) await h.ask("update", `kv/a${at % 7}/${at}`, { at });
  return h;
}

async function read(h: Harness, count: number): Promise<void> {
  for (let at = 0; at < count; at++) expect((await h.ask("read", `kv/a${at % 7}/${at}`)).data).toEqual({ at });
}

describe("re-encryption after a rotation", () => {
  it("brings everything under the active term, version and value kept, and says when nothing is left", async () => {
    const h = await filled(40);
    expect(await progress(h)).toBeNull();
    const versions = new Map<string, number | undefined>();
    for (const key of await keysOf(h.storage)) versions.set(key, (await h.storage.get(key))?.version);
    await h.ask("update", "sys/rotate");
    expect(await progress(h)).toMatchObject({ term: 2, done: false, renewed: 0 });
    expect((await terms(h.storage))[1]).toBeGreaterThan(40);
    await h.vault.tick();
    expect(await progress(h)).toMatchObject({ term: 2, done: true, damaged: 0 });
    expect(Object.keys(await terms(h.storage))).toEqual(["2"]);
    for (const [key, version] of versions) {
      if (!/^(core\/sum|audit\/|keys\/|task\/)/.test(key))
        expect((await h.storage.get(key))?.version, key).toBe(version);
    }
    await read(h, 40);
    // Writes on top of what was renewed, and the sum over all entries, go on.
    for (let at = 0; at < 40; at += 3) await h.ask("update", `kv/a${at % 7}/${at}`, { at });
    await h.ask("delete", "kv/a0/7");
    await h.ask("update", "kv/a0/7", { at: 7 });
    await read(h, 40);
    const after = await h.reopen();
    await after.unseal();
    await read(after, 40);
    expect(await progress(after)).toMatchObject({ term: 2, done: true });
    expect([...h.log, ...after.log].filter((line) => line.includes('"security":true'))).toEqual([]);
  });

  it("is bounded a second, and goes on where it was after a restart", async () => {
    const h = await filled(900);
    await h.ask("update", "sys/rotate");
    await h.vault.tick();
    const first = (await progress(h)) as { readonly renewed: number; readonly done: boolean };
    expect(first.done).toBe(false);
    expect(first.renewed).toBeGreaterThan(400);
    expect(first.renewed).toBeLessThanOrEqual(528);
    const reads: string[] = [];
    const inner = h.storage;
    const watched: StorageBackend = storageWith(inner, {
      get: (key) => {
        reads.push(key);
        return inner.get(key);
      },
    });
    const next = await h.reopen(watched);
    await next.unseal();
    reads.length = 0;
    await next.vault.tick();
    // The scan after unseal reads everything once; the walk reads what is behind its place.
    const times = new Map<string, number>();
    for (const key of reads) if (key.startsWith("mount/")) times.set(key, (times.get(key) ?? 0) + 1);
    expect([...times.values()].filter((count) => count > 1).length).toBeLessThan(900 - first.renewed + 60);
    expect(await progress(next)).toMatchObject({ term: 2, done: true });
    expect(Object.keys(await terms(h.storage))).toEqual(["2"]);
    await read(next, 900);
  });

  it("never overwrites a write that comes between", async () => {
    const inner = await memory.open({}, silent);
    let armed: (() => Promise<void>) | null = null;
    const storage: StorageBackend = storageWith(inner, {
      get: async (key) => {
        const found = await inner.get(key);
        if (armed !== null && key.startsWith("mount/") && key.endsWith("/21")) {
          const act = armed;
          armed = null;
          await act();
        }
        return found;
      },
    });
    const h = await filled(30, storage);
    // The scan that follows an unseal reads, too.
    await h.vault.tick();
    while ((await h.ask("read", "sys/storage/integrity")).data?.["running"] === true) await new Promise(setImmediate);
    await h.ask("update", "sys/rotate");
    // Between what the walk reads and what it writes.
    armed = async () => void (await h.ask("update", "kv/a0/21", { at: "newer" }));
    await h.vault.tick();
    expect(armed).toBeNull();
    expect((await h.ask("read", "kv/a0/21")).data).toEqual({ at: "newer" });
    const again = await h.reopen();
    await again.unseal();
    expect((await again.ask("read", "kv/a0/21")).data).toEqual({ at: "newer" });
    expect(Object.keys(await terms(inner))).toEqual(["2"]);
  });

  it("goes on beside writers, and leaves nothing in an old term", async () => {
    const h = await filled(200);
    const write = async (from: number): Promise<void> => {
      for (let at = from; at < 200; at += 4) await h.ask("update", `kv/a${at % 7}/${at}`, { at });
    };
    const writing = Promise.all([0, 1, 2, 3].map(write));
    await h.ask("update", "sys/rotate");
    await h.ask("update", "sys/policy/other", policy(1));
    await h.ask("update", "sys/rotate");
    for (let left = 5; left > 0; left--) await h.vault.tick();
    await writing;
    expect(await progress(h)).toMatchObject({ term: 3, done: true });
    expect(Object.keys(await terms(h.storage))).toEqual(["3"]);
    await read(h, 200);
  });

  it("leaves what does not open, counts it, and comes to its end", async () => {
    const h = await filled(20);
    const key = (await keysOf(h.storage)).find((each) => each.endsWith("/13")) ?? "";
    const stored = await h.storage.get(key);
    const value = Uint8Array.from(stored?.value ?? []);
    value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
    await h.storage.write([{ key, value, version: stored?.version ?? 0 }]);
    await h.ask("update", "sys/rotate");
    await h.vault.tick();
    expect(await progress(h)).toMatchObject({ done: true, damaged: 1 });
    expect((await terms(h.storage))[1]).toBe(1);
  });

  it("is found where a rotation was cut off before it began", async () => {
    const inner = await memory.open({}, silent);
    let cut = false;
    const storage: StorageBackend = storageWith(inner, {
      write: async (ops) => {
        if (cut && ops.every(({ key }) => key !== "core/keyring")) throw new Error("the power is out");
        await inner.write(ops);
      },
    });
    const h = await filled(10, storage);
    cut = true;
    await h.ask("update", "sys/rotate").catch(() => {});
    const after = await h.reopen(inner);
    await after.unseal();
    expect(await progress(after)).toMatchObject({ term: 2, done: false });
    await after.vault.tick();
    expect(Object.keys(await terms(inner))).toEqual(["2"]);
  });
});
