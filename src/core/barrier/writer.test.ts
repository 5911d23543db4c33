// One writer, and a sum that is right whatever fails.

import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { createLogger, silent } from "../../lib/log.ts";
import { VaultError } from "../../sdk/errors.ts";
import type { Op, StorageBackend, Stored } from "../../sdk/storage.ts";
import { plugin as memory } from "../../storage/memory/index.ts";
import { Barrier } from "./barrier.ts";
import { type Keyring, openKeyring } from "./keyring.ts";
import { counted, decodeSum, elementOf, emptySum, replaced, type Sum, sumKey } from "./sum.ts";
import { decryptBound } from "../../lib/bound.ts";

const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;
const rootKey = randomBytes(32);

/** Memory that counts writes and lets tests hold them back or make them fail. */
class Gate implements StorageBackend {
  readonly type = "gate";
  readonly atomic: boolean;
  readonly maxValue = 1024 * 1024;
  readonly inner: StorageBackend;
  readonly written: (readonly Op[])[] = [];
  readonly asked: string[] = [];
  under = 0;
  most = 0;
  before: () => Promise<void> = async () => {};
  after: () => Promise<void> = async () => {};

  constructor(inner: StorageBackend, atomic = true) {
    this.inner = inner;
    this.atomic = atomic;
  }
  get(key: string): Promise<Stored | null> {
    this.asked.push(key);
    return this.inner.get(key);
  }
  async write(ops: readonly Op[]): Promise<void> {
    this.most = Math.max(this.most, ++this.under);
    this.written.push(ops);
    try {
      await this.before();
      await this.inner.write(ops);
      await this.after();
    } finally {
      this.under -= 1;
    }
  }
  list(prefix: string): Promise<string[]> {
    return this.inner.list(prefix);
  }
  lead(onLost: () => void): ReturnType<StorageBackend["lead"]> {
    return this.inner.lead(onLost);
  }
  close(): Promise<void> {
    return this.inner.close();
  }
}

let storage: StorageBackend;
let gate: Gate;
let lines: string[];
let barrier: Barrier;

async function start(atomic = true): Promise<void> {
  storage = await memory.open({}, silent);
  gate = new Gate(storage, atomic);
  lines = [];
  barrier = new Barrier({ storage: gate, log: createLogger({ write: (line) => void lines.push(line) }) });
  await barrier.initialize(rootKey);
  await barrier.unseal(rootKey);
}

beforeEach(() => start());

async function keysBelow(prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for (const name of await storage.list(prefix)) {
    if (name.endsWith("/")) keys.push(...(await keysBelow(prefix + name)));
    else keys.push(prefix + name);
  }
  return keys;
}

/** The sum that storage has, and the one of what it has. */
async function sums(): Promise<{ kept: Sum | null; found: Sum }> {
  const ring = await storage.get("core/keyring");
  const { terms } = openKeyring(rootKey, ring?.version ?? 0, ring?.value ?? new Uint8Array(0));
  const record = await storage.get(sumKey);
  const find = (name: string): ReturnType<typeof decryptBoundKey> => decryptBoundKey(terms, name);
  const kept = record === null ? null : decodeSum(decryptBound(find, sumKey, record.version, record.value));
  let found = emptySum;
  for (const key of await keysBelow("")) {
    const stored = await storage.get(key);
    if (stored !== null && counted(key)) found = replaced(found, null, elementOf(barrier.mac("sum"), key, stored));
  }
  return { kept, found };
}
const decryptBoundKey = (terms: Keyring["terms"], name: string) => terms.get(name)?.stanza ?? null;

async function holds(): Promise<void> {
  const { kept, found } = await sums();
  expect(kept).toEqual(found);
}

