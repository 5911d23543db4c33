// The scan, beside writers and against tampering.

import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { createLogger, silent } from "../../lib/log.ts";
import type { Op, StorageBackend } from "../../sdk/storage.ts";
import { plugin as memory } from "../../storage/memory/index.ts";
import { Barrier } from "./barrier.ts";
import type { Findings } from "./scan.ts";
import { sumKey } from "./sum.ts";
import { keysAfter } from "./walk.ts";

const rootKey = randomBytes(32);
let storage: StorageBackend;
let barrier: Barrier;
const pause = async (): Promise<void> => {};

beforeEach(async () => {
  storage = await memory.open({}, silent);
  barrier = new Barrier({ storage, log: createLogger({ write: () => {} }) });
  await barrier.initialize(rootKey);
  await barrier.unseal(rootKey);
});

const reopen = async (on: StorageBackend = storage): Promise<void> => {
  barrier.seal();
  barrier = new Barrier({ storage: on, log: silent });
  await barrier.unseal(rootKey);
};

describe("the walk", () => {
  test("gives all keys once, in byte order, from anywhere", async () => {
    const store = await memory.open({}, silent);
    const keys = [
      "a",
      "a-b",
      "a/b",
      "a/b/c",
      "a/b-",
      "a/c/d/e",
      "a0",
      "b/c",
      "b/c0/x",
      "c",
      "ä/x",
      "z/\u{ff5e}",
      "z/\u{1f600}",
    ];
    await store.write(keys.map((key) => ({ key, value: new Uint8Array(1), version: 1 })));
    const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const limit of [1, 2, 3, 100]) {
      const seen: string[] = [];
      for (;;) {
        const page = await keysAfter(store, seen.at(-1) ?? "", limit);
        seen.push(...page);
        if (page.length < limit) break;
      }
      expect(seen).toEqual(sorted);
    }
    for (const [at, key] of sorted.entries()) expect(await keysAfter(store, key, 100)).toEqual(sorted.slice(at + 1));
    expect(await keysAfter(store, "a/b/c/d", 2)).toEqual(["a/c/d/e", "a0"]);
    expect(await keysAfter(store, "a/a", 2)).toEqual(["a/b", "a/b-"]);
  });
});

describe("the scan", () => {
  const fill = async (): Promise<void> => {
    const view = barrier.view("x/");
    for (let n = 0; n < 100; n++) await view.write([{ key: `${n % 7}/k${n}`, value: { n } }]);
  };

  test("finds nothing where nothing was done", async () => {
    await fill();
    await reopen();
    expect(await barrier.scan({ pause })).toMatchObject({
      damaged: [],
      sum: { holds: true, expected: 102, found: 102 },
    });
  });

  // A linear congruential generator: every failure can be run again from its seed.
  test.each(Array.from({ length: 20 }, (_, seed) => seed))(
    "is not misled by writes beside it (seed %i)",
    async (seed) => {
      let state = seed * 7919 + 5;
      const pick = (below: number): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * below);
      };
      const wait = async (most = 4): Promise<void> => {
        for (let turns = pick(most); turns > 0; turns--) await new Promise<void>((resolve) => setImmediate(resolve));
      };
      await fill();
      const slow: StorageBackend = {
        type: "slow",
        atomic: true,
        maxValue: storage.maxValue,
        get: async (key) => {
          await wait();
          const found = await storage.get(key);
          await wait();
          return found;
        },
        list: async (prefix, page) => {
          await wait();
          return storage.list(prefix, page);
        },
        write: async (ops) => {
          // Some far longer than a step of the scan.
          await wait(seed % 2 === 0 ? 4 : 40);
          await storage.write(ops);
          await wait(seed % 2 === 0 ? 4 : 40);
          if (seed % 4 === 2 && pick(60) === 0) throw new Error("lost the answer");
        },
        lead: (onLost) => storage.lead(onLost),
        close: () => storage.close(),
      };
      await reopen(slow);
      const view = barrier.view("x/");
      const stop = new AbortController();
      const writer = async (): Promise<void> => {
        while (!stop.signal.aborted) {
          const key = `${pick(9)}/k${pick(120)}`;
          await view.write([{ key, value: pick(3) === 0 ? null : { seed } }]).catch(() => {});
        }
      };
      const writers = [1, 2, 3].map(writer);
      const findings: Findings[] = [];
      for (let round = 0; round < 3; round++) findings.push(await barrier.scan({ pause: () => wait() }));
      stop.abort();
      await Promise.all(writers);
      for (const found of findings) {
        expect(found).toMatchObject({ damaged: [], sum: { holds: true } });
      }
      expect(await barrier.scan({ pause })).toMatchObject({ damaged: [], sum: { holds: true } });
    },
  );

  test("finds what was deleted, put back, added, moved or damaged, and goes on finding it until it is accepted", async () => {
    await fill();
    const view = barrier.view("x/");
    const old = await storage.get("x/3/k3");
    await view.write([{ key: "3/k3", value: { n: "new" } }]);
    const newest = await storage.get("x/3/k3");
    const other = await storage.get("x/4/k4");
    const mark = await storage.get("core/versions");
    const ring = await storage.get("core/keyring");
    const put = (
      key: string,
      from: { value: Uint8Array; version: number } | null,
      version = from?.version ?? 1,
    ): Op => ({
      key,
      value: from?.value ?? null,
      version,
    });
    const cut = { value: newest?.value.slice(0, -1) ?? new Uint8Array(0), version: newest?.version ?? 1 };
    const sum = await storage.get(sumKey);
    const cases: readonly (readonly [string, Op, object])[] = [
      ["deleted", put("x/3/k3", null), { damaged: [], sum: { holds: false, expected: 102, found: 101 } }],
      ["put back", put("x/3/k3", old), { damaged: [], sum: { holds: false, expected: 102, found: 102 } }],
      ["copied", put("x/5/new", other), { damaged: ["x/5/new"], sum: { holds: false } }],
      ["replaced", put("x/3/k3", other), { damaged: ["x/3/k3"], sum: { holds: false } }],
      ["cut", put("x/3/k3", cut), { damaged: ["x/3/k3"], damagedEntries: 1, sum: { holds: true } }],
      ["another version", put("x/3/k3", newest, 9), { damaged: ["x/3/k3"], sum: { holds: false } }],
      ["the mark", put("core/versions", mark, (mark?.version ?? 0) - 1), { sum: { holds: false } }],
      ["the keyring's version is its own", put("core/keyring", ring), { damaged: [], sum: { holds: true } }],
    ];
    for (const [name, op, found] of cases) {
      const before = await storage.get(op.key);
      await storage.write([op]);
      await reopen();
      expect(await barrier.scan({ pause }), name).toMatchObject(found);
      expect(await barrier.scan({ pause }), name).toMatchObject(found);
      await storage.write([put(op.key, before)]);
      await storage.write([put(sumKey, sum)]);
    }
    await storage.write([put("x/3/k3", null)]);
    await reopen();
    expect(await barrier.scan({ pause, accept: () => true })).toMatchObject({ sum: { holds: false } });
    expect(await barrier.scan({ pause })).toMatchObject({ sum: { holds: true, expected: 101 } });
    await barrier.view("x/").write([{ key: "3/k3", value: {} }]);
    await reopen();
    expect(await barrier.scan({ pause })).toMatchObject({ sum: { holds: true, expected: 102 } });
  });

  test("ends with the seal", async () => {
    await fill();
    const scan = barrier.scan({ pause: () => new Promise((resolve) => setImmediate(resolve)) });
    barrier.seal();
    await expect(scan).rejects.toMatchObject({ code: "sealed" });
  });
});
