// A snapshot beside writers: one moment, whole.

import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { silent } from "../../lib/log.ts";
import type { StorageBackend, Stored } from "../../sdk/storage.ts";
import { plugin as memory } from "../../storage/memory/index.ts";
import { Barrier } from "./barrier.ts";
import { sumKey } from "./sum.ts";
import { keysAfter } from "./walk.ts";

const rootKey = randomBytes(32);

async function opened(storage: StorageBackend): Promise<Barrier> {
  const barrier = new Barrier({ storage, log: silent });
  await barrier.initialize(rootKey);
  await barrier.unseal(rootKey);
  return barrier;
}

const plain = ({ version, value }: Stored): string => `${version} ${Buffer.from(value).toString("base64")}`;

async function all(storage: StorageBackend): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const key of await keysAfter(storage, "", 10_000)) {
    const stored = await storage.get(key);
    if (stored !== null) found.set(key, plain(stored));
  }
  return found;
}

describe.each([true, false])("on a store that is atomic: %s", (atomic) => {
  // A linear congruential generator: every failure can be run again from its seed.
  test.each(Array.from({ length: 15 }, (_, seed) => seed))("everything of one moment (seed %i)", async (seed) => {
    let state = seed * 7919 + 11;
    const pick = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const wait = async (most = 4): Promise<void> => {
      for (let turns = pick(most); turns > 0; turns--) await new Promise<void>((resolve) => setImmediate(resolve));
    };
    const inner = await memory.open({}, silent);
    let under = false;
    let failing = false;
    let moment: Map<string, string> | null = null;
    const slow: StorageBackend = {
      type: "slow",
      atomic,
      maxValue: inner.maxValue,
      get: async (key) => {
        await wait();
        const found = await inner.get(key);
        await wait();
        return found;
      },
      list: async (prefix, page) => {
        await wait();
        return inner.list(prefix, page);
      },
      write: async (ops) => {
        under = true;
        await wait(seed % 2 === 0 ? 4 : 30);
        await inner.write(ops);
        await wait(seed % 2 === 0 ? 4 : 30);
        under = false;
        if (failing && pick(30) === 0) throw new Error("lost the answer");
      },
      lead: (onLost) => inner.lead(onLost),
      close: () => inner.close(),
    };
    const barrier = await opened(slow);
    const view = barrier.view("x/");
    for (let n = 0; n < 150; n++) await view.write([{ key: `${n % 7}/k${n}`, value: { n } }]).catch(() => {});
    failing = seed % 5 === 4;
    const stop = new AbortController();
    const writer = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        const keys = [...new Set([pick(200), pick(200)])].map((n) => `${n % 9}/k${n}`);
        await view.write(keys.map((key) => ({ key, value: pick(3) === 0 ? null : { seed } }))).catch(() => {});
      }
    };
    const writers = [1, 2, 3].map(writer);
    for (let round = 0; round < 3; round++) {
      await wait(20);
      const snapshot = await barrier.snapshot();
      // The store at the moment, read in the same turn: memory answers without waiting for anything.
      expect(under).toBe(false);
      moment = await all(inner);
      const seen = new Map<string, string>();
      const order: string[] = [];
      for await (const { key, stored } of snapshot.read()) {
        order.push(key);
        seen.set(key, plain(stored));
        if (pick(20) === 0) await wait(20);
      }
      if (!atomic) {
        expect(order.pop()).toBe(sumKey);
        seen.delete(sumKey);
      }
      expect(order).toEqual([...order].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
      expect(seen).toEqual(moment);
      expect(snapshot.holds).toBe(true);
      expect(snapshot.entries).toBe(seen.size + (atomic ? 0 : 1));
    }
    stop.abort();
    await Promise.all(writers);
  });
});

test("tells of entries that are not those that were written", async () => {
  const storage = await memory.open({}, silent);
  const barrier = await opened(storage);
  await barrier.view("x/").write([{ key: "a", value: {} }]);
  await storage.write([{ key: "x/a", value: null, version: 0 }]);
  const snapshot = await barrier.snapshot();
  for await (const { key } of snapshot.read()) expect(key).not.toBe("x/a");
  expect(snapshot.holds).toBe(false);
});

test("ends with the seal, and lets go of the writes when nobody reads on", async () => {
  const storage = await memory.open({}, silent);
  const barrier = await opened(storage);
  const view = barrier.view("x/");
  for (let n = 0; n < 200; n++) await view.write([{ key: `k${n}`, value: {} }]);
  const reading = (await barrier.snapshot()).read();
  await reading.next();
  await reading.return(undefined);
  let asked = 0;
  const get = storage.get.bind(storage);
  storage.get = (key) => {
    asked += 1;
    return get(key);
  };
  await view.write([{ key: "k9", value: {} }]);
  expect(asked).toBe(0);
  const other = (await barrier.snapshot()).read();
  await other.next();
  barrier.seal();
  await expect(
    (async () => {
      for await (const _ of other);
    })(),
  ).rejects.toMatchObject({ code: "sealed" });
});

test("a reader that is too slow for the writers is cut off, and the writers are not", async () => {
  const storage = await memory.open({}, silent);
  const barrier = await opened(storage);
  const view = barrier.view("x/");
  for (let n = 0; n < 100; n++) await view.write([{ key: `k${n}`, value: randomBytes(1024) }]);
  const reading = (await barrier.snapshot(10_000)).read();
  await reading.next();
  for (let n = 0; n < 100; n++) await view.write([{ key: `k${n}`, value: { n } }]);
  await expect(
    (async () => {
      for await (const _ of reading);
    })(),
  ).rejects.toThrow("too slowly");
});
