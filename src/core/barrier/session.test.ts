// The barrier between calls: what seals, failures and races may not do.

import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { silent } from "../../lib/log.ts";
import type { Op, StorageBackend, Stored } from "../../sdk/storage.ts";
import { plugin as memory } from "../../storage/memory/index.ts";
import { Barrier } from "./barrier.ts";

const code = (expected: string): unknown => expect.objectContaining({ name: "VaultError", code: expected }) as unknown;

const rootKey = randomBytes(32);
let storage: StorageBackend;
let barrier: Barrier;

const make = (on: StorageBackend = storage): Barrier => new Barrier({ storage: on, log: silent });

beforeEach(async () => {
  storage = await memory.open({}, silent);
  barrier = make();
  await barrier.initialize(rootKey);
  await barrier.unseal(rootKey);
});

/** Lets tests hold calls back and make them fail. */
class Gate implements StorageBackend {
  readonly type = "gate";
  readonly atomic = true;
  readonly maxValue: number;
  readonly inner: StorageBackend;
  beforeGet: (key: string) => Promise<void> = async () => {};
  afterGet: (key: string) => Promise<void> = async () => {};
  beforeWrite: (ops: readonly Op[]) => Promise<void> = async () => {};
  afterWrite: (ops: readonly Op[]) => Promise<void> = async () => {};
  gets = 0;
  writes = 0;