describe("the sum", () => {
  test("is there from the beginning, and follows every write", async () => {
    await holds();
    const view = barrier.view("x/");
    await view.write([{ key: "a", value: { n: 1 } }]);
    await holds();
    await view.write([
      { key: "a", value: { n: 2 } },
      { key: "b/c", value: { n: 3 }, expect: "absent" },
    ]);
    await holds();
    const { kept } = await sums();
    expect(kept?.count).toBe(4);
    await view.write([
      { key: "a", value: null },
      { key: "never", value: null },
    ]);
    await holds();
    barrier.seal();
    await barrier.unseal(rootKey);
    await view.write([{ key: "b/c", value: null }]);
    await holds();
    expect((await sums()).kept?.count).toBe(2);
  });

  test("is right where the first writes of a turn set off while the others are made ready", async () => {
    const view = barrier.view("x/");
    await view.write([{ key: "before", value: { n: 1 } }]);
    gate.written.length = 0;
    const writes = Array.from({ length: 20 }, (_, n) => view.write([{ key: `${n}`, value: { n }, expect: "absent" }]));
    const sizes = (): number[] => gate.written.map((ops) => ops.length);
    // Each with the sum's record.
    expect(sizes()).toEqual([9]);
    await Promise.all(writes);
    expect(sizes()).toEqual([9, 13]);
    expect(gate.most).toBe(1);
    await holds();
  });

  test("differs once an entry is put back or taken away, and stays so when it is written again", async () => {
    const view = barrier.view("x/");
    await view.write([{ key: "a", value: { n: 1 } }]);
    const old = await storage.get("x/a");
    await view.write([{ key: "a", value: { n: 2 } }]);
    await view.write([{ key: "b", value: { n: 2 } }]);
    const differs = async (op: Op): Promise<void> => {
      await storage.write([op]);
      barrier.seal();
      await barrier.unseal(rootKey);
      const { kept, found } = await sums();
      expect(kept).not.toEqual(found);
      await view.write([{ key: op.key.slice(2), value: { n: 9 } }]);
      const later = await sums();
      expect(later.kept).not.toEqual(later.found);
    };
    await differs({ key: "x/a", value: old?.value ?? null, version: old?.version ?? 1 });
    await start();
    await barrier.view("x/").write([{ key: "b", value: { n: 2 } }]);
    await differs({ key: "x/b", value: null, version: 0 });
  });

  // A linear congruential generator: every failure can be run again from its seed.
  test.each(Array.from({ length: 30 }, (_, seed) => seed))("is right whatever fails (seed %i)", async (seed) => {
    let state = seed * 7919 + 3;
    const pick = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const fail = (times: number) => async (): Promise<void> => {
      if (pick(times) === 0) throw new Error("failed");
    };
    gate.before = fail(8);
    gate.after = fail(8);
    const model = new Map<string, number | null | undefined>();
    const view = barrier.view("x/");
    const worker = async (id: number): Promise<void> => {
      for (let step = 0; step < 20; step++) {
        const keys = [...new Set([pick(6), pick(6), pick(6)])].map((key) => `k${key}`);
        const ops = keys.map((key) => {
          const value = pick(4) === 0 ? null : { id, step };
          const guess = pick(6);
          return { key, value, ...(guess === 0 && { expect: "absent" as const }), ...(guess === 1 && { expect: 7 }) };
        });
        await view.write(ops).then(
          (versions) => {
            for (const [at, key] of keys.entries()) model.set(key, ops[at]?.value === null ? null : versions[at]);
          },
          // Whether it has landed, nobody knows, unless it was a conflict.
          (error: unknown) => {
            if (error instanceof VaultError && error.code === "conflict") return;
            for (const key of keys) model.set(key, undefined);
          },
        );
      }
    };
    await Promise.all([1, 2, 3].map(worker));
    gate.before = gate.after = async () => {};
    expect(gate.most).toBe(1);
    await holds();
    await view.write([{ key: "last", value: {} }]);
    await holds();
    for (const [key, version] of model) {
      if (version === undefined) continue;
      expect((await storage.get(`x/${key}`))?.version ?? null, key).toBe(version);
    }
    expect(lines.filter((line) => line.includes('"security":true'))).toEqual([]);
  });

  test("removed or rolled back under a running vault, it stops all writing and no reading", async () => {
    const view = barrier.view("x/");
    await view.write([{ key: "a", value: { n: 1 } }]);
    const old = await storage.get(sumKey);
    await view.write([{ key: "a", value: { n: 2 } }]);
    const newest = await storage.get(sumKey);
    for (const op of [
      { key: sumKey, value: null, version: 0 },
      { key: sumKey, value: old?.value ?? null, version: old?.version ?? 1 },
      { key: sumKey, value: old?.value ?? null, version: (newest?.version ?? 1) + 5 },
    ]) {
      await storage.write([op]);
      await expect(view.write([{ key: "b", value: {} }])).rejects.toEqual(code("storage"));
      expect((await view.getJson("a"))?.value).toEqual({ n: 2 });
      expect(lines.join("")).toContain("removed or rolled back");
    }
    await storage.write([{ key: sumKey, value: newest?.value ?? null, version: newest?.version ?? 1 }]);
    await view.write([{ key: "b", value: {} }]);
    await holds();
  });

  test("missing at unseal, it is told, and the vault goes on with one that differs", async () => {
    await storage.write([{ key: sumKey, value: null, version: 0 }]);
    barrier.seal();
    await barrier.unseal(rootKey);
    expect(lines.join("")).toContain("missing from storage or damaged");
    await barrier.view("x/").write([{ key: "a", value: {} }]);
    const { kept, found } = await sums();
    expect(kept).not.toEqual(found);
  });

  test("no two vaults on one storage undo each other's", async () => {
    const other = new Barrier({ storage, log: silent });
    await other.unseal(rootKey);
    for (let round = 0; round < 5; round++) {
      await barrier.view("x/").write([{ key: "a", value: { round } }]);
      await other.view("x/").write([{ key: "a", value: { other: round } }]);
      await holds();
    }
  });

  test("is not kept where storage has no transactions", async () => {
    await start(false);
    await barrier.view("x/").write([{ key: "a", value: { n: 1 } }]);
    expect((await sums()).kept).toBeNull();
    const before = gate.asked.length;
    await barrier.view("x/").write([{ key: "blind", value: { n: 1 } }]);
    expect(gate.asked.length).toBe(before);
    const first = barrier.view("x/").write([{ key: "a", value: { n: 2 }, expect: "absent" }]);
    const beside = barrier.view("x/").write([{ key: "b", value: { n: 2 }, expect: "absent" }]);
    await expect(first).rejects.toEqual(code("conflict"));
    await beside;
  });
});