  constructor(inner: StorageBackend) {
    this.inner = inner;
    this.maxValue = inner.maxValue;
  }
  async get(key: string): Promise<Stored | null> {
    this.gets += 1;
    await this.beforeGet(key);
    const stored = await this.inner.get(key);
    await this.afterGet(key);
    return stored;
  }
  async write(ops: readonly Op[]): Promise<void> {
    this.writes += 1;
    await this.beforeWrite(ops);
    await this.inner.write(ops);
    await this.afterWrite(ops);
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

async function gated(): Promise<{ readonly gate: Gate; readonly on: Barrier }> {
  const gate = new Gate(storage);
  const on = make(gate);
  await on.unseal(rootKey);
  return { gate, on };
}

describe("seal", () => {
  test("refuses every later call", async () => {
    const view = barrier.view("x/");
    await view.write([{ key: "k", value: { a: 1 } }]);
    barrier.seal();
    barrier.seal();
    expect(barrier.sealed).toBe(true);
    await expect(view.get("k")).rejects.toEqual(code("sealed"));
    await expect(view.getJson("k")).rejects.toEqual(code("sealed"));
    await expect(view.list("")).rejects.toEqual(code("sealed"));
    await expect(view.write([{ key: "k", value: {} }])).rejects.toEqual(code("sealed"));
    expect(() => barrier.mac("x")).toThrow("sealed");
    expect(() => barrier.signingKey("x")).toThrow("sealed");
    await barrier.unseal(rootKey);
    expect((await view.getJson("k"))?.value).toEqual({ a: 1 });
  });

  test("calls under way reject, wherever they are", async () => {
    for (const point of ["beforeGet", "afterGet", "beforeWrite", "afterWrite"] as const) {
      const { gate, on } = await gated();
      const view = on.view("x/");
      await view.write([{ key: "k", value: { a: 1 } }]);
      const reached = Promise.withResolvers<void>();
      const go = Promise.withResolvers<void>();
      gate[point] = async () => {
        reached.resolve();
        await go.promise;
      };
      const calls = point.endsWith("Get")
        ? [view.get("other"), view.getJson("other"), view.get("none"), view.getJson("none")]
        : [view.write([{ key: "w", value: {} }])];
      await storage.write([{ key: "x/other", value: (await storage.get("x/k"))?.value ?? null, version: 3 }]);
      await reached.promise;
      gate[point] = async () => {};
      on.seal();
      await on.unseal(rootKey);
      go.resolve();
      for (const result of await Promise.allSettled(calls)) {
        expect(result, point).toMatchObject({ status: "rejected", reason: code("sealed") });
      }
    }
  });

  test("during an unseal, it wins", async () => {
    const { gate, on } = await gated();
    on.seal();
    const go = Promise.withResolvers<void>();
    gate.afterGet = () => go.promise;
    const unsealing = on.unseal(rootKey);
    await Promise.resolve();
    on.seal();
    go.resolve();
    await expect(unsealing).rejects.toEqual(code("sealed"));
    expect(on.sealed).toBe(true);
  });
});

describe("cache", () => {
  test("reads storage once, for many readers, also of what is not there, until it is written", async () => {
    const { gate, on } = await gated();
    await barrier.view("x/").write([{ key: "k", value: { a: 1 } }]);
    gate.gets = 0;
    const view = on.view("x/");
    await Promise.all([view.get("k"), view.getJson("k"), view.get("k")]);
    await view.getJson("k");
    expect(gate.gets).toBe(1);
    expect(await view.get("missing")).toBeNull();
    expect(await view.getJson("missing")).toBeNull();
    expect(gate.gets).toBe(2);
    await view.write([{ key: "missing", value: { a: 2 } }]);
    expect((await view.getJson("missing"))?.value).toEqual({ a: 2 });
  });

  test("a read that a write has overtaken is not kept", async () => {
    const { gate, on } = await gated();
    const view = on.view("x/");
    await barrier.view("x/").write([{ key: "k", value: { a: "old" } }]);
    const go = Promise.withResolvers<void>();
    gate.afterGet = () => {
      // The write asks too.
      gate.afterGet = async () => {};
      return go.promise;
    };
    const slow = view.getJson("k");
    await new Promise<void>((resolve) => setImmediate(resolve));
    await view.write([{ key: "k", value: { a: "new" } }]);
    go.resolve();
    expect((await slow)?.value).toEqual({ a: "old" });
    expect((await view.getJson("k"))?.value).toEqual({ a: "new" });
  });

  test("a failed or unclear write empties the place", async () => {
    const { gate, on } = await gated();
    const view = on.view("x/");
    await view.write([{ key: "k", value: { a: 1 } }]);
    gate.afterWrite = () => Promise.reject(new Error("lost the answer"));
    await expect(view.write([{ key: "k", value: { a: 2 } }])).rejects.toThrow("lost the answer");
    gate.afterWrite = async () => {};
    expect((await view.getJson("k"))?.value).toEqual({ a: 2 });
    gate.beforeWrite = () => Promise.reject(new Error("never sent"));
    await expect(view.write([{ key: "k", value: { a: 3 } }])).rejects.toThrow("never sent");
    expect((await view.getJson("k"))?.value).toEqual({ a: 2 });
  });

  test("not seen before it is durable", async () => {
    const { gate, on } = await gated();
    const view = on.view("x/");
    await view.write([{ key: "k", value: { a: 1 } }]);
    const go = Promise.withResolvers<void>();
    gate.beforeWrite = () => go.promise;
    const writing = view.write([{ key: "k", value: { a: 2 } }]);
    expect((await view.getJson("k"))?.value).toEqual({ a: 1 });
    go.resolve();
    await writing;
    expect((await view.getJson("k"))?.value).toEqual({ a: 2 });
  });

  // A linear congruential generator: every failure can be run again from its seed.
  test.each(Array.from({ length: 60 }, (_, seed) => seed))("never older than storage (seed %i)", async (seed) => {
    let state = seed * 7919 + 1;
    const pick = (below: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const wait = async (): Promise<void> => {
      for (let turns = pick(6); turns > 0; turns--) await Promise.resolve();
    };
    const { gate, on } = await gated();
    await on.view("x/").write([{ key: "k0", value: { n: 0 } }]);
    Object.assign(gate, { beforeGet: wait, afterGet: wait, beforeWrite: wait, afterWrite: wait });
    const view = on.view("x/");
    const keys = ["k0", "k1"] as const;
    const worker = async (id: number): Promise<void> => {
      for (let step = 0; step < 15; step++) {
        const key = keys[pick(2)] ?? "k0";
        if (pick(3) === 0) {
          const remove = pick(4) === 0;
          await view.write([{ key, value: remove ? null : { n: id * 100 + step } }]);
        } else await view.getJson(key);
        await wait();
      }
    };
    await Promise.all([1, 2, 3, 4].map(worker));
    const check = make();
    await check.unseal(rootKey);
    for (const key of keys) {
      expect(await view.getJson(key)).toEqual(await check.view("x/").getJson(key));
    }
  });
});