describe("writes", () => {
  test("of one moment go to storage together, one at a time, with one sum", async () => {
    const view = barrier.view("x/");
    await view.write([{ key: "first", value: {} }]);
    gate.written.length = 0;
    const [begun, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    gate.before = () => (begun.resolve(), go.promise);
    const early = [1, 2, 3].map((n) => view.write([{ key: `a${n}`, value: { n }, expect: "absent" }]));
    await begun.promise;
    const late = [1, 2, 3].map((n) => view.write([{ key: `b${n}`, value: { n }, expect: "absent" }]));
    const same = view.write([{ key: "b1", value: { again: true } }]);
    go.resolve();
    await Promise.all([...early, ...late, same]);
    expect(gate.written.map((ops) => ops.map(({ key }) => key))).toEqual([
      ["x/a1", "x/a2", "x/a3", sumKey],
      ["x/b1", "x/b2", "x/b3", sumKey],
      ["x/b1", sumKey],
    ]);
    expect((await view.getJson("b1"))?.value).toEqual({ again: true });
    await holds();
  });

  test("that expect the wrong thing fail alone", async () => {
    const view = barrier.view("x/");
    const [version = 0] = await view.write([{ key: "there", value: {} }]);
    await storage.write([{ key: "x/unseen", value: randomBytes(9), version: 9 }]);
    const ends = await Promise.allSettled([
      view.write([{ key: "a", value: {} }]),
      view.write([
        { key: "b", value: {} },
        { key: "there", value: {}, expect: version + 1 },
      ]),
      view.write([
        { key: "c", value: {} },
        { key: "unseen", value: {}, expect: "absent" },
      ]),
      view.write([{ key: "d", value: randomBytes(2 * 1024 * 1024) }]),
      view.write([
        { key: "e", value: {} },
        { key: "e", value: {} },
      ]),
      view.write([{ key: "there", value: { n: 1 }, expect: version }]),
    ]);
    const codes = ends.map((end) => (end.status === "fulfilled" ? "done" : (end.reason as VaultError).code));
    expect(codes).toEqual(["done", "conflict", "conflict", "invalid", "invalid", "done"]);
    expect(await storage.list("x/")).toEqual(["a", "there", "unseen"]);
  });

  test("of keys that are new by their making ask storage for nothing", async () => {
    const view = barrier.view("x/");
    await view.write([{ key: "first", value: {} }]);
    gate.asked.length = 0;
    await view.write([
      { key: "new", value: {}, expect: "absent" },
      { key: "first", value: {} },
    ]);
    expect(gate.asked).toEqual([]);
    await view.write([{ key: "blind", value: {} }]);
    expect(gate.asked).toEqual(["x/blind"]);
  });

  test("that wait are refused at seal, and leave nothing behind", async () => {
    const view = barrier.view("x/");
    await view.write([{ key: "first", value: {} }]);
    const [begun, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    gate.before = () => (begun.resolve(), go.promise);
    const under = view.write([{ key: "under", value: {} }]);
    await begun.promise;
    const waiting = view.write([{ key: "waiting", value: {} }]);
    barrier.seal();
    await expect(waiting).rejects.toEqual(code("sealed"));
    go.resolve();
    await expect(under).rejects.toEqual(code("sealed"));
    await barrier.unseal(rootKey);
    expect(await view.getJson("waiting")).toBeNull();
    expect((await view.getJson("under"))?.value).toEqual({});
    await view.write([{ key: "waiting", value: {} }]);
    await holds();
  });
});
